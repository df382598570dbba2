"""The browser's part of the key protocol, in Python: for the demo and for tests.

Everything secret is made and kept on this side. What these functions hand over is what a browser would send: public
keys, signatures, boxes and wraps. Nothing of the server imports this module. docs/protocol.md has the formats.
"""

import hashlib
import hmac
import json
import os
import re
import unicodedata
import uuid
from dataclasses import dataclass, field
from typing import Any

import nacl.bindings
from argon2.low_level import Type, hash_secret_raw
from nacl.exceptions import CryptoError

from cryptokit import envelopes, sealed_box, statements
from cryptokit.encoding import LABEL, b64, b64_decode, b64u, b64u_decode, ctx

# Derivation `a1`, frozen: Argon2id with 64 MiB, 3 passes, 1 lane.
KDF = "a1"
KDF_MEMORY_KIB, KDF_PASSES, KDF_LANES = 65_536, 3, 1

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


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


def seal_grant(
    context: bytes, recipient_x25519_public: bytes, sender: "Account", project_private: bytes, *, ephemeral: bytes = b""
) -> str:
    """A `G1` grant of a project's private key; `context` is `statements.grant_context`. `ephemeral` is for vectors."""
    ephemeral = ephemeral or os.urandom(32)
    ephemeral_public = nacl.bindings.crypto_scalarmult_base(ephemeral)
    shared = nacl.bindings.crypto_scalarmult(ephemeral, recipient_x25519_public)
    keys = hkdf(shared, ctx("G1", context), 88, salt=ephemeral_public + recipient_x25519_public)
    key, commitment, nonce = keys[:32], keys[32:64], keys[64:]
    sealed = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(project_private, context, nonce, key)
    body = ephemeral_public + commitment + sealed
    return "G1." + b64u(body + sender.sign(statements.grant_signature(context, body)))


def open_grant(
    context: bytes, sender_ed25519_public: bytes, recipient: "Account", project_public: bytes, envelope: str
) -> bytes:
    """The project's private key (32 bytes); WrapError unless the grant is exactly what the recipient expects."""
    try:
        if not envelopes.is_grant_signed(envelope, context, sender_ed25519_public):
            raise ValueError("not signed by this sender for this context")
        body = b64u_decode(envelope.removeprefix("G1."))[: envelopes.GRANT_BODY_BYTES]
        ephemeral_public, commitment, sealed = body[:32], body[32:64], body[64:]
        shared = nacl.bindings.crypto_scalarmult(derive(recipient.seed, "account/x25519"), ephemeral_public)
        keys = hkdf(shared, ctx("G1", context), 88, salt=ephemeral_public + recipient.x25519_public)
        if not hmac.compare_digest(keys[32:64], commitment):
            raise ValueError("another key or context")
        private = nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, context, keys[64:], keys[:32])
        if nacl.bindings.crypto_scalarmult_base(private) != project_public:
            raise ValueError("another project's key")
    except (ValueError, TypeError, RuntimeError, CryptoError) as error:
        raise WrapError("This can't be opened here.") from error
    return private


@dataclass(frozen=True, slots=True)
class Identity:
    """What others know of an account: its vault, the version of its keys, and the public keys (32 bytes each)."""

    vault_id: uuid.UUID
    account_key_version: int
    x25519_public: bytes
    ed25519_public: bytes

    @property
    def statement(self) -> bytes:
        return statements.identity(self.vault_id, self.account_key_version, self.x25519_public, self.ed25519_public)


@dataclass(frozen=True, slots=True, repr=False)
class RecoveryKey:
    """The encryption recovery key: 160 random bits, written in Crockford's base 32 behind `RK1-`."""

    secret: bytes = field(default_factory=lambda: os.urandom(20))

    @classmethod
    def parse(cls, text: str) -> "RecoveryKey":
        """Reads what a person typed; ValueError unless the check characters fit."""
        plain = re.sub(r"[\s\-\u2010-\u2015]", "", text.upper()).translate(str.maketrans("OIL", "011"))
        if not re.fullmatch(rf"RK1[{CROCKFORD}]{{36}}", plain):
            raise ValueError("not an encryption recovery key")
        number = 0
        for character in plain[3:35]:
            number = number * 32 + CROCKFORD.index(character)
        key = cls(number.to_bytes(20, "big"))
        if key.text.replace("-", "") != plain:
            raise ValueError("a character of the encryption recovery key is wrong")
        return key

    @property
    def text(self) -> str:
        check = hashlib.sha256(ctx("recovery-check", self.secret)).digest()[:5]
        characters = _crockford(self.secret) + _crockford(check)[:4]
        return "-".join(["RK1", *(characters[start : start + 4] for start in range(0, 36, 4))])

    @property
    def key_encryption_key(self) -> bytes:
        return derive(self.secret, "kek/recovery")


def _crockford(data: bytes) -> str:
    """Base 32 of a multiple of 5 bytes."""
    number = int.from_bytes(data, "big")
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(len(data) * 8 - 5, -1, -5))


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
    def public(self) -> Identity:
        return Identity(self.vault_id, self.account_key_version, self.x25519_public, self.ed25519_public)

    @property
    def identity(self) -> bytes:
        """The statement to sign about oneself."""
        return self.public.statement

    def sign(self, statement: bytes) -> bytes:
        """A 64-byte Ed25519 signature."""
        _, secret = nacl.bindings.crypto_sign_seed_keypair(derive(self.seed, "account/ed25519"))
        return nacl.bindings.crypto_sign(statement, secret)[:64]

    def unlock_context(self, unlock_id: uuid.UUID, kind: str, kdf: str, kdf_input: bytes) -> bytes:
        return ctx("unlock", kind, unlock_id, self.vault_id, self.account_key_version, kdf, kdf_input)

    def self_grant(self, organization: uuid.UUID, project: uuid.UUID, generation: int, key: "ProjectKeyPair") -> str:
        """A project's private key wrapped for oneself."""
        context = self._self_grant_context(organization, project, generation, key.public)
        return wrap(self._symmetric, context, key.private)

    def open_self_grant(
        self, organization: uuid.UUID, project: uuid.UUID, generation: int, project_public: bytes, envelope: str
    ) -> bytes:
        """The project's private key (32 bytes)."""
        context = self._self_grant_context(organization, project, generation, project_public)
        return unwrap(self._symmetric, context, envelope)

    def grant_to(
        self,
        recipient: Identity,
        organization: uuid.UUID,
        project: uuid.UUID,
        generation: int,
        key: "ProjectKeyPair",
    ) -> str:
        """A project's private key sealed to a teammate."""
        context = _grant_context(organization, project, generation, key.public, recipient, self.public)
        return seal_grant(context, recipient.x25519_public, self, key.private)

    def open_grant_from(
        self,
        sender: Identity,
        organization: uuid.UUID,
        project: uuid.UUID,
        generation: int,
        project_public: bytes,
        envelope: str,
    ) -> bytes:
        """The project's private key (32 bytes) that a teammate sealed to this account."""
        context = _grant_context(organization, project, generation, project_public, self.public, sender)
        return open_grant(context, sender.ed25519_public, self, project_public, envelope)

    def trust_store(self, sequence: int, pins: dict[str, Any]) -> str:
        """The pins of members and projects, wrapped for oneself; `sequence` grows with every change."""
        text = json.dumps(pins, separators=(",", ":"), ensure_ascii=False)
        return wrap(self._symmetric, self._trust_store_context(sequence), text.encode())

    def open_trust_store(self, sequence: int, envelope: str) -> Any:
        return json.loads(unwrap(self._symmetric, self._trust_store_context(sequence), envelope))

    @property
    def _symmetric(self) -> bytes:
        return derive(self.seed, "account/symmetric")

    def _self_grant_context(
        self, organization: uuid.UUID, project: uuid.UUID, generation: int, project_public: bytes
    ) -> bytes:
        own = (self.vault_id, self.account_key_version)
        return ctx("self-grant", organization, project, generation, project_public, *own)

    def _trust_store_context(self, sequence: int) -> bytes:
        return ctx("trust-store", self.vault_id, self.account_key_version, sequence)


def _grant_context(
    organization: uuid.UUID,
    project: uuid.UUID,
    generation: int,
    project_public: bytes,
    recipient: Identity,
    sender: Identity,
) -> bytes:
    return statements.grant_context(
        organization,
        project,
        generation,
        project_public,
        recipient=recipient.vault_id,
        recipient_version=recipient.account_key_version,
        recipient_x25519_public=recipient.x25519_public,
        sender=sender.vault_id,
        sender_version=sender.account_key_version,
        sender_ed25519_public=sender.ed25519_public,
    )


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
