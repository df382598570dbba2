"""Accounts with a password, a recovery key, an authenticator app and a live session each, for tests/e2e/control.py, which
has the ground's settings. The second is stored as carelessly as could be, for the thief to show that he would notice."""

import os
import uuid

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.test import Client

from apps.accounts.models import UnlockMethod, User
from apps.accounts.services import PasswordUnlock, VaultIdentity, create_account, prelogin_salt
from cryptokit import at_rest
from devstack.browser import KDF, Account, PasswordKeys, RecoveryKey, wrap

RECOVERY_KDF = "rk1"


def victims() -> list[dict[str, str]]:
    return [_make("victim", careless=False), _make("careless", careless=True)]


def _make(name: str, *, careless: bool) -> dict[str, str]:
    email, password = f"{name}@example.com", f"the right guess {uuid.uuid4().hex}"
    account, recovery, salt = Account.new(), RecoveryKey(), prelogin_salt(email)
    keys = PasswordKeys.from_password(password, salt)
    password_id, recovery_id = uuid.uuid4(), uuid.uuid4()
    envelopes = {
        password_id: wrap(
            keys.key_encryption_key, account.unlock_context(password_id, "password", KDF, salt), account.seed
        ),
        recovery_id: wrap(
            recovery.key_encryption_key,
            account.unlock_context(recovery_id, "recovery", RECOVERY_KDF, b""),
            account.seed,
        ),
    }
    user = create_account(
        email=email,
        auth_secret=keys.auth_secret,
        identity=VaultIdentity(
            vault_id=account.vault_id,
            account_key_version=1,
            x25519_public_key=account.x25519_public,
            ed25519_public_key=account.ed25519_public,
            signature=account.sign(account.identity),
        ),
        unlock=PasswordUnlock(unlock_id=password_id, kdf=KDF, salt=salt, envelope=envelopes[password_id]),
    )
    UnlockMethod.objects.create(
        id=recovery_id,
        vault_id=account.vault_id,
        kind=UnlockMethod.Kind.RECOVERY,
        account_key_version=1,
        kdf=RECOVERY_KDF,
        kdf_input=b"",
        envelope=at_rest.encrypt(settings.VAULT_AT_REST_KEYS, recovery_id.bytes, envelopes[recovery_id].encode()),
    )
    totp_secret = generate_totp_secret()
    app = TOTP.activate(user, totp_secret).instance
    client = Client()
    client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[0])
    if careless:
        hasher = Argon2PasswordHasher()
        User.objects.filter(pk=user.pk).update(password=hasher.encode(keys.auth_secret, os.urandom(16).hex()))
        Authenticator.objects.filter(pk=app.pk).update(data={"secret": totp_secret})
        for unlock_id, envelope in envelopes.items():
            UnlockMethod.objects.filter(pk=unlock_id).update(envelope=envelope.encode())
    return {
        "email": email,
        "password": password,
        "recovery_key": recovery.text,
        "seed": account.seed.hex(),
        "totp_secret": totp_secret,
        "cookie": client.cookies[settings.SESSION_COOKIE_NAME].value,
    }
