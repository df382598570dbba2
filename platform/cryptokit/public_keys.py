"""Which X25519 public keys the platform takes."""

import os

import nacl.bindings
from nacl.exceptions import CryptoError

from cryptokit.encoding import b64_decode

FIELD_PRIME = 2**255 - 19


class InvalidPublicKeyError(ValueError):
    """The text is no public key that we take; the message says why."""


def admit_public_key(encoded: str) -> bytes:
    """The 32 bytes of a public key in standard base64; InvalidPublicKeyError unless it is canonical and safe.

    Keys that spell another key's point differently, or whose shared secret would be zero, are refused: the first
    would be a second name for the same key, the second seals to everybody.
    """
    try:
        key = b64_decode(encoded)
    except ValueError as error:
        raise InvalidPublicKeyError("must be the public key in standard base64 with padding, 44 characters") from error
    if len(key) != 32:
        raise InvalidPublicKeyError(f"must be a public key of 32 bytes, not {len(key)}")
    if int.from_bytes(key, "little") >= FIELD_PRIME:
        raise InvalidPublicKeyError("is not in canonical form")
    try:
        nacl.bindings.crypto_scalarmult(os.urandom(32), key)
    except (CryptoError, RuntimeError) as error:
        raise InvalidPublicKeyError("is a low-order point, which protects nothing") from error
    return key
