"""What changes accounts."""

import hashlib
import hmac
import re
import uuid
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.utils import IntegrityError

from apps.accounts.models import UnlockMethod, User, Vault, canonical_email
from cryptokit import at_rest, statements
from cryptokit.encoding import b64, ctx
from cryptokit.envelopes import WRAPPED_KEY
from cryptokit.public_keys import InvalidPublicKeyError, admit_public_key
from web.errors import DomainError

AUTH_SECRET = re.compile(r"as1\.[A-Za-z0-9_-]{43}")
KDF_VERSIONS = frozenset({"a1"})


class AccountError(DomainError):
    status = 422
    code = "invalid_account"


class EmailTakenError(DomainError):
    status = 409
    code = "email_taken"


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


def prelogin_salt(email: str) -> bytes:
    """The 16-byte salt that an address without an account is given, and that its sign-up must use.

    It depends on the address and on nothing stored, so asking does not tell whether there is an account.
    """
    _, secret = settings.PRELOGIN_KEYS.current
    return hmac.new(secret, ctx("prelogin-salt", canonical_email(email)), hashlib.sha256).digest()[:16]


@transaction.atomic
def create_account(
    *, email: str, auth_secret: str, identity: VaultIdentity, unlock: PasswordUnlock, name: str = ""
) -> User:
    """A person with a vault and one way to open it, all of it made in their browser.

    Raises AccountError where a part is not what the protocol says (a raw password among them: it is refused
    before anything looks at it), EmailTakenError where the address has an account.
    """
    check_auth_secret(auth_secret)
    check_identity(identity)
    if (
        unlock.kdf not in KDF_VERSIONS
        or unlock.salt != prelogin_salt(email)
        or not WRAPPED_KEY.fullmatch(unlock.envelope)
    ):
        raise AccountError("The password unlock method is malformed. Reload the page and try again.")
    try:
        with transaction.atomic():
            user = User.objects.create_user(canonical_email(email), auth_secret, name=name)
    except IntegrityError as error:
        raise EmailTakenError("This address has an account. Sign in instead.") from error
    vault = Vault.objects.create(
        id=identity.vault_id,
        user=user,
        account_key_version=identity.account_key_version,
        x25519_public_key=identity.x25519_public_key,
        ed25519_public_key=identity.ed25519_public_key,
        identity_signature=identity.signature,
    )
    UnlockMethod.objects.create(
        id=unlock.unlock_id,
        vault=vault,
        kind=UnlockMethod.Kind.PASSWORD,
        account_key_version=identity.account_key_version,
        kdf=unlock.kdf,
        kdf_input=unlock.salt,
        envelope=at_rest.encrypt(settings.VAULT_AT_REST_KEYS, unlock.unlock_id.bytes, unlock.envelope.encode()),
    )
    return user


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
