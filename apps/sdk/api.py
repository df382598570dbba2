"""Challenge, token and key release."""

import msgspec
from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from apps.directory import challenges, tokens
from apps.directory.callers import authenticate, refuse_revoked
from apps.directory.challenges import UnknownKeyError
from apps.directory.sql import CALLER
from apps.directory.tokens import NotAuthenticatedError
from apps.vault.services import PROVIDER
from cryptokit.public_keys import InvalidPublicKeyError, admit_public_key
from tenancy import tenant_scope
from tenancy.sql import Statement, iso
from web.api import InvalidError, LeanView, json_response, read_body
from web.callers import too_many_failures
from web.errors import DomainError

BODY_LIMIT = 4_096
# How often, at most, a key's "last used" is written.
LAST_USED_EVERY = "interval '1 minute'"


class TooManyFailuresError(DomainError):
    status = 429
    code = "too_many_failures"

    def __init__(self) -> None:
        super().__init__("Too many failed attempts from this address. Wait a minute.", headers={"Retry-After": "60"})


class ProviderKeyNotFoundError(DomainError):
    status = 404
    code = "no_provider_key"


class ProviderKeyReplacedError(DomainError):
    status = 409
    code = "provider_key_replaced"


class ChallengeRequest(msgspec.Struct):
    encryption_key: str


class TokenRequest(msgspec.Struct):
    solved_challenge: str


class ChallengeView(LeanView):
    """POST /auth/ — a challenge for whoever claims to hold a project's key."""

    def post(self, request: Request) -> HttpResponse:
        body = read_body(request, ChallengeRequest, limit=BODY_LIMIT)
        try:
            public_key = admit_public_key(body.encryption_key)
        except InvalidPublicKeyError as error:
            raise InvalidError(f"encryption_key {error}.") from error
        try:
            challenge = challenges.issue(public_key)
        except UnknownKeyError:
            refuse_noise(request)
            raise
        return json_response({"encrypted_challenge": challenge})


class TokenView(LeanView):
    """POST /auth/token — a day's access token for a solved challenge."""

    def post(self, request: Request) -> HttpResponse:
        body = read_body(request, TokenRequest, limit=BODY_LIMIT)
        try:
            proven = challenges.redeem(body.solved_challenge)
        except NotAuthenticatedError:
            refuse_noise(request)
            raise
        token = tokens.issue(proven.project_id, proven.generation)
        return json_response({"access_token": token, "token_type": "bearer"})


_RELEASE = Statement(f"""
    WITH {CALLER}
    SELECT p.id, b.sealed, {iso("p.created_at")}, {iso("p.updated_at")},
           p.last_used_at IS NULL OR p.last_used_at < now() - {LAST_USED_EVERY}
      FROM caller
      LEFT JOIN {{tenant}}.vault_providerkey p
        ON p.project_id = caller.project_id AND p.provider = $3 AND p.archived_at IS NULL
      LEFT JOIN {{tenant}}.vault_box b ON b.provider_key_id = p.id AND b.generation = caller.generation
""")

# The condition is checked again under the row lock, so that of many at once one writes.
_TOUCH = Statement(f"""
    WITH touched AS (
        UPDATE {{tenant}}.vault_providerkey SET last_used_at = now()
         WHERE id = $3 AND (last_used_at IS NULL OR last_used_at < now() - {LAST_USED_EVERY}) RETURNING 1)
    UPDATE {{tenant}}.projects_projectkey SET last_used_at = now()
     WHERE project_id = $1 AND generation = $2 AND EXISTS (SELECT FROM touched)
""")


class ProviderKeyView(LeanView):
    """GET /provider-keys/{provider} — the sealed provider key, as the caller's key generation can open it."""

    def get(self, request: Request, provider: str) -> HttpResponse:
        caller = authenticate(request._request)
        if not PROVIDER.fullmatch(provider):
            raise ProviderKeyNotFoundError("There is no provider of this name.")
        with tenant_scope(caller.tenant):
            row = _RELEASE.fetch_one(caller.project_id, caller.generation, provider)
            if row is None:
                refuse_revoked()
            key_id, sealed, created_at, updated_at, is_due = row
            if key_id is None:
                raise ProviderKeyNotFoundError(
                    f"This project has no provider key for {provider}. Add one on the project's page."
                )
            if sealed is None:
                raise ProviderKeyReplacedError("The provider key was replaced; update ANY_LLM_KEY.")
            if is_due == "t":
                _TOUCH.fetch_one(caller.project_id, caller.generation, key_id)
        return json_response(
            {
                "id": key_id,
                "project_id": caller.project_id,
                "provider": provider,
                "encrypted_key": sealed,
                "created_at": created_at,
                "updated_at": updated_at,
            }
        )


def refuse_noise(request: Request) -> None:
    """Counts a failed proof; TooManyFailuresError once an address has had its share of the minute.

    Only failures count: a client that holds its key never fails, however often it asks.
    """
    if too_many_failures(request._request, "sdk", settings.SDK_FAILURES_PER_MINUTE):
        raise TooManyFailuresError
