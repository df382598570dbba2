"""What the server can say of an envelope that it can't open: its form, and who signed it."""

import re

from cryptokit import statements
from cryptokit.encoding import b64u_decode

# A `W1` wrap of 32 bytes: nonce, commitment, ciphertext and tag in url-safe base64.
WRAPPED_KEY = re.compile(r"W1\.[A-Za-z0-9_-]{139}")

# A `G1` grant: ephemeral key, commitment, ciphertext and tag, then the sender's signature over them.
GRANT = re.compile(r"G1\.[A-Za-z0-9_-]{235}")
GRANT_BODY_BYTES = 112


def is_grant_signed(envelope: str, context: bytes, sender_ed25519_public: bytes) -> bool:
    """Whether `envelope` is a `G1` grant that the holder of this key signed for this `statements.grant_context`.

    The sender's key is a field of the context, too: take both from what the server stores, never from the request.
    """
    if not GRANT.fullmatch(envelope):
        return False
    try:
        raw = b64u_decode(envelope.removeprefix("G1."))
    except ValueError:
        return False
    body, signature = raw[:GRANT_BODY_BYTES], raw[GRANT_BODY_BYTES:]
    return statements.is_signed(statements.grant_signature(context, body), signature, sender_ed25519_public)
