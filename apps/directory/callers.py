"""Who an SDK request comes from.

Authenticating a request says which project and generation is asking, by its token or a solved challenge. Whether
that key still counts is part of the statement that does the request's work (directory/sql.py), so revocation takes
effect on the next request and costs no extra round trip.
"""

import hmac
import uuid
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from django.http import HttpRequest

from apps.directory import challenges, tokens
from apps.directory.ingest_tokens import PREFIX as INGEST_TOKEN_PREFIX
from apps.directory.ingest_tokens import digest_of
from apps.directory.models import ProjectKeyEntry
from apps.directory.tokens import NotAuthenticatedError
from cryptokit.public_keys import InvalidPublicKeyError, admit_public_key
from tenancy import TenantRef, no_tenant
from tenancy.sql import Statement


@dataclass(frozen=True, slots=True)
class Caller:
    """A project's key generation that a request has proven to hold, and the tenant it belongs to."""

    project_id: uuid.UUID
    generation: int
    tenant: TenantRef


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports a project's usage: with a generation of its key, or with an ingest token."""

    project_id: uuid.UUID
    tenant: TenantRef
    generation: int | None = None
    ingest_token_id: uuid.UUID | None = None


def authenticate(request: HttpRequest) -> Caller:
    """The caller of an SDK endpoint: a bearer token, or the header pair of releases before tokens.

    Raises NotAuthenticatedError. The key may have been revoked since: use CALLER in the statement.
    """
    authorization = request.META.get("HTTP_AUTHORIZATION")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise NotAuthenticatedError("The Authorization header must be: Bearer <access token>.")
        claims = tokens.verify(token.strip())
        return Caller(claims.project_id, claims.generation, _tenant_of(claims.project_id))
    public_key = request.META.get("HTTP_ENCRYPTION_KEY")
    solution = request.META.get("HTTP_ANYLLM_CHALLENGE_RESPONSE")
    if public_key is None or solution is None:
        raise NotAuthenticatedError("Send an access token: Authorization: Bearer <token>.")
    return _by_challenge(public_key, solution)


# $1 the token's digest. Its last use is noted once a minute, under the row lock.
_FIND_TOKEN = Statement("""
    SELECT t.id, t.project_id, t.organization_id, o.schema_name,
           t.last_used_at IS NULL OR t.last_used_at < now() - interval '1 minute'
      FROM public.directory_ingesttoken t JOIN public.organizations_organization o ON o.id = t.organization_id
     WHERE t.digest = $1::bytea AND t.revoked_at IS NULL AND NOT t.is_suspended AND o.status = 'ready'
""")
_TOUCH_TOKEN = Statement("""
    UPDATE public.directory_ingesttoken SET last_used_at = now()
     WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
""")


def authenticate_reporter(request: HttpRequest) -> Reporter:
    """The caller of an endpoint that takes usage: as `authenticate`, or by a token for ingestion, which no other
    endpoint takes. Whether that still counts is known when this returns.
    """
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token.startswith(INGEST_TOKEN_PREFIX):
        caller = authenticate(request)
        return Reporter(caller.project_id, caller.tenant, generation=caller.generation)
    row = _FIND_TOKEN.fetch_one(digest_of(token))
    if row is None:
        raise NotAuthenticatedError("This ingest token is unknown or was revoked. Make one on the project's page.")
    token_id, project_id, organization_id, schema_name, is_due = map(str, row)
    if is_due == "t":
        _TOUCH_TOKEN.fetch_all(token_id)
    tenant = TenantRef(uuid.UUID(organization_id), schema_name)
    return Reporter(uuid.UUID(project_id), tenant, ingest_token_id=uuid.UUID(token_id))


def _by_challenge(encoded_key: str, solution: str) -> Caller:
    try:
        public_key = admit_public_key(encoded_key)
    except InvalidPublicKeyError as error:
        raise NotAuthenticatedError(f"The encryption-key header {error}.") from error
    proven = challenges.redeem(solution)
    if not hmac.compare_digest(proven.public_key, public_key):
        raise NotAuthenticatedError("The challenge was another key's.")
    return Caller(proven.project_id, proven.generation, _tenant_of(proven.project_id))


def refuse_revoked() -> NoReturn:
    """For a statement whose CALLER was empty."""
    raise NotAuthenticatedError("This key was retired, or its organization is suspended. Get the current ANY_LLM_KEY.")


@lru_cache(maxsize=65_536)
def _tenant_of(project_id: uuid.UUID) -> TenantRef:
    """A project stays in its organization and the organization in its schema, so this is remembered for good."""
    with no_tenant():
        row = (
            ProjectKeyEntry.objects.filter(project_id=project_id)
            .values_list("organization_id", "organization__schema_name")
            .first()
        )
    if row is None:
        raise NotAuthenticatedError("No project found for this token.")
    return TenantRef(*row)
