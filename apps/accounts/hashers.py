"""How the secret that signs a person in is stored.

It is no password but 32 bytes derived from one in the browser with Argon2id at 64 MiB, so guessing it is hopeless and
guessing the password costs that work for each try. What is left to guard against is a stolen database: the pepper,
which is not in it, makes the column useless for guessing at all.
"""

import hashlib
import hmac
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher

PEPPER_SEPARATOR = "@"


class PepperedArgon2PasswordHasher(Argon2PasswordHasher):
    """`argon2p$<pepper id>@<Argon2id of HMAC-SHA-256(pepper, secret)>`, at 19 MiB and 2 passes."""

    algorithm = "argon2p"
    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1

    def encode(self, password: str, salt: str) -> str:
        pepper_id, pepper = settings.AUTH_PEPPERS.current
        inner = super().encode(_peppered(pepper, password), salt)
        return f"{self.algorithm}${pepper_id}{PEPPER_SEPARATOR}{inner.removeprefix(f'{self.algorithm}$')}"

    def verify(self, password: str, encoded: str) -> bool:
        pepper = settings.AUTH_PEPPERS.get(_pepper_id(encoded))
        return pepper is not None and super().verify(_peppered(pepper, password), _inner(encoded))

    def decode(self, encoded: str) -> dict[str, Any]:
        return super().decode(_inner(encoded))

    def must_update(self, encoded: str) -> bool:
        return _pepper_id(encoded) != settings.AUTH_PEPPERS.current[0] or super().must_update(encoded)

    def safe_summary(self, encoded: str) -> dict[Any, Any]:
        return {**super().safe_summary(encoded), "pepper": _pepper_id(encoded)}


def _peppered(pepper: bytes, password: str) -> str:
    return hmac.new(pepper, password.encode(), hashlib.sha256).hexdigest()


def _pepper_id(encoded: str) -> str:
    return encoded.partition("$")[2].partition(PEPPER_SEPARATOR)[0]


def _inner(encoded: str) -> str:
    """As the parent class writes it, without the pepper's id."""
    algorithm, _, rest = encoded.partition("$")
    return f"{algorithm}${rest.partition(PEPPER_SEPARATOR)[2]}"
