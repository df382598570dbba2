"""Accounts: what is stored of a sign-in secret and a vault, and what is refused."""

import dataclasses
import os
import uuid
from typing import Any

import pytest
from django.conf import settings as current
from django.contrib.auth.hashers import check_password, identify_hasher, make_password
from django.db import connection
from pytest_django import Settings

from apps.accounts.models import UnlockMethod, User
from apps.accounts.services import (
    AccountError,
    EmailTakenError,
    PasswordUnlock,
    VaultIdentity,
    create_account,
    prelogin_salt,
)
from config.env import KeyRing
from cryptokit import at_rest
from cryptokit.encoding import b64u
from devstack.browser import Account, PasswordKeys, unwrap, wrap

PASSWORD = "correct horse battery staple"


class SignUp:
    """A sign-up form as the browser sends it, to be sent with one thing changed."""

    def __init__(self, email: str) -> None:
        self.email = email
        self.account = Account.new()
        self.salt = prelogin_salt(email)
        self.keys = PasswordKeys.from_password(PASSWORD, self.salt)
        unlock_id = uuid.uuid4()
        self.context = self.account.unlock_context(unlock_id, "password", "a1", self.salt)
        self.fields: dict[str, Any] = {
            "email": email,
            "auth_secret": self.keys.auth_secret,
            "identity": VaultIdentity(
                vault_id=self.account.vault_id,
                account_key_version=1,
                x25519_public_key=self.account.x25519_public,
                ed25519_public_key=self.account.ed25519_public,
                signature=self.account.sign(self.account.identity),
            ),
            "unlock": PasswordUnlock(
                unlock_id=unlock_id,
                kdf="a1",
                salt=self.salt,
                envelope=wrap(self.keys.key_encryption_key, self.context, self.account.seed),
            ),
        }

    def send(self, **changes: Any) -> User:
        return create_account(**{**self.fields, **changes})


@pytest.fixture(scope="module")
def form() -> SignUp:
    return SignUp(f"Dora-{uuid.uuid4().hex[:8]}@Example.com ")


def test_a_new_account_can_sign_in_and_open_its_vault(db: None, form: SignUp) -> None:
    user = form.send()
    assert user.email == form.email.strip().lower()
    assert user.check_password(form.keys.auth_secret)
    assert not user.check_password(PASSWORD)
    method = UnlockMethod.objects.get(vault=user.vault)
    stored = at_rest.decrypt(current.VAULT_AT_REST_KEYS, method.id.bytes, method.envelope).decode()
    keys = PasswordKeys.from_password(PASSWORD, bytes(method.kdf_input))
    assert unwrap(keys.key_encryption_key, form.context, stored) == form.account.seed


def test_the_database_has_nothing_to_guess_a_password_against(db: None, form: SignUp) -> None:
    """Without the pepper and the at-rest key, neither column confirms a guess; with them it would."""
    user = form.send()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT u.password, m.envelope, m::text, v::text FROM accounts_user u JOIN accounts_vault v ON v.user_id = u.id "
            "JOIN accounts_unlockmethod m ON m.vault_id = v.id WHERE u.id = %s",
            [user.pk],
        )
        password, envelope, *rows = cursor.fetchone()
    everything = " ".join([password, *rows, bytes(envelope).hex()])
    for secret in (form.keys.auth_secret, form.account.seed.hex(), form.keys.key_encryption_key.hex(), PASSWORD):
        assert secret not in everything
    assert b"W1." not in bytes(envelope)
    other = KeyRing({current.VAULT_AT_REST_KEYS.current[0]: os.urandom(32)})
    unlock = form.fields["unlock"]
    with pytest.raises(at_rest.AtRestError):
        at_rest.decrypt(other, unlock.unlock_id.bytes, envelope)
    with pytest.raises(at_rest.AtRestError):
        at_rest.decrypt(current.VAULT_AT_REST_KEYS, uuid.uuid4().bytes, envelope)


def test_an_address_has_one_account_however_it_is_spelled(db: None, form: SignUp) -> None:
    form.send()
    count = User.objects.count()
    with pytest.raises(EmailTakenError):
        form.send(email=form.email.upper())
    assert User.objects.count() == count


@pytest.mark.parametrize(
    "secret", [PASSWORD, "", "as1.short", "as1." + "A" * 44, " as1." + "A" * 43, "as2." + "A" * 43]
)
def test_a_raw_password_is_refused_before_anything_looks_at_it(db: None, form: SignUp, secret: str) -> None:
    with pytest.raises(AccountError, match="never accepts passwords"):
        form.send(auth_secret=secret)
    assert not User.objects.filter(email=form.email.strip().lower()).exists()


def test_vaults_that_are_not_what_they_say_are_refused(db: None, form: SignUp) -> None:
    identity: VaultIdentity = form.fields["identity"]
    unlock: PasswordUnlock = form.fields["unlock"]
    wrong: list[dict[str, Any]] = [
        {"identity": dataclasses.replace(identity, vault_id=uuid.uuid4())},
        {"identity": dataclasses.replace(identity, account_key_version=2)},
        {"identity": dataclasses.replace(identity, x25519_public_key=Account.new().x25519_public)},
        {"identity": dataclasses.replace(identity, x25519_public_key=bytes(32))},
        {"identity": dataclasses.replace(identity, ed25519_public_key=Account.new().ed25519_public)},
        {"identity": dataclasses.replace(identity, signature=bytes(64))},
        {"unlock": dataclasses.replace(unlock, kdf="a0")},
        {"unlock": dataclasses.replace(unlock, salt=os.urandom(16))},
        {"unlock": dataclasses.replace(unlock, envelope=unlock.envelope[:-1])},
        {"unlock": dataclasses.replace(unlock, envelope="W1." + b64u(form.account.seed))},
    ]
    for change in wrong:
        with pytest.raises(AccountError):
            form.send(**change)
    assert not User.objects.filter(email=form.email.strip().lower()).exists()


def test_the_salt_of_an_address_does_not_tell_whether_it_has_an_account() -> None:
    assert prelogin_salt("a@example.com") == prelogin_salt(" A@Example.com")
    assert prelogin_salt("a@example.com") != prelogin_salt("b@example.com")
    assert len(prelogin_salt("a@example.com")) == 16


class TestHasher:
    def test_it_says_which_pepper_it_used_and_needs_it(self, settings: Settings) -> None:
        old, new = KeyRing({"p1": b"1" * 32}), KeyRing({"p2": b"2" * 32, "p1": b"1" * 32})
        settings.AUTH_PEPPERS = old
        encoded = make_password("as1.secret")
        assert encoded.startswith("argon2p$p1@argon2id$v=19$m=19456,t=2,p=1$")
        assert identify_hasher(encoded).safe_summary(encoded)["pepper"] == "p1"
        assert check_password("as1.secret", encoded)
        assert not check_password("as1.other", encoded)
        settings.AUTH_PEPPERS = new
        upgraded: list[str] = []
        assert check_password("as1.secret", encoded, setter=lambda raw: upgraded.append(make_password(raw)))
        assert upgraded[0].startswith("argon2p$p2@")
        settings.AUTH_PEPPERS = KeyRing({"p3": b"3" * 32})
        assert not check_password("as1.secret", encoded)
