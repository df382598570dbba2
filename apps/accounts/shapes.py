"""What browsers send about a vault. Bytes are url-safe base64 without padding."""

import uuid

import msgspec

from apps.accounts.models import UnlockMethod
from apps.accounts.services import PasswordUnlock, Unlock, VaultIdentity
from cryptokit.encoding import b64u_decode
from web.api import InvalidError


def from_b64u(text: str) -> bytes:
    """The bytes of a field; InvalidError for anything but canonical url-safe base64 without padding."""
    try:
        return b64u_decode(text)
    except ValueError as error:
        raise InvalidError(f"A field of bytes is {error}.") from error


class Shape(msgspec.Struct, forbid_unknown_fields=True): ...


class Prelogin(Shape):
    email: str


class Secret(Shape):
    auth_secret: str


class TrustStore(Shape):
    seq: int
    envelope: str


class Signed(Shape):
    signature: str


class Idle(Shape):
    minutes: int


class NewUnlockMethod(Shape):
    id: uuid.UUID
    kind: UnlockMethod.Kind
    kdf: str
    kdf_input: str
    envelope: str
    signature: str

    @property
    def unlock(self) -> Unlock:
        return Unlock(
            unlock_id=self.id,
            kind=self.kind,
            kdf=self.kdf,
            kdf_input=from_b64u(self.kdf_input),
            envelope=self.envelope,
        )


class NewPassword(Shape):
    """The account seed wrapped for a password."""

    id: uuid.UUID
    kdf: str
    salt: str
    envelope: str

    @property
    def unlock(self) -> PasswordUnlock:
        return PasswordUnlock(unlock_id=self.id, kdf=self.kdf, salt=from_b64u(self.salt), envelope=self.envelope)


class Identity(Shape):
    vault_id: uuid.UUID
    akv: int
    x25519_public_key: str
    ed25519_public_key: str
    identity_signature: str

    @property
    def identity(self) -> VaultIdentity:
        return VaultIdentity(
            vault_id=self.vault_id,
            account_key_version=self.akv,
            x25519_public_key=from_b64u(self.x25519_public_key),
            ed25519_public_key=from_b64u(self.ed25519_public_key),
            signature=from_b64u(self.identity_signature),
        )


class NewVault(Shape, tag="new"):
    """Of a sign-up, and of a reset that has to start with new keys."""

    identity: Identity
    password: NewPassword


class SignedPassword(Shape, tag="same"):
    """Of a change, and of a reset with the recovery key: the same keys under another password."""

    password: NewPassword
    signature: str
