"""The sealed box that released SDKs open. Not libsodium's `crypto_box_seal`.

base64( epk(32) || XChaCha20-Poly1305-IETF(key = X25519(esk, pk), nonce = SHA-512(epk || pk)[:24], no AAD) )
"""

import hashlib
import os

import nacl.bindings

from cryptokit.encoding import b64

# An ephemeral key and a tag: the shortest box, of an empty text.
OVERHEAD = 48


def seal(plaintext: bytes, public_key: bytes, *, ephemeral_key: bytes | None = None) -> str:
    """`plaintext` for the holder of `public_key` (32 bytes, admitted). `ephemeral_key` is for test vectors only."""
    ephemeral = ephemeral_key or os.urandom(32)
    ephemeral_public = nacl.bindings.crypto_scalarmult_base(ephemeral)
    shared = nacl.bindings.crypto_scalarmult(ephemeral, public_key)
    nonce = hashlib.sha512(ephemeral_public + public_key).digest()[:24]
    sealed = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, None, nonce, shared)
    return b64(ephemeral_public + sealed)
