"""What pages' modules ask of a person's own vault, as JSON below /vault/. Bytes are url-safe base64 without padding.

Nothing here opens anything: envelopes come from browsers and go back to them.
"""

import hashlib
import uuid

from allauth.account.adapter import get_adapter
from allauth.account.internal.flows.reauthentication import reauthenticate_by_password
from allauth.account.views import LogoutView
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.accounts import selectors, services, shapes, shares
from apps.accounts.access import PersonRequest, signed_in_view
from apps.accounts.models import UnlockMethod, Vault, canonical_email
from apps.accounts.reauthentication import require_recent
from cryptokit.encoding import b64u
from web import callers
from web.api import json_response, read_json
from web.errors import DomainError

PRELOGINS_PER_MINUTE = 30
PRELOGINS_PER_MINUTE_AND_EMAIL = 10


class TooManyRequestsError(DomainError):
    status = 429
    code = "too_many_requests"


class WrongPasswordError(DomainError):
    status = 403
    code = "wrong_password"


@require_POST
def prelogin(request: HttpRequest) -> HttpResponse:
    """`{email}` → `{kdf, salt, share}`, the same whether the address has an account.

    Signed in, the session keeps its share: a new one would lock the vault.
    """
    email = canonical_email(read_json(request, shapes.Prelogin, limit=4096).email)
    digest = hashlib.sha256(email.encode()).hexdigest()
    if callers.too_many(f"prelogin:{callers.address(request)}", PRELOGINS_PER_MINUTE) or callers.too_many(
        f"prelogin:{digest}", PRELOGINS_PER_MINUTE_AND_EMAIL
    ):
        raise TooManyRequestsError("Too many attempts. Wait a minute, then try again.", headers={"Retry-After": "60"})
    kdf, salt = selectors.prelogin(email)
    share = shares.current_share(request.session) if request.user.is_authenticated else None
    share = share or shares.new_share(request.session)
    return json_response({"kdf": kdf, "salt": b64u(salt), "share": share})


@require_GET
@signed_in_view
def bootstrap(request: PersonRequest) -> HttpResponse:
    """Everything a page needs to unlock the vault, and to know that it did."""
    vault = Vault.objects.get(user=request.user)
    return json_response(
        {
            "vault_id": vault.id,
            "akv": vault.account_key_version,
            "x25519_public_key": b64u(bytes(vault.x25519_public_key)),
            "ed25519_public_key": b64u(bytes(vault.ed25519_public_key)),
            "identity_signature": b64u(bytes(vault.identity_signature)),
            "unlock_methods": [selectors.describe(method) for method in selectors.unlock_methods(vault)],
            "share": shares.current_share(request.session),
            "trust_store": vault.trust_store or None,
            "trust_store_seq": vault.trust_store_seq,
            "idle_minutes": vault.idle_minutes,
            "recovery": selectors.recovery_status(vault),
        }
    )


@require_POST
@signed_in_view
def share(request: PersonRequest) -> HttpResponse:
    """A new share, after the vault was unlocked on a page: `{share}`."""
    return json_response({"share": shares.new_share(request.session)})


@require_POST
@signed_in_view
def lock(request: PersonRequest) -> HttpResponse:
    """Drops the share, so that what this browser keeps opens no more."""
    shares.drop_share(request.session)
    return HttpResponse(status=204)


@require_http_methods(["PUT"])
@signed_in_view
def trust_store(request: PersonRequest) -> HttpResponse:
    """`{seq, envelope}`; 409 unless `seq` is one more than what is stored."""
    body = read_json(request, shapes.TrustStore)
    services.put_trust_store(user=request.user, seq=body.seq, envelope=body.envelope)
    return HttpResponse(status=204)


@require_POST
@signed_in_view
def add_unlock_method(request: PersonRequest) -> HttpResponse:
    """`{id, kind, kdf, kdf_input, envelope, signature}`: adds one, or replaces the one of its kind."""
    require_recent(request)
    body = read_json(request, shapes.NewUnlockMethod)
    services.put_unlock_method(
        user=request.user,
        unlock=body.unlock,
        signature=shapes.from_b64u(body.signature),
    )
    return HttpResponse(status=204)


@require_POST
@signed_in_view
def delete_unlock_method(request: PersonRequest, unlock_id: uuid.UUID) -> HttpResponse:
    """`{signature}`, of the unlock update with an empty envelope; 409 for the last one and for the password."""
    require_recent(request)
    body = read_json(request, shapes.Signed)
    try:
        signature = shapes.from_b64u(body.signature)
        services.delete_unlock_method(user=request.user, unlock_id=unlock_id, signature=signature)
    except UnlockMethod.DoesNotExist:
        raise Http404 from None
    return HttpResponse(status=204)


@require_POST
@signed_in_view
def decline_recovery(request: PersonRequest) -> HttpResponse:
    """The person goes without a recovery key; 409 when they have one."""
    services.decline_recovery_key(user=request.user)
    return HttpResponse(status=204)


@require_POST
@signed_in_view
def idle(request: PersonRequest) -> HttpResponse:
    """`{minutes}` without a touch until the vault locks."""
    services.set_idle_minutes(user=request.user, minutes=read_json(request, shapes.Idle).minutes)
    return HttpResponse(status=204)


@require_POST
@signed_in_view
def reauthenticate(request: PersonRequest) -> HttpResponse:
    """`{auth_secret}`; 403 `wrong_password`, 429 after too many of those. Afterwards `require_recent` is content."""
    secret = read_json(request, shapes.Secret).auth_secret
    services.check_auth_secret(secret)
    try:
        right = get_adapter().reauthenticate(request.user, secret)
    except ValidationError as error:
        raise TooManyRequestsError("Too many attempts. Wait some minutes, then try again.") from error
    if not right:
        raise WrongPasswordError("This is not your password.")
    reauthenticate_by_password(request)
    return HttpResponse(status=204)


@method_decorator(never_cache, name="dispatch")
class SignOutView(LogoutView):  # type: ignore[misc]  # allauth has no types
    """Ends the session, and has the browser delete what it kept for this site."""

    def post(self, *args: object, **kwargs: object) -> HttpResponse:
        response: HttpResponse = super().post(*args, **kwargs)
        response["Clear-Site-Data"] = '"storage"'
        return response
