"""A thief with a dump of the database and a guess at a password, which is right. He has our source code, and so he
imports it; what he lacks are the keys that only the application holds."""

import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from config.env import KeyRing
from cryptokit import at_rest
from cryptokit.encoding import b64_decode, b64u_decode, ctx
from devstack.browser import Account, PasswordKeys, RecoveryKey, WrapError, unwrap
from tests.e2e.leaks import Canary, Haystack, Scanner

Row = dict[str, str]
# What the secrets of second factors are bound to at rest.
MFA_PURPOSE = ctx("mfa-secret")

_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def rows(dump: str, table: str) -> list[Row]:
    """A table of pg_dump's output, NULLs left out; an empty list when it is not in it."""
    found = re.search(rf"^COPY {re.escape(table)} \((.*?)\) FROM stdin;\n(.*?)^\\\.$", dump, re.MULTILINE | re.DOTALL)
    if found is None:
        return []
    columns = [column.strip('"') for column in found[1].split(", ")]
    return [
        {
            column: re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), value)
            for column, value in zip(columns, line.split("\t"), strict=True)
            if value != r"\N"
        }
        for line in found[2].splitlines()
    ]


def as_bytes(value: str) -> bytes:
    """A column of bytes, as a dump has it."""
    return bytes.fromhex(value.removeprefix("\\x"))


@dataclass(frozen=True)
class Secrets:
    """What the application holds and the database does not."""

    peppers: KeyRing
    at_rest_keys: KeyRing


class Thief:
    def __init__(self, dump: str, secrets: Secrets | None = None) -> None:
        self._dump = dump
        self._secrets = secrets

    def confirm_password(self, email: str, password: str) -> list[str]:
        """Everything that tells him that this password is the right one; each costs him one derivation a guess."""
        ways = []
        for user, method in self._unlock_methods(email, {"password", "passphrase"}):
            keys = PasswordKeys.from_password(password, as_bytes(method["kdf_input"]))
            if self._is_hash_of(user["password"], [keys.auth_secret, password]):
                ways.append("the password column")
            if self._opens(method, keys.key_encryption_key):
                ways.append(f"the unlock method {method['kind']}")
            secrets: dict[str, bytes | str] = {
                "the password": password,
                "the sign-in secret": keys.auth_secret,
                "the sign-in secret's bytes": b64u_decode(keys.auth_secret.removeprefix("as1.")),
                "the wrapping key": keys.key_encryption_key,
            }
            ways += self._stands_there(secrets)
        return ways

    def confirm_recovery_key(self, email: str, text: str) -> list[str]:
        key = RecoveryKey.parse(text)
        ways = self._stands_there({"the recovery key": text, "the recovery key's bytes": key.secret})
        for _, method in self._unlock_methods(email, {"recovery"}):
            if self._opens(method, key.key_encryption_key):
                ways.append("the unlock method recovery")
        return ways

    def seed(self, email: str, password: str) -> bytes | None:
        """The account seed, from which all else that a person holds derives; None when nothing opens."""
        for _, method in self._unlock_methods(email, {"password", "passphrase"}):
            keys = PasswordKeys.from_password(password, as_bytes(method["kdf_input"]))
            if seed := self._opens(method, keys.key_encryption_key):
                return seed
        return None

    def authenticator_apps(self, email: str) -> list[str]:
        """What he would have to type into an app of his own to get the codes of hers."""
        found = []
        for row in rows(self._dump, "public.mfa_authenticator"):
            if row["user_id"] != self._user(email)["id"] or row["type"] != "totp":
                continue
            stored = json.loads(row["data"])["secret"]
            if re.fullmatch("[A-Z2-7]{16,}", stored):
                found.append(stored)
            elif self._secrets:
                found.append(at_rest.decrypt(self._secrets.at_rest_keys, MFA_PURPOSE, b64_decode(stored)).decode())
        return found

    def _user(self, email: str) -> Row:
        [user] = [row for row in rows(self._dump, "public.accounts_user") if row["email"] == email]
        return user

    def _unlock_methods(self, email: str, kinds: set[str]) -> Iterator[tuple[Row, Row]]:
        user = self._user(email)
        vaults = [row["id"] for row in rows(self._dump, "public.accounts_vault") if row["user_id"] == user["id"]]
        for method in rows(self._dump, "public.accounts_unlockmethod"):
            if method["vault_id"] in vaults and method["kind"] in kinds:
                yield user, method

    def _is_hash_of(self, encoded: str, guesses: list[str]) -> bool:
        """Whether one of these is behind a value of the password column."""
        _, _, rest = encoded.partition("$")
        pepper_id, _, inner = rest.rpartition("@")
        pepper = self._secrets.peppers.get(pepper_id) if self._secrets else b""
        digests = [hmac.new(pepper or b"", guess.encode(), hashlib.sha256).hexdigest() for guess in guesses]
        return any(_is_argon2_of(f"${inner}", guess) for guess in [*guesses, *digests])

    def _opens(self, method: Row, key: bytes) -> bytes | None:
        """What is in the method's envelope; None when it does not open."""
        account = Account(uuid.UUID(method["vault_id"]), bytes(32), int(method["account_key_version"]))
        unlock_id = uuid.UUID(method["id"])
        context = account.unlock_context(unlock_id, method["kind"], method["kdf"], as_bytes(method["kdf_input"]))
        for envelope in self._envelopes(unlock_id, as_bytes(method["envelope"])):
            try:
                return unwrap(key, context, envelope.decode("latin-1"))
            except WrapError:
                continue
        return None

    def _envelopes(self, unlock_id: uuid.UUID, stored: bytes) -> Iterator[bytes]:
        """What may be the envelope: the column as it is, anything in it that looks like one, and what the
        application's key makes of it."""
        yield stored
        yield from re.findall(rb"W1\.[A-Za-z0-9_-]+", stored)
        if self._secrets:
            try:
                yield at_rest.decrypt(self._secrets.at_rest_keys, unlock_id.bytes, stored)
            except at_rest.AtRestError:
                return

    def _stands_there(self, secrets: dict[str, bytes | str]) -> list[str]:
        """Those of these, or their plain digests, that are anywhere in the dump in any form."""
        canaries = []
        for name, value in secrets.items():
            raw = value.encode() if isinstance(value, str) else value
            canaries.append(Canary(name, value))
            canaries += [
                Canary(f"{name}'s {digest}", hashlib.new(digest, raw).digest()) for digest in ("md5", "sha256")
            ]
        leaks = Scanner(canaries).scan([Haystack("dump", "pg_dump", self._dump.encode())])
        return [str(leak) for leak in leaks]


def _is_argon2_of(encoded: str, guess: str) -> bool:
    try:
        return PasswordHasher().verify(encoded, guess)
    except (VerificationError, InvalidHashError):
        return False
