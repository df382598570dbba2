"""The token that an SDK carries for a day after it has proven to hold a project's key.

HS256 over the claims of docs/protocol.md, "SDK token", with a key ring of its own. The token says who is asking;
whether the key still counts is asked of the database on every request (directory/callers.py).
"""

import time
import uuid
from dataclasses import dataclass
from functools import lru_cache

import jwt
from django.conf import settings

from tenancy.ids import uuid7
from web.errors import DomainError

LIFETIME = 86_400  # seconds; released clients keep a token for 23 hours and don't retry on 401
AUDIENCE = "alp:sdk"
TYPE = "alp-sdk+jwt"
LONGEST = 2_048


class NotAuthenticatedError(DomainError):
    status = 401
    code = "not_authenticated"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


@dataclass(frozen=True, slots=True)
class SdkToken:
    """The claims that matter: a project, the generation of its key that was proven, seconds since 1970."""

    project_id: uuid.UUID
    generation: int
    expires_at: int


def issue(project_id: uuid.UUID, generation: int) -> str:
    key_id, secret = settings.SDK_TOKEN_KEYS.current
    now = int(time.time())
    claims = {
        "iss": settings.SITE_URL,
        "aud": AUDIENCE,
        "sub": f"project:{project_id}",
        "gen": generation,
        "jti": uuid7().hex,
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
    }
    return jwt.encode(claims, secret, algorithm="HS256", headers={"kid": key_id, "typ": TYPE})


def verify(token: str) -> SdkToken:
    """The claims of a token that we issued for SDKs and that has not expired; NotAuthenticatedError otherwise."""
    if len(token) > LONGEST:
        raise NotAuthenticatedError("This is not an access token.")
    claims = _verify_signature(token)
    if claims.expires_at <= time.time():
        raise NotAuthenticatedError("The access token has expired. Solve a new challenge.")
    return claims


@lru_cache(maxsize=8_192)
def _verify_signature(token: str) -> SdkToken:
    """Signature, type and audience, remembered: they can't change for one text. The expiry is for the caller."""
    try:
        header = jwt.get_unverified_header(token)
        secret = settings.SDK_TOKEN_KEYS.get(str(header.get("kid")))
        if header.get("typ") != TYPE or secret is None:
            raise NotAuthenticatedError("This is not an access token of this platform's SDK endpoints.")
        claims = jwt.decode(
            token,
            secret,
            algorithms=["HS256"],
            audience=AUDIENCE,
            options={"require": ["sub", "gen", "exp", "iat", "nbf"], "verify_exp": False},
        )
        kind, _, project = str(claims["sub"]).partition(":")
        if kind != "project":
            raise NotAuthenticatedError("This token is for something else.")
        return SdkToken(uuid.UUID(project), int(claims["gen"]), int(claims["exp"]))
    except (jwt.InvalidTokenError, ValueError, TypeError) as error:
        raise NotAuthenticatedError("The access token is not valid. Solve a new challenge.") from error
