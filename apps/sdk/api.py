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
from apps.projects.clients import MOST_CLIENTS, client_name
from apps.vault.selectors import live_keys
from apps.vault.services import PROVIDER
from cryptokit import sealed_box
from cryptokit.public_keys import InvalidPublicKeyError, admit_public_key
from tenancy import tenant_scope
from tenancy.ids import uuid7
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


# $1 project, $2 generation, $3 provider, $4 the client's name. Beside the box: whether its last use is to be noted, and
# whether the client's is. A client that is not registered yet is, while there is room for its name.
_RELEASE = Statement(f"""
    WITH {CALLER}
    SELECT p.id, b.sealed, {iso("p.created_at")}, {iso("p.updated_at")},
           p.last_used_at IS NULL OR p.last_used_at < now() - {LAST_USED_EVERY}
               OR g.last_used_at IS NULL OR g.last_used_at < now() - {LAST_USED_EVERY},
           CASE WHEN c.id IS NOT NULL THEN c.last_seen_at IS NULL OR c.last_seen_at < now() - {LAST_USED_EVERY}
                WHEN $4::text IS NULL THEN false
                ELSE (SELECT count(*) < {MOST_CLIENTS} FROM {{tenant}}.projects_client
                       WHERE project_id = caller.project_id) END
      FROM caller
      LEFT JOIN {{tenant}}.projects_projectkey g
        ON g.project_id = caller.project_id AND g.generation = caller.generation
      LEFT JOIN {{tenant}}.projects_client c ON c.project_id = caller.project_id AND c.name = $4::text
      LEFT JOIN {{tenant}}.vault_providerkey p
        ON p.project_id = caller.project_id AND p.provider = $3 AND p.archived_at IS NULL
      LEFT JOIN {{tenant}}.vault_box b ON b.provider_key_id = p.id AND b.generation = caller.generation
""")

# The conditions are checked again under the row locks, so that of many at once one writes.
_TOUCH = Statement(f"""
    WITH touched AS (
        UPDATE {{tenant}}.vault_providerkey SET last_used_at = now()
         WHERE id = $3 AND (last_used_at IS NULL OR last_used_at < now() - {LAST_USED_EVERY}))
    UPDATE {{tenant}}.projects_projectkey SET last_used_at = now()
     WHERE project_id = $1 AND generation = $2
       AND (last_used_at IS NULL OR last_used_at < now() - {LAST_USED_EVERY})
""")

_SEE_CLIENT = Statement(f"""
    INSERT INTO {{tenant}}.projects_client AS c (id, project_id, name, is_default, last_seen_at, last_generation)
    VALUES ($4, $1, $3, false, now(), $2)
    ON CONFLICT (project_id, name) DO UPDATE SET last_seen_at = now(), last_generation = $2
     WHERE c.last_seen_at IS NULL OR c.last_seen_at < now() - {LAST_USED_EVERY}
""")

_HAS_NEWER_BOX = Statement("""
    SELECT FROM {tenant}.vault_box WHERE provider_key_id = $1 AND generation > $2 LIMIT 1
""")


class ProviderKeyView(LeanView):
    """GET /provider-keys/{provider} — the sealed provider key, as the caller's key generation can open it."""

    def get(self, request: Request, provider: str) -> HttpResponse:
        caller = authenticate(request._request)
        if not PROVIDER.fullmatch(provider):
            raise ProviderKeyNotFoundError("There is no provider of this name.")
        client = client_name(request.META.get("HTTP_ANYLLM_CLIENT_NAME", ""))
        with tenant_scope(caller.tenant):
            row = _RELEASE.fetch_one(caller.project_id, caller.generation, provider, client)
            if row is None:
                refuse_revoked()
            key_id, sealed, created_at, updated_at, is_due, is_client_due = row
            if is_client_due == "t":
                _SEE_CLIENT.fetch_one(caller.project_id, caller.generation, client, uuid7())
            if key_id is None:
                raise ProviderKeyNotFoundError(
                    f"This project has no provider key for {provider}. Add one on the project's page."
                )
            if sealed is None:
                if _HAS_NEWER_BOX.fetch_one(key_id, caller.generation) is not None:
                    raise ProviderKeyReplacedError("The provider key was replaced; update ANY_LLM_KEY.")
                raise ProviderKeyNotFoundError(
                    f"The provider key for {provider} is not sealed for this ANY_LLM_KEY. Replace it on the project's "
                    "page."
                )
            if sealed == "":
                # Released clients call no box "too short": a local provider's is made here, and holds nothing.
                public_key = live_keys(caller.project_id).get(caller.generation) or refuse_revoked()
                sealed = sealed_box.seal(b"", public_key)
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
