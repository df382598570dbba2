"""What is read of accounts."""

from typing import Literal

from django.conf import settings
from django.db.models import Q

from apps.accounts.models import UnlockMethod, User, Vault, canonical_email
from apps.accounts.services import CURRENT_KDF, prelogin_salt
from cryptokit import at_rest
from cryptokit.encoding import b64u

RecoveryStatus = Literal["set", "declined", "missing"]


def prelogin(email: str) -> tuple[str, bytes]:
    """(derivation, salt of 16 bytes) for whoever signs in with this address, the same whether it has an account.

    A changed password has another salt, which is all that this tells. An address that somebody only asked to move to
    is not theirs yet.
    """
    email = canonical_email(email)
    fallback = CURRENT_KDF, prelogin_salt(email)
    found = (
        UnlockMethod.objects.filter(
            Q(vault__user__emailaddress__verified=True) | Q(vault__user__emailaddress__primary=True),
            vault__user__emailaddress__email=email,
            kind=UnlockMethod.Kind.PASSWORD,
            stale_since=None,
        )
        .order_by("-vault__user__emailaddress__verified")
        .values_list("kdf", "kdf_input")
        .first()
    )
    return (found[0], bytes(found[1])) if found else fallback


def envelope_of(method: UnlockMethod) -> str:
    """The wrapped seed as the browser sent it."""
    return at_rest.decrypt(settings.VAULT_AT_REST_KEYS, method.id.bytes, method.envelope).decode()


def describe(method: UnlockMethod) -> dict[str, object]:
    """An unlock method as pages get it."""
    return {
        "id": method.id,
        "kind": method.kind,
        "akv": method.account_key_version,
        "kdf": method.kdf,
        "kdf_input": b64u(bytes(method.kdf_input)),
        "envelope": envelope_of(method),
        "created_at": method.created_at,
        "stale_since": method.stale_since,
    }


def unlock_methods(vault: Vault) -> list[UnlockMethod]:
    """All of them, current ones first, stale ones included."""
    return list(vault.unlock_methods.order_by("-account_key_version", "created_at"))


def current_method(user: User, kind: UnlockMethod.Kind) -> UnlockMethod | None:
    return UnlockMethod.objects.filter(vault__user=user, kind=kind, stale_since=None).first()


def recovery_status(vault: Vault) -> RecoveryStatus:
    """Whether the vault has a recovery key; "missing" until its owner makes one or declines."""
    if vault.unlock_methods.filter(kind=UnlockMethod.Kind.RECOVERY, stale_since=None).exists():
        return "set"
    return "declined" if vault.recovery_declined_at else "missing"


def is_vault_ready(vault: Vault) -> bool:
    """Whether the vault has a second way in, or its owner decided against one."""
    return recovery_status(vault) != "missing"
