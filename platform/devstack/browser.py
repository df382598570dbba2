"""The browser's part of the key protocol, in Python: for the demo and for tests.

Everything secret is made and kept on this side. What these functions hand over is what a browser would send: public
keys, signatures, boxes and wraps. Nothing of the server imports this module. docs/protocol.md has the formats.
"""

import hashlib
import hmac
import os
import unicodedata
import uuid
from dataclasses import dataclass, field

import nacl.bindings
from argon2.low_level import Type, hash_secret_raw
from nacl.exceptions import CryptoError

from cryptokit import sealed_box, statements
from cryptokit.encoding import LABEL, b64, b64_decode, b64u, b64u_decode, ctx

# Derivation `a1`, frozen: Argon2id with 64 MiB, 3 passes, 1 lane.
KDF = "a1"
KDF_MEMORY_KIB, KDF_PASSES, KDF_LANES = 65_536, 3, 1


class WrapError(ValueError):
    """The envelope is not what this key and context expect. One error for every cause, on purpose."""


def hkdf(key: bytes, info: bytes, length: int = 32, salt: bytes = b"") -> bytes:
    """HKDF-SHA-256 (RFC 5869)."""
    pseudo_random = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    block, output = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.new(pseudo_random, block + info + bytes([counter]), hashlib.sha256).digest()
        output += block
    return output[:length]


def derive(key: bytes, label: str) -> bytes:
    """A 32-byte key for one purpose."""
    return hkdf(key, (LABEL + label).encode())


@dataclass(frozen=True, slots=True, repr=False)
class PasswordKeys:
    """What a password gives: the secret that signs in, and the key that wraps the account seed."""

    auth_secret: str
    key_encryption_key: bytes

    @classmethod
    def from_password(cls, password: str, salt: bytes) -> "PasswordKeys":
        text = unicodedata.normalize("NFKC", password).encode()
        master = hash_secret_raw(text, salt, KDF_PASSES, KDF_MEMORY_KIB, KDF_LANES, 32, Type.ID)
        return cls("as1." + b64u(derive(master, "auth")), derive(master, "kek/password"))


def wrap(key: bytes, context: bytes, plaintext: bytes, *, nonce: bytes | None = None) -> str:
    """A `W1` envelope: bound to its context and committed to its key. `nonce` is for test vectors only."""
    nonce = nonce or os.urandom(24)
    keys = hkdf(key, ctx("W1", context), 64, salt=nonce)
    sealed = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, context, nonce, keys[:32])
    return "W1." + b64u(nonce + keys[32:] + sealed)


def unwrap(key: bytes, context: bytes, envelope: str) -> bytes:
    """Opens a `W1` envelope; WrapError unless key and context are the ones it was made with."""
    try:
        if not envelope.startswith("W1."):
            raise ValueError("another format")
        body = b64u_decode(envelope[3:])
        nonce, commitment, sealed = body[:24], body[24:56], body[56:]
        keys = hkdf(key, ctx("W1", context), 64, salt=nonce)
        if len(body) < 72 or not hmac.compare_digest(keys[32:], commitment):
            raise ValueError("another key or context")
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, context, nonce, keys[:32])
    except (ValueError, CryptoError) as error:
        raise WrapError("This can't be opened here.") from error


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """A member's keys, all derived from one 32-byte seed."""

    vault_id: uuid.UUID
    seed: bytes
    account_key_version: int = 1

    @classmethod
    def new(cls) -> "Account":
        return cls(uuid.uuid4(), os.urandom(32))

    @property
    def x25519_public(self) -> bytes:
        return nacl.bindings.crypto_scalarmult_base(derive(self.seed, "account/x25519"))

    @property
    def ed25519_public(self) -> bytes:
        return nacl.bindings.crypto_sign_seed_keypair(derive(self.seed, "account/ed25519"))[0]

    @property
    def identity(self) -> bytes:
        return statements.identity(self.vault_id, self.account_key_version, self.x25519_public, self.ed25519_public)

    def sign(self, statement: bytes) -> bytes:
        """A 64-byte Ed25519 signature."""
        _, secret = nacl.bindings.crypto_sign_seed_keypair(derive(self.seed, "account/ed25519"))
        return nacl.bindings.crypto_sign(statement, secret)[:64]

    def unlock_context(self, unlock_id: uuid.UUID, kind: str, kdf: str, kdf_input: bytes) -> bytes:
        return ctx("unlock", kind, unlock_id, self.vault_id, self.account_key_version, kdf, kdf_input)

    def self_grant(self, organization: uuid.UUID, project: uuid.UUID, generation: int, key: "ProjectKeyPair") -> str:
        """A project's private key wrapped for oneself."""
        context = ctx(
            "self-grant",
            organization,
            project,
            generation,
            key.public,
            self.vault_id,
            self.account_key_version,
        )
        return wrap(derive(self.seed, "account/symmetric"), context, key.private)


@dataclass(frozen=True, slots=True, repr=False)
class ProjectKeyPair:
    """One generation of a project's key. The private half is what ANY_LLM_KEY carries."""

    private: bytes = field(default_factory=lambda: os.urandom(32))
    kid: str = field(default_factory=lambda: os.urandom(4).hex())

    @property
    def public(self) -> bytes:
        return nacl.bindings.crypto_scalarmult_base(self.private)

    @property
    def any_llm_key(self) -> str:
        return f"ANY.v1.{self.kid}.{hashlib.sha256(self.public).digest()[:4].hex()}-{b64(self.private)}"

    def seal(self, provider_key: str) -> str:
        """A provider key as a box in base64; empty for a local provider that has none."""
        return sealed_box.seal(provider_key.encode(), self.public) if provider_key else ""

    def open(self, box: str) -> str:
        """What `seal` put into a box; WrapError when it was sealed to another key or altered."""
        if not box:
            return ""
        raw = b64_decode(box)
        try:
            shared = nacl.bindings.crypto_scalarmult(self.private, raw[:32])
            nonce = hashlib.sha512(raw[:32] + self.public).digest()[:24]
            return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(raw[32:], None, nonce, shared).decode()
        except (CryptoError, RuntimeError, ValueError) as error:
            raise WrapError("This box can't be opened with this key.") from error
