"""What changes accounts."""

import hashlib
import hmac
import re
import uuid
from dataclasses import dataclass

from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.db.utils import IntegrityError

from apps.accounts.models import UnlockMethod, User, Vault, canonical_email
from cryptokit import at_rest, statements
from cryptokit.encoding import b64, ctx
from cryptokit.envelopes import WRAPPED_KEY
from cryptokit.public_keys import InvalidPublicKeyError, admit_public_key
from web.errors import DomainError

AUTH_SECRET = re.compile(r"as1\.[A-Za-z0-9_-]{43}")
CURRENT_KDF = "a1"
KDF_VERSIONS = frozenset({CURRENT_KDF})
# Of each kind of unlock method: how its key may be derived, and how many bytes that takes beside the secret.
DERIVATIONS = {
    UnlockMethod.Kind.PASSWORD: (KDF_VERSIONS, 16),
    UnlockMethod.Kind.PASSPHRASE: (KDF_VERSIONS, 16),
    UnlockMethod.Kind.PRF: (frozenset({"prf1"}), 32),
    UnlockMethod.Kind.RECOVERY: (frozenset({"rk1"}), 0),
}
# What a reset without the recovery key leaves behind is kept so long, for a recovery key that turns up.
STALE_DAYS = 90
# A trust store holds some 100 bytes for each member and project.
LONGEST_TRUST_STORE = 262_144
MALFORMED_UNLOCK = "The unlock method is malformed. Reload the page and try again."
TRUST_STORE = re.compile(r"W1\.[A-Za-z0-9_-]{96,}")


class AccountError(DomainError):
    status = 422
    code = "invalid_account"


class EmailTakenError(DomainError):
    status = 409
    code = "email_taken"


class UnsignedUpdateError(DomainError):
    status = 422
    code = "unsigned_update"


class LastUnlockMethodError(DomainError):
    status = 409
    code = "last_unlock_method"


class PasswordUnlockMethodError(DomainError):
    status = 409
    code = "password_unlock_method"


class RecoveryKeyExistsError(DomainError):
    status = 409
    code = "recovery_key_exists"


class TrustStoreChangedError(DomainError):
    status = 409
    code = "trust_store_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultIdentity:
    """A vault's public half, signed by its own Ed25519 key."""

    vault_id: uuid.UUID
    account_key_version: int
    x25519_public_key: bytes
    ed25519_public_key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordUnlock:
    """The account seed wrapped under a key from the password, and how that key is derived."""

    unlock_id: uuid.UUID
    kdf: str
    salt: bytes
    envelope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlock:
    """The account seed wrapped for any kind of unlock method. `kdf_input` is a salt, the SHA-256 of a credential's id,
    or nothing: see DERIVATIONS."""

    unlock_id: uuid.UUID
    kind: UnlockMethod.Kind
    kdf: str
    kdf_input: bytes
    envelope: str


def prelogin_salt(email: str) -> bytes:
    """The 16-byte salt that an address without an account is given, and that its sign-up must use.

    It depends on the address and on nothing stored, so asking does not tell whether there is an account.
    """
    _, secret = settings.PRELOGIN_KEYS.current
    return hmac.new(secret, ctx("prelogin-salt", canonical_email(email)), hashlib.sha256).digest()[:16]


@transaction.atomic
def create_account(
    *,
    email: str,
    auth_secret: str,
    identity: VaultIdentity,
    unlock: PasswordUnlock,
    name: str = "",
    email_verified: bool = False,
) -> User:
    """A person with a vault and one way to open it, all of it made in their browser.

    Raises AccountError where a part is not what the protocol says (a raw password among them: it is refused
    before anything looks at it), EmailTakenError where the address has an account.
    """
    check_auth_secret(auth_secret)
    check_identity(identity)
    method = _password_unlock(unlock)
    # The answer of prelogin for this address must be the same before and after.
    if identity.account_key_version != 1 or unlock.salt != prelogin_salt(email):
        raise AccountError(MALFORMED_UNLOCK)
    try:
        with transaction.atomic():
            user = User.objects.create_user(canonical_email(email), auth_secret, name=name)
    except IntegrityError as error:
        raise EmailTakenError("This address has an account. Sign in instead.") from error
    EmailAddress.objects.create(user=user, email=user.email, primary=True, verified=email_verified)
    try:
        with transaction.atomic():
            vault = Vault.objects.create(
                id=identity.vault_id,
                user=user,
                account_key_version=identity.account_key_version,
                x25519_public_key=identity.x25519_public_key,
                ed25519_public_key=identity.ed25519_public_key,
                identity_signature=identity.signature,
            )
    except IntegrityError as error:
        raise AccountError("This vault belongs to another account. Reload the page and try again.") from error
    _store_unlock(vault, method)
    return user


@transaction.atomic
def change_password(*, user: User, auth_secret: str, unlock: PasswordUnlock, signature: bytes) -> None:
    """A new password for the same account seed, which `signature` proves: over the unlock-update statement.

    Sessions die with the old password, unless the caller carries one over (update_session_auth_hash).

    Raises AccountError where a part is malformed, UnsignedUpdateError where the signature is not the vault's.
    """
    check_auth_secret(auth_secret)
    method = _password_unlock(unlock)
    vault = _locked_vault(user)
    _check_signed(vault, method.unlock_id, method.kind, method.envelope, signature)
    _replace_unlock(vault, method)
    _set_auth_secret(user, auth_secret)


@transaction.atomic
def reset_with_recovery_key(*, user: User, auth_secret: str, unlock: PasswordUnlock, signature: bytes) -> None:
    """A new password for somebody who opened the seed with the recovery key: keys and grants stay as they are. That
    recovery key is used up, so the vault asks for a new one. Errors as `change_password` has them."""
    change_password(user=user, auth_secret=auth_secret, unlock=unlock, signature=signature)
    user.vault.unlock_methods.filter(kind=UnlockMethod.Kind.RECOVERY, stale_since=None).delete()


@transaction.atomic
def reset_without_recovery_key(
    *, user: User, auth_secret: str, identity: VaultIdentity, unlock: PasswordUnlock
) -> None:
    """A new password and a new account seed: whoever knew the old one, the person too, opens nothing new with it.

    Old unlock methods become stale and are kept for STALE_DAYS; grants to the old keys stay beside them.

    Raises AccountError where a part is malformed or the keys aren't new.
    """
    check_auth_secret(auth_secret)
    check_identity(identity)
    method = _password_unlock(unlock)
    vault = _locked_vault(user)
    if identity.vault_id != vault.id or identity.account_key_version != vault.account_key_version + 1:
        raise AccountError("Your keys were changed by another page. Reload this one and try again.")
    if identity.x25519_public_key == bytes(vault.x25519_public_key) or identity.ed25519_public_key == bytes(
        vault.ed25519_public_key
    ):
        raise AccountError("A reset without the encryption recovery key needs new keys. Reload the page and try again.")
    vault.unlock_methods.filter(stale_since=None).update(stale_since=Now())
    vault.account_key_version = identity.account_key_version
    vault.x25519_public_key = identity.x25519_public_key
    vault.ed25519_public_key = identity.ed25519_public_key
    vault.identity_signature = identity.signature
    # The old seed wrapped it. Its numbers start again, as its readers count them by key version.
    vault.trust_store, vault.trust_store_seq = "", 0
    vault.recovery_declined_at = None
    vault.save()
    _store_unlock(vault, method)
    _set_auth_secret(user, auth_secret)


@transaction.atomic
def put_unlock_method(*, user: User, unlock: Unlock, signature: bytes) -> None:
    """Adds a way to unlock, in place of the current one of its kind (there may be several passkeys).

    Raises AccountError where it is malformed, UnsignedUpdateError without the vault's signature over the
    unlock-update statement, PasswordUnlockMethodError for the password: that changes together with sign-in.
    """
    if unlock.kind == UnlockMethod.Kind.PASSWORD:
        raise PasswordUnlockMethodError("Change your password instead: it also signs you in.")
    _check_unlock(unlock)
    vault = _locked_vault(user)
    _check_signed(vault, unlock.unlock_id, unlock.kind, unlock.envelope, signature)
    if unlock.kind == UnlockMethod.Kind.PRF:
        _store_unlock(vault, unlock)
    else:
        _replace_unlock(vault, unlock)
    if unlock.kind == UnlockMethod.Kind.RECOVERY:
        Vault.objects.filter(id=vault.id).update(recovery_declined_at=None)


@transaction.atomic
def delete_unlock_method(*, user: User, unlock_id: uuid.UUID, signature: bytes) -> None:
    """Takes a way to unlock away; `signature` is over the unlock-update statement with an empty envelope.

    Raises UnlockMethod.DoesNotExist, UnsignedUpdateError, LastUnlockMethodError, PasswordUnlockMethodError.
    """
    vault = _locked_vault(user)
    methods = vault.unlock_methods.filter(stale_since=None)
    method = methods.get(id=unlock_id)
    _check_signed(vault, method.id, method.kind, "", signature)
    if methods.count() == 1:
        raise LastUnlockMethodError("This is the only way to unlock your vault. Add another one first.")
    if method.kind == UnlockMethod.Kind.PASSWORD:
        raise PasswordUnlockMethodError("Your password signs you in, so it stays. You can change it.")
    method.delete()


@transaction.atomic
def decline_recovery_key(*, user: User) -> None:
    """Notes that the person goes without a recovery key; RecoveryKeyExistsError when they have one."""
    vault = _locked_vault(user)
    if vault.unlock_methods.filter(kind=UnlockMethod.Kind.RECOVERY, stale_since=None).exists():
        raise RecoveryKeyExistsError("You have an encryption recovery key. Remove it under Ways to unlock first.")
    Vault.objects.filter(id=vault.id).update(recovery_declined_at=Now())


def put_trust_store(*, user: User, seq: int, envelope: str) -> None:
    """Stores the person's pins; TrustStoreChangedError unless `seq` is the next number: another tab was faster."""
    if not TRUST_STORE.fullmatch(envelope) or len(envelope) > LONGEST_TRUST_STORE:
        raise AccountError("The trust store is malformed.")
    # One statement, so that of two writers one gets no row.
    if not Vault.objects.filter(user=user, trust_store_seq=seq - 1).update(
        trust_store=envelope, trust_store_seq=F("trust_store_seq") + 1
    ):
        raise TrustStoreChangedError("Your list of trusted keys was changed elsewhere. Read it again.")


def set_idle_minutes(*, user: User, minutes: int) -> None:
    """After how many minutes without a touch the vault locks: 1 to 1440."""
    if not 1 <= minutes <= 24 * 60:
        raise AccountError("Choose between 1 minute and 24 hours.")
    Vault.objects.filter(user=user).update(idle_minutes=minutes)


def check_auth_secret(auth_secret: str) -> None:
    """AccountError unless it has the form of a derived secret."""
    if not AUTH_SECRET.fullmatch(auth_secret):
        raise AccountError("The sign-in secret is malformed. This server never accepts passwords.")


def check_identity(identity: VaultIdentity) -> None:
    """AccountError unless the identity is well-formed and signed by itself."""
    try:
        admit_public_key(b64(identity.x25519_public_key))
    except InvalidPublicKeyError as error:
        raise AccountError(f"The vault's public key {error}.") from error
    statement = statements.identity(
        identity.vault_id,
        identity.account_key_version,
        identity.x25519_public_key,
        identity.ed25519_public_key,
    )
    if not statements.is_signed(statement, identity.signature, identity.ed25519_public_key):
        raise AccountError("The vault's identity is not signed by its own key.")


def _password_unlock(unlock: PasswordUnlock) -> Unlock:
    method = Unlock(
        unlock_id=unlock.unlock_id,
        kind=UnlockMethod.Kind.PASSWORD,
        kdf=unlock.kdf,
        kdf_input=unlock.salt,
        envelope=unlock.envelope,
    )
    _check_unlock(method)
    return method


def _check_unlock(unlock: Unlock) -> None:
    kdfs, input_bytes = DERIVATIONS[unlock.kind]
    if unlock.kdf not in kdfs or len(unlock.kdf_input) != input_bytes or not WRAPPED_KEY.fullmatch(unlock.envelope):
        raise AccountError(MALFORMED_UNLOCK)


def _locked_vault(user: User) -> Vault:
    """The vault's row, until the transaction ends: changes of one vault go one after the other."""
    return Vault.objects.select_for_update().get(user=user)


def _check_signed(vault: Vault, unlock_id: uuid.UUID, kind: str, envelope: str, signature: bytes) -> None:
    statement = statements.unlock_update(vault.id, vault.account_key_version, unlock_id, kind, envelope)
    if not statements.is_signed(statement, signature, bytes(vault.ed25519_public_key)):
        raise UnsignedUpdateError("This change is not signed by your vault. Unlock it again and repeat the change.")


def _replace_unlock(vault: Vault, unlock: Unlock) -> None:
    vault.unlock_methods.filter(kind=unlock.kind, stale_since=None).delete()
    _store_unlock(vault, unlock)


def _store_unlock(vault: Vault, unlock: Unlock) -> None:
    try:
        with transaction.atomic():
            UnlockMethod.objects.create(
                id=unlock.unlock_id,
                vault=vault,
                kind=unlock.kind,
                account_key_version=vault.account_key_version,
                kdf=unlock.kdf,
                kdf_input=unlock.kdf_input,
                envelope=at_rest.encrypt(settings.VAULT_AT_REST_KEYS, unlock.unlock_id.bytes, unlock.envelope.encode()),
            )
    except IntegrityError as error:
        raise AccountError("This unlock method was sent before. Reload the page and try again.") from error


def _set_auth_secret(user: User, auth_secret: str) -> None:
    user.set_password(auth_secret)
    user.save(update_fields=["password"])
