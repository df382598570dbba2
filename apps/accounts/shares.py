"""The session's half of what keeps a vault unlocked in a browser: 32 random bytes that the browser asks for.

What the browser keeps on disk opens only together with it, so it dies with the session, or when the vault is locked.
"""

import os
import time

from django.contrib.sessions.backends.base import SessionBase

from cryptokit.encoding import b64u

SHARE = "vault_share"
# Counted from when it was made, however busy the session is.
LIFE_SECONDS = 12 * 3600


def current_share(session: SessionBase) -> str | None:
    """The session's share in url-safe base64; None when there is none or it has lived its 12 hours."""
    kept = session.get(SHARE)
    if kept is None or time.time() - kept["at"] >= LIFE_SECONDS:
        return None
    return str(kept["value"])


def new_share(session: SessionBase) -> str:
    """Replaces the session's share: what was wrapped with the one before it opens no more."""
    share = b64u(os.urandom(32))
    session[SHARE] = {"value": share, "at": time.time()}
    return share


def drop_share(session: SessionBase) -> None:
    session.pop(SHARE, None)
