"""What a person's browser makes of a password, found out from the outside: with the application's keys, and all of it
kept as canaries. None of it may be anywhere but in the browser's memory."""

import unicodedata
import uuid
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from argon2.low_level import Type, hash_secret_raw

from cryptokit import at_rest
from cryptokit.encoding import b64u, b64u_decode
from devstack.browser import KDF_LANES, KDF_MEMORY_KIB, KDF_PASSES, Account, PasswordKeys, RecoveryKey, derive, unwrap
from tests.e2e.leaks import Canaries

if TYPE_CHECKING:
    from tests.e2e.ground import Ground

# Where the sign-in secret may be: it is sent. That it is in bodies alone is looked at by people.Recorder.
SENT = frozenset({"sent"})


@dataclass(frozen=True, repr=False)
class Keys:
    """Of one password and one version of an account."""

    master: bytes
    password: PasswordKeys
    account: Account

    def add_to(self, canaries: Canaries, name: str) -> None:
        secret = self.password.auth_secret
        canaries.add(f"sign-in secret of {name}", secret, allowed=SENT)
        canaries.add(f"sign-in secret's bytes of {name}", b64u_decode(secret.removeprefix("as1.")), allowed=SENT)
        canaries.add(f"master key of {name}", self.master)
        canaries.add(f"wrapping key of {name}", self.password.key_encryption_key)
        canaries.add(f"seed of {name}", self.account.seed)
        for label in ("account/x25519", "account/ed25519", "account/symmetric"):
            canaries.add(f"{label} of {name}", derive(self.account.seed, label))


def keys_of(ground: "Ground", email: str, password: str) -> Keys:
    """The current ones; WrapError when it is not the password."""
    vault, unlock_id, kdf, salt, stored = method_of(ground, email, "password")
    text = unicodedata.normalize("NFKC", password).encode()
    master = _master(text, salt)
    keys = PasswordKeys("as1." + b64u(derive(master, "auth")), derive(master, "kek/password"))
    envelope = at_rest.decrypt(ground.key_ring("VAULT_AT_REST_KEYS"), unlock_id.bytes, stored).decode()
    context = vault.unlock_context(unlock_id, "password", kdf, salt)
    account = Account(vault.vault_id, unwrap(keys.key_encryption_key, context, envelope), vault.account_key_version)
    return Keys(master, keys, account)


@cache
def _master(text: bytes, salt: bytes) -> bytes:
    """Once for each password: on purpose it takes as long as in the browser."""
    return hash_secret_raw(text, salt, KDF_PASSES, KDF_MEMORY_KIB, KDF_LANES, 32, Type.ID)


def method_of(ground: "Ground", email: str, kind: str) -> tuple[Account, uuid.UUID, str, bytes, bytes]:
    """(the vault without its seed, id, derivation, its input, what is stored) of a person's current unlock method."""
    [row] = ground.query(
        "SELECT v.id, v.account_key_version, m.id, m.kdf, m.kdf_input, m.envelope FROM accounts_unlockmethod m"
        " JOIN accounts_vault v ON v.id = m.vault_id JOIN accounts_user u ON u.id = v.user_id"
        " WHERE u.email = %s AND m.kind = %s AND m.stale_since IS NULL",
        [email, kind],
    )
    vault_id, version, unlock_id, kdf, kdf_input, envelope = row
    return Account(vault_id, bytes(32), version), unlock_id, kdf, bytes(kdf_input), bytes(envelope)


def add_recovery_key(canaries: Canaries, name: str, text: str) -> None:
    """As it was shown, as it may be typed, and what it is."""
    key = RecoveryKey.parse(text)
    canaries.add(f"recovery key of {name}", text)
    canaries.add(f"recovery key of {name}, without hyphens", text.replace("-", ""))
    canaries.add(f"recovery key of {name}, in small letters", text.lower())
    canaries.add(f"recovery key's bytes of {name}", key.secret)
    canaries.add(f"wrapping key of {name}'s recovery key", key.key_encryption_key)


def fingerprint_of(ground: "Ground", email: str) -> tuple[Any, ...]:
    """What others know somebody by: vault, version, both public keys."""
    [row] = ground.query(
        "SELECT v.id, v.account_key_version, v.x25519_public_key, v.ed25519_public_key FROM accounts_vault v"
        " JOIN accounts_user u ON u.id = v.user_id WHERE u.email = %s",
        [email],
    )
    return row
