"""Proof of possession for a key that no project has yet: only who holds the private key can read what is sealed to it.

The text that has to be sent back is a MAC over whom and what it was made for, so nothing is stored. It is good for two
minutes, for one key of one project, in one member's hands; sending it twice gains nothing, since a key is registered
once.
"""

import hmac
import re
import time
import uuid

from django.utils.crypto import salted_hmac

from cryptokit import sealed_box
from cryptokit.encoding import ctx
from web.errors import DomainError

LIFETIME = 120  # seconds
SOLUTION = re.compile(r"(\d{1,12})\.[0-9a-f]{64}")


class NotProvenError(DomainError):
    status = 422
    code = "not_proven"


def issue(*, public_key: bytes, project_id: uuid.UUID, user_id: uuid.UUID) -> str:
    """A riddle for the holder of `public_key` (32 bytes, admitted), sealed, in base64."""
    return sealed_box.seal(_text(int(time.time()), public_key, project_id, user_id).encode(), public_key)


def check(solution: str, *, public_key: bytes, project_id: uuid.UUID, user_id: uuid.UUID) -> None:
    """NotProvenError unless `solution` is what `issue` sealed for the same three, within its time."""
    matched = SOLUTION.fullmatch(solution)
    issued = int(matched[1]) if matched else 0
    expected = _text(issued, public_key, project_id, user_id)
    if not hmac.compare_digest(solution.encode(), expected.encode()) or time.time() - issued > LIFETIME:
        raise NotProvenError("Your browser did not prove in time that it can open the new key. Try again.")


def _text(issued: int, public_key: bytes, project_id: uuid.UUID, user_id: uuid.UUID) -> str:
    bound_to = ctx("key-candidate", str(issued), public_key, project_id, user_id)
    return f"{issued}.{salted_hmac('directory.candidates', bound_to, algorithm='sha256').hexdigest()}"
