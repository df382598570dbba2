"""Somebody with a browser: Django's test client, and what their pages' modules compute (devstack.browser)."""

import json
import os
import re
import uuid
from dataclasses import dataclass, field
from typing import Any

from django.core import mail
from django.test import Client

from apps.accounts.models import UnlockMethod, User
from cryptokit import statements
from cryptokit.encoding import b64u, b64u_decode
from devstack.browser import Account, PasswordKeys, RecoveryKey, wrap

JSON = {"Accept": "application/json"}


def fresh_email(name: str = "dora") -> str:
    return f"{name}-{uuid.uuid4().hex[:12]}@example.com"


def browser() -> Client:
    """At an address of its own: failures and requests are counted by address, across all tests."""
    return Client(raise_request_exception=False, REMOTE_ADDR=f"2001:db8:{os.urandom(4).hex(':', 2)}::1")


def fake_keys() -> PasswordKeys:
    """Of a password that nobody needs: deriving from one takes a quarter of a second on purpose."""
    return PasswordKeys("as1." + b64u(os.urandom(32)), os.urandom(32))


def wrapped(account: Account, keys: PasswordKeys, salt: bytes) -> tuple[dict[str, Any], str]:
    """The seed for a password as the server takes it, and the signature of the update."""
    unlock_id = uuid.uuid4()
    envelope = wrap(keys.key_encryption_key, account.unlock_context(unlock_id, "password", "a1", salt), account.seed)
    update = statements.unlock_update(account.vault_id, account.account_key_version, unlock_id, "password", envelope)
    body = {"id": str(unlock_id), "kdf": "a1", "salt": b64u(salt), "envelope": envelope}
    return body, b64u(account.sign(update))


def identity(account: Account) -> dict[str, Any]:
    return {
        "vault_id": str(account.vault_id),
        "akv": account.account_key_version,
        "x25519_public_key": b64u(account.x25519_public),
        "ed25519_public_key": b64u(account.ed25519_public),
        "identity_signature": b64u(account.sign(account.identity)),
    }


def recovery_method(account: Account, key: RecoveryKey) -> dict[str, Any]:
    """What POST /vault/unlock-methods takes for a recovery key."""
    unlock_id = uuid.uuid4()
    envelope = wrap(key.key_encryption_key, account.unlock_context(unlock_id, "recovery", "rk1", b""), account.seed)
    update = statements.unlock_update(account.vault_id, account.account_key_version, unlock_id, "recovery", envelope)
    return {
        "id": str(unlock_id),
        "kind": "recovery",
        "kdf": "rk1",
        "kdf_input": "",
        "envelope": envelope,
        "signature": b64u(account.sign(update)),
    }


@dataclass
class Visitor:
    """Signs up, signs in, and has pages. `keys` are those of the current password."""

    email: str = field(default_factory=fresh_email)
    account: Account = field(default_factory=Account.new)
    keys: PasswordKeys = field(default_factory=fake_keys)
    client: Client = field(default_factory=browser)

    def call(self, path: str, body: Any = None, *, method: str = "POST") -> Any:
        """A call of a page's module, below /vault/."""
        return self.client.generic(
            method, f"/vault/{path}", json.dumps(body), content_type="application/json", headers=JSON
        )

    def prelogin(self) -> dict[str, str]:
        answer = self.call("prelogin", {"email": self.email})
        assert answer.status_code == 200, answer.content
        found: dict[str, str] = answer.json()
        return found

    def bootstrap(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/vault/bootstrap", headers=JSON).json()
        return found

    def sign_up_form(self, **changes: Any) -> dict[str, Any]:
        password, _ = wrapped(self.account, self.keys, b64u_decode(self.prelogin()["salt"]))
        return {
            "email": self.email,
            "organization": "Dora & Co",
            "password1": self.keys.auth_secret,
            "vault": json.dumps({"type": "new", "identity": identity(self.account), "password": password}),
            **changes,
        }

    def sign_up(self, **changes: Any) -> Any:
        return self.client.post("/accounts/signup/", self.sign_up_form(**changes))

    def follow_mail(self, path: str) -> str:
        """The path of the newest link like `path` that was mailed to them."""
        ours = [message for message in mail.outbox if message.to == [self.email]]
        found = [re.findall(rf"http://[^/]+({path}\S+)", str(message.body)) for message in reversed(ours)]
        return str(next(links[0] for links in found if links))

    def arrive(self, **changes: Any) -> "Visitor":
        """Signed up, address confirmed, signed in."""
        answer = self.sign_up(**changes)
        assert (answer.status_code, answer["Location"]) == (302, "/accounts/confirm-email/"), answer.content
        answer = self.client.post(self.follow_mail("/accounts/confirm-email/"))
        assert answer.status_code == 302
        assert self.client.session.get("_auth_user_id") == str(self.user.pk)
        return self

    def sign_in(self, client: Client | None = None, secret: str | None = None) -> Any:
        form = {"login": self.email, "password": secret or self.keys.auth_secret}
        return (client or self.client).post("/accounts/login/", form)

    @property
    def user(self) -> User:
        return User.objects.select_related("vault").get(email=self.email)

    @property
    def is_signed_in(self) -> bool:
        return bool(self.client.get("/vault/bootstrap", headers=JSON).status_code == 200)

    def methods(self) -> list[tuple[str, int, bool]]:
        """(kind, account key version, whether stale) of every unlock method."""
        rows = UnlockMethod.objects.filter(vault__user__email=self.email).order_by("account_key_version", "kind")
        return [(row.kind, row.account_key_version, row.stale_since is not None) for row in rows]

    def change_form(self, keys: PasswordKeys, **changes: Any) -> dict[str, Any]:
        password, signature = wrapped(self.account, keys, os.urandom(16))
        return {
            "oldpassword": self.keys.auth_secret,
            "password1": keys.auth_secret,
            "vault": json.dumps({"type": "same", "password": password, "signature": signature}),
            **changes,
        }

    def reset_page(self, client: Client) -> str:
        """Asks for a reset and opens its link: the path of the page with the form."""
        client.post("/accounts/password/reset/", {"email": self.email})
        answer = client.get(self.follow_mail("/accounts/password/reset/key/"))
        assert answer.status_code == 302
        return str(answer["Location"])

    def page_data(self, html: str) -> dict[str, Any]:
        """What a page gives to its module."""
        match = re.search(r'<script id="page-data" type="application/json">(.*?)</script>', html)
        assert match is not None
        found: dict[str, Any] = json.loads(match[1])
        return found
