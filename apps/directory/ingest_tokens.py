"""Tokens that exporters report a project's usage with: made, listed, revoked. What they open is nothing else.

The text of a token is shown once, to whoever makes it. Only its SHA-256 is stored: of 32 random bytes nobody guesses
one, so a slow hash would protect nothing.
"""

import hashlib
import secrets
import uuid
from collections.abc import Sequence

from django.db.models.functions import Now

from apps.directory.models import IngestToken
from web.errors import DomainError

PREFIX = "alpi_"
# How many of a project are valid at once: one for each program that reports, and its successor while it is exchanged.
MOST_TOKENS = 20
LONGEST_NAME = 100


class IngestTokenError(DomainError):
    status = 422
    code = "invalid_ingest_token"


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def live_tokens(project_id: uuid.UUID) -> Sequence[IngestToken]:
    """A project's tokens that open something, newest first."""
    return list(IngestToken.objects.filter(project_id=project_id, revoked_at=None).order_by("-created_at", "-id"))


def issue(
    *, organization_id: uuid.UUID, project_id: uuid.UUID, name: str, user_id: uuid.UUID | None
) -> tuple[IngestToken, str]:
    """A new token and its text, which is nowhere else. The caller holds the project's lock, so that the limit holds.

    Raises IngestTokenError for a name that is none or taken, and where the project has MOST_TOKENS.
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise IngestTokenError(f"Give the token a name of 1 to {LONGEST_NAME} characters.")
    live = live_tokens(project_id)
    if len(live) >= MOST_TOKENS:
        raise IngestTokenError(f"A project has at most {MOST_TOKENS} ingest tokens. Revoke one that nothing uses.")
    if any(token.name == name for token in live):
        raise IngestTokenError(f"There is a token {name} already. Choose another name.")
    text = PREFIX + secrets.token_urlsafe(32)
    token = IngestToken.objects.create(
        digest=digest_of(text),
        organization_id=organization_id,
        project_id=project_id,
        name=name,
        ending=text[-4:],
        created_by=user_id,
    )
    return token, text


def revoke(*, project_id: uuid.UUID, token_id: uuid.UUID) -> IngestToken | None:
    """Ends a token for good: the next request with it is refused. None where the project has no such live token."""
    changed = IngestToken.objects.filter(id=token_id, project_id=project_id, revoked_at=None).update(revoked_at=Now())
    return IngestToken.objects.get(id=token_id) if changed else None


def revoke_all(project_id: uuid.UUID) -> int:
    """Ends all of a project's tokens; how many there were. For a project that is deleted."""
    return IngestToken.objects.filter(project_id=project_id, revoked_at=None).update(revoked_at=Now())
