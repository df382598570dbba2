"""Encryption of columns that would let a database thief guess passwords offline.

    key id || 0x00 || nonce(24) || XChaCha20-Poly1305-IETF(key, nonce, aad, plaintext)

The key comes from a ring held by the application, never by the database; `aad` binds the value to its row.
"""

import hashlib
import os

import nacl.bindings
from nacl.exceptions import CryptoError

from config.env import KeyRing


class AtRestError(ValueError):
    """The stored value can't be opened: its key is not in the ring, or it was moved or altered."""


def encrypt(ring: KeyRing, aad: bytes, plaintext: bytes) -> bytes:
    key_id, secret = ring.current
    nonce = os.urandom(24)
    sealed = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, aad, nonce, _key(secret))
    return key_id.encode() + b"\0" + nonce + sealed


def decrypt(ring: KeyRing, aad: bytes, stored: bytes | memoryview) -> bytes:
    key_id, _, rest = bytes(stored).partition(b"\0")
    secret = ring.get(key_id.decode())
    if secret is None:
        raise AtRestError(f"No key {key_id.decode()!r} in the ring.")
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(rest[24:], aad, rest[:24], _key(secret))
    except (CryptoError, ValueError) as error:
        raise AtRestError("The stored value does not belong to this row or was altered.") from error


def _key(secret: bytes) -> bytes:
    """32 bytes from a ring secret of any length."""
    return hashlib.sha256(b"at-rest\0" + secret).digest()
