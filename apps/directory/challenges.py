"""Proof of possession: a random text sealed to a public key, good once and for two minutes.

Only the digest of the text is stored, so the table is of no use to whoever reads it.
"""

import hashlib
import re
import uuid
from datetime import timedelta
from typing import NamedTuple

from apps.directory.sql import LIVE_KEY
from apps.directory.tokens import NotAuthenticatedError
from cryptokit import sealed_box
from tenancy.sql import Statement
from web.errors import DomainError

LIFETIME = 120  # seconds
# Unsolved challenges a key may have at a time. It bounds what a caller who can't solve them leaves behind, and is
# far above what an application of many threads asks for when it starts.
MOST_OUTSTANDING = 1_000

# How long the key before goes on counting once a key from the command line was used or adopted.
PROVEN_OVERLAP = timedelta(hours=72)

CANONICAL_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


class UnknownKeyError(DomainError):
    status = 404
    code = "unknown_key"

    def __init__(self) -> None:
        # Released clients search for the words "No project found".
        super().__init__("No project found for this key. Check ANY_LLM_KEY, or make a new one on the project's page.")


class TooManyChallengesError(DomainError):
    status = 429
    code = "too_many_challenges"

    def __init__(self) -> None:
        super().__init__(
            "This key has too many unsolved challenges. Solve them, or wait two minutes.",
            headers={"Retry-After": "5"},
        )


class ProvenKey(NamedTuple):
    project_id: uuid.UUID
    generation: int
    public_key: bytes


_ISSUE = Statement(f"""
    WITH outstanding AS MATERIALIZED (
        SELECT count(*) AS n FROM (
            SELECT FROM public.directory_challenge
             WHERE public_key = $2 AND expires_at > now() LIMIT {MOST_OUTSTANDING}) c),
    key AS MATERIALIZED (
        SELECT FROM public.directory_projectkeyentry k
          JOIN public.organizations_organization o ON o.id = k.organization_id
         WHERE k.public_key = $2 AND {LIVE_KEY}),
    issued AS (
        INSERT INTO public.directory_challenge (digest, public_key, expires_at)
        SELECT $1::bytea, $2, now() + interval '{LIFETIME} seconds' FROM key, outstanding WHERE n < {MOST_OUTSTANDING}
        RETURNING 1)
    SELECT CASE WHEN EXISTS (SELECT FROM issued) THEN 'issued'
                WHEN EXISTS (SELECT FROM key) THEN 'too many' ELSE 'unknown' END
""")

_REDEEM = Statement(f"""
    WITH challenge AS (
        DELETE FROM public.directory_challenge WHERE digest = $1 AND expires_at > now() RETURNING public_key),
    proven AS (
        UPDATE public.directory_projectkeyentry k SET status = 'active' FROM challenge c
         WHERE k.public_key = c.public_key AND k.status = 'unproven' AND NOT k.is_suspended
        RETURNING k.project_id),
    timed AS (
        UPDATE public.directory_projectkeyentry k
           SET retire_at = now() + interval '{PROVEN_OVERLAP.total_seconds():.0f} seconds' FROM proven
         WHERE k.project_id = proven.project_id AND k.status = 'retiring' AND k.retire_at IS NULL)
    SELECT k.project_id, k.generation, encode(k.public_key, 'hex')
      FROM challenge c
      JOIN public.directory_projectkeyentry k ON k.public_key = c.public_key
      JOIN public.organizations_organization o ON o.id = k.organization_id
     WHERE {LIVE_KEY}
""")


def issue(public_key: bytes) -> str:
    """A challenge for a live key (32 bytes, admitted), sealed, in base64.

    Raises UnknownKeyError for a key that no project has or that is retired, TooManyChallengesError.
    """
    text = str(uuid.uuid4())
    match _ISSUE.fetch_one(_digest(text), public_key):
        case ["unknown"]:
            raise UnknownKeyError
        case ["too many"]:
            raise TooManyChallengesError
    return sealed_box.seal(text.encode(), public_key)


def redeem(solution: str) -> ProvenKey:
    """The key whose challenge this text was, at most once; NotAuthenticatedError for everything else.

    Deleting is taking: of two that come at once, one gets the row. Success proves an unproven generation, and starts
    the clock of the one before it.
    """
    row = _REDEEM.fetch_one(_digest(solution.lower())) if CANONICAL_UUID.fullmatch(solution) else None
    if row is None:
        raise NotAuthenticatedError("Invalid or expired challenge. Ask for a new one.")
    project_id, generation, public_key = map(str, row)
    return ProvenKey(uuid.UUID(project_id), int(generation), bytes.fromhex(public_key))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
