"""Asking for the password again before something that a borrowed session must not do."""

import time

from allauth.account import app_settings
from allauth.account.authentication import get_authentication_records
from django.http import HttpRequest

from web.errors import DomainError

# Ways to sign in that show who is there now. A reset shows who reads the mail.
PROOFS = frozenset({"password", "mfa"})


class ReauthenticationRequiredError(DomainError):
    status = 403
    code = "reauthentication_required"


def require_recent(request: HttpRequest) -> None:
    """ReauthenticationRequiredError unless the person proved who they are within ACCOUNT_REAUTHENTICATION_TIMEOUT, by
    signing in or by `POST /vault/reauthenticate`. The page's module then asks for the password and repeats."""
    # Records are of this session and this person only.
    records = get_authentication_records(request, request.user)
    latest = max((record["at"] for record in records if record["method"] in PROOFS), default=0)
    if time.time() - latest >= app_settings.REAUTHENTICATION_TIMEOUT:
        raise ReauthenticationRequiredError("Confirm with your password that it's you.")
