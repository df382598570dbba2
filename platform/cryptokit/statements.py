"""What members sign with their Ed25519 key, and checking it. The bytes are contexts (cryptokit/encoding.py)."""

import hashlib
import uuid

import nacl.bindings
from nacl.exceptions import BadSignatureError

from cryptokit.encoding import ctx


def identity(vault: uuid.UUID, account_key_version: int, x25519_public: bytes, ed25519_public: bytes) -> bytes:
    """Self-signed: these two public keys are this vault's."""
    return ctx("account-identity", vault, account_key_version, x25519_public, ed25519_public)


def fingerprint(identity_statement: bytes) -> str:
    """128 bits of the identity for people to compare: 8 groups of 4 hex digits."""
    digits = hashlib.sha256(identity_statement).hexdigest()[:32]
    return " ".join(digits[start : start + 4] for start in range(0, 32, 4))


def project_key(
    organization: uuid.UUID, project: uuid.UUID, generation: int, public_key: bytes, previous: bytes = b""
) -> bytes:
    """This public key is the project's in this generation, after `previous` (empty for the first)."""
    return ctx("project-key", organization, project, generation, public_key, previous)


def provider_key(project: uuid.UUID, generation: int, project_public: bytes, provider: str, box: bytes) -> bytes:
    """This box (raw bytes) holds this provider's key for this generation."""
    return ctx("provider-key", project, generation, project_public, provider, hashlib.sha256(box).digest())


def unlock_update(vault: uuid.UUID, account_key_version: int, unlock: uuid.UUID, kind: str, envelope: str) -> bytes:
    """This envelope replaces what stood in this unlock slot."""
    return ctx("unlock-update", vault, account_key_version, unlock, kind, hashlib.sha256(envelope.encode()).digest())


def grant_context(
    organization: uuid.UUID,
    project: uuid.UUID,
    generation: int,
    project_public: bytes,
    *,
    recipient: uuid.UUID,
    recipient_version: int,
    recipient_x25519_public: bytes,
    sender: uuid.UUID,
    sender_version: int,
    sender_ed25519_public: bytes,
) -> bytes:
    """Everything a `G1` grant is bound to: which key, to whom, from whom. Parties are vault, key version and key."""
    return ctx(
        "grant",
        organization,
        project,
        generation,
        project_public,
        recipient,
        recipient_version,
        recipient_x25519_public,
        sender,
        sender_version,
        sender_ed25519_public,
    )


def grant_signature(context: bytes, body: bytes) -> bytes:
    """This grant's body (112 bytes) was made by the sender for this context."""
    return ctx("G1-sig", context, hashlib.sha256(body).digest())


def is_signed(statement: bytes, signature: bytes, ed25519_public: bytes) -> bool:
    """Whether `signature` (64 bytes) over `statement` is by the holder of `ed25519_public` (32 bytes)."""
    if len(signature) != 64 or len(ed25519_public) != 32:
        return False
    try:
        nacl.bindings.crypto_sign_open(signature + statement, ed25519_public)
    except BadSignatureError:
        return False
    return True
