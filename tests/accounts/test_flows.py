"""Signing up and in, changing and resetting a password: what a browser sends, and what becomes of it."""

import json
import logging
import os
import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.adapter import get_adapter
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.core import mail
from django.test import Client
from django.utils import timezone

from apps.accounts.models import UnlockMethod, User, Vault
from apps.accounts.services import STALE_DAYS
from apps.accounts.tasks import delete_stale_unlock_methods
from apps.organizations.models import Membership, Organization
from apps.vault.services import store_self_grant
from cryptokit.encoding import b64u, b64u_decode
from devstack.browser import Account, PasswordKeys, RecoveryKey, unwrap
from tenancy import tenant_scope
from tests.accounts.people import Visitor, browser, fake_keys, fresh_email, identity, recovery_method, wrapped
from tests.cast import Member, Workspace

PASSWORD = "correct horse battery staple"


@pytest.fixture
def dora(db: None) -> Visitor:
    return Visitor().arrive()


class TestSignUp:
    def test_it_makes_person_vault_and_organization(self, db: None) -> None:
        dora = Visitor().arrive()
        vault = dora.user.vault
        assert (vault.id, bytes(vault.ed25519_public_key)) == (dora.account.vault_id, dora.account.ed25519_public)
        membership = Membership.objects.get(user=dora.user)
        assert (membership.organization.name, membership.role) == ("Dora & Co", Membership.Role.OWNER)
        address = EmailAddress.objects.get(user=dora.user)
        assert (address.email, address.primary, address.verified) == (dora.email, True, True)

    def test_nobody_is_signed_in_before_the_address_is_confirmed(self, db: None) -> None:
        dora = Visitor()
        assert dora.sign_up()["Location"] == "/accounts/confirm-email/"
        assert not dora.is_signed_in
        assert dora.sign_in()["Location"] == "/accounts/confirm-email/"
        assert not dora.is_signed_in

    def test_all_of_it_or_nothing(self, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(**_: Any) -> None:
            raise RuntimeError("no schema to be had")

        monkeypatch.setattr("apps.onboarding.signup.create_organization", fail)
        dora = Visitor()
        assert dora.sign_up().status_code == 500
        assert not User.objects.filter(email=dora.email).exists()
        assert not Vault.objects.filter(id=dora.account.vault_id).exists()
        assert not EmailAddress.objects.filter(email=dora.email).exists()

    def test_an_organization_has_a_name(self, db: None) -> None:
        dora = Visitor()
        answer = dora.sign_up(organization=" ")
        assert answer.status_code == 200
        assert "This field is required." in answer.content.decode()
        assert not User.objects.filter(email=dora.email).exists()

    def test_who_is_invited_needs_none(self, db: None) -> None:
        dora = Visitor()
        session = dora.client.session
        session["invitation"] = "token-of-the-link"
        session.save()
        assert 'name="organization"' not in dora.client.get("/accounts/signup/").content.decode()
        form = dora.sign_up_form()
        del form["organization"]
        assert dora.client.post("/accounts/signup/", form).status_code == 302
        answer = dora.client.post(dora.follow_mail("/accounts/confirm-email/"))
        assert answer["Location"] == "/invitations/token-of-the-link/"
        assert not Membership.objects.filter(user=dora.user).exists()

    def test_a_second_time_changes_nothing_and_looks_the_same(self, db: None) -> None:
        dora = Visitor(email=Member.sign_up("dora").user.email)  # without a mail, of which an address gets few
        before = (
            User.objects.filter(email=dora.email).values().get(),
            Vault.objects.filter(user=dora.user).values().get(),
            UnlockMethod.objects.filter(vault__user=dora.user).values().get(),
            Organization.objects.count(),
        )
        again, first = Visitor(email=dora.email), Visitor()
        answers = [visitor.sign_up() for visitor in (again, first)]
        assert answers[0].status_code == answers[1].status_code == 302
        assert answers[0]["Location"] == answers[1]["Location"]
        pages = [visitor.client.get("/accounts/confirm-email/").content.decode() for visitor in (again, first)]
        plain = [
            re.sub(r'csrf-token" content="[^"]+', "", page.replace(visitor.email, "…"))
            for page, visitor in zip(pages, (again, first), strict=True)
        ]
        assert plain[0] == plain[1]
        assert (
            User.objects.filter(email=dora.email).values().get(),
            Vault.objects.filter(user=dora.user).values().get(),
            UnlockMethod.objects.filter(vault__user=dora.user).values().get(),
            Organization.objects.count() - 1,
        ) == before
        newest = [message for message in mail.outbox if message.to == [dora.email]][-1]
        assert newest.subject == "You have an account already"
        assert Visitor(email=dora.email, keys=again.keys).sign_in().status_code == 200

    def test_the_salt_is_the_one_that_prelogin_gave(self, db: None) -> None:
        """Else signing up would change what the address is answered."""
        dora = Visitor()
        password, _ = wrapped(dora.account, dora.keys, os.urandom(16))
        vault = {"type": "new", "identity": identity(dora.account), "password": password}
        assert dora.sign_up(vault=json.dumps(vault)).status_code == 422
        assert not User.objects.filter(email=dora.email).exists()

    @pytest.mark.parametrize("vault", ["", "{}", "[]", '{"type": "same"}', '{"type": "new", "password": 1}'])
    def test_a_vault_that_is_none_is_refused(self, db: None, vault: str) -> None:
        dora = Visitor()
        answer = dora.sign_up(vault=vault)
        assert answer.status_code == 200
        assert "Reload it and try again." in answer.content.decode()
        assert not User.objects.filter(email=dora.email).exists()


class TestSignIn:
    def test_with_what_the_browser_derives_from_the_password(self, db: None) -> None:
        """Through the derivation itself, from the salt that prelogin gives."""
        dora = Visitor()
        dora.keys = PasswordKeys.from_password(PASSWORD, b64u_decode(dora.prelogin()["salt"]))
        dora.arrive()
        elsewhere = Visitor(email=dora.email, account=dora.account)
        answer = elsewhere.prelogin()
        elsewhere.keys = PasswordKeys.from_password(PASSWORD, b64u_decode(answer["salt"]))
        assert elsewhere.sign_in().status_code == 302
        boot = elsewhere.bootstrap()
        assert boot["share"] == answer["share"]
        [method] = boot["unlock_methods"]
        context = dora.account.unlock_context(
            uuid.UUID(method["id"]), "password", "a1", b64u_decode(method["kdf_input"])
        )
        assert unwrap(elsewhere.keys.key_encryption_key, context, method["envelope"]) == dora.account.seed

    def test_a_second_factor_comes_before_anything_of_the_vault(self, dora: Visitor) -> None:
        Authenticator.objects.create(user=dora.user, type=Authenticator.Type.TOTP, data={"secret": "unused"})
        elsewhere = Visitor(email=dora.email, keys=dora.keys)
        share = elsewhere.prelogin()["share"]
        assert elsewhere.sign_in()["Location"] == "/accounts/2fa/authenticate/"
        assert not elsewhere.is_signed_in
        # The share waits, and with it the key in the browser: nobody types the password twice.
        assert elsewhere.client.session["vault_share"]["value"] == share

    def test_login_by_code_is_off(self, db: None) -> None:
        assert Client().get("/accounts/login/code/").status_code == 404


FORMS = ("login", "signup", "reauthenticate", "change", "set", "reset")


class TestRawPasswords:
    """A password that a form without its module sends, or a program: refused, not echoed, not logged, not stored."""

    def post(self, dora: Visitor, form: str, secret: str) -> Any:
        match form:
            case "login":
                return browser().post("/accounts/login/", {"login": dora.email, "password": secret})
            case "signup":
                return Visitor().sign_up(password1=secret)
            case "reauthenticate":
                return dora.client.post("/accounts/reauthenticate/", {"password": secret})
            case "change":
                changed = dora.change_form(fake_keys(), oldpassword=secret, password1=secret)
                return dora.client.post("/accounts/password/change/", changed)
            case "set":
                User.objects.filter(email=dora.email).update(password="!unusable")
                dora.client.force_login(dora.user, backend="allauth.account.auth_backends.AuthenticationBackend")
                return dora.client.post("/accounts/password/set/", {"password1": secret, "password2": secret})
            case _:
                client = browser()
                form_page = dora.reset_page(client)
                password, signature = wrapped(dora.account, fake_keys(), os.urandom(16))
                vault = json.dumps({"type": "same", "password": password, "signature": signature})
                return client.post(form_page, {"password1": secret, "password2": secret, "vault": vault})

    @pytest.mark.parametrize("form", FORMS)
    def test_it_goes_no_further(self, dora: Visitor, form: str, caplog: pytest.LogCaptureFixture) -> None:
        count, before = User.objects.count(), dora.methods()
        with caplog.at_level(logging.DEBUG):
            answer = self.post(dora, form, PASSWORD)
        assert answer.status_code == 200, answer.content
        assert "horse" not in answer.content.decode()
        assert "horse" not in caplog.text
        assert (User.objects.count(), dora.methods()) == (count, before)
        assert not dora.user.check_password(PASSWORD)

    @pytest.mark.parametrize(
        ("path", "signed_in"),
        [
            ("/accounts/login/", False),
            ("/accounts/signup/", False),
            ("/accounts/reauthenticate/", True),
            ("/accounts/password/change/", True),
        ],
    )
    def test_inputs_that_people_type_into_have_no_name(self, dora: Visitor, path: str, signed_in: bool) -> None:
        html = (dora.client if signed_in else browser()).get(path).content.decode()
        self.check_inputs(html)

    def test_nor_in_a_reset(self, dora: Visitor) -> None:
        client = browser()
        self.check_inputs(client.get(dora.reset_page(client)).content.decode())

    def check_inputs(self, html: str) -> None:
        typed = re.findall(r'<input[^>]*type="password"[^>]*>', html)
        assert typed
        assert not [tag for tag in typed if " name=" in tag]
        [submit] = re.findall(r'<button class="button button-primary"[^>]*>', html)
        assert " disabled" in submit
        hidden = re.findall(r'<input type="hidden" name="(?:\w*password\w*|vault)"[^>]*>', html)
        assert hidden
        assert not [tag for tag in hidden if "value=" in tag]
        assert "<noscript>" in html


class TestChange:
    def test_the_seed_stays_and_other_browsers_are_signed_out(self, dora: Visitor) -> None:
        elsewhere = Visitor(email=dora.email, keys=dora.keys)
        elsewhere.sign_in()
        assert elsewhere.is_signed_in
        keys = fake_keys()
        answer = dora.client.post("/accounts/password/change/", dora.change_form(keys))
        assert answer["Location"] == "/account/security/"
        assert dora.is_signed_in
        assert not elsewhere.is_signed_in
        assert dora.methods() == [("password", 1, False)]
        assert Visitor(email=dora.email, keys=dora.keys).sign_in().status_code == 200
        assert Visitor(email=dora.email, keys=keys).sign_in().status_code == 302
        [method] = dora.bootstrap()["unlock_methods"]
        context = dora.account.unlock_context(
            uuid.UUID(method["id"]), "password", "a1", b64u_decode(method["kdf_input"])
        )
        assert unwrap(keys.key_encryption_key, context, method["envelope"]) == dora.account.seed
        assert dora.prelogin()["salt"] == method["kdf_input"]
        assert mail.outbox[-1].subject == "Your password was changed"

    def test_not_without_the_old_password(self, dora: Visitor) -> None:
        form = dora.change_form(fake_keys(), oldpassword=fake_keys().auth_secret)
        answer = dora.client.post("/accounts/password/change/", form)
        assert "This is not your current password." in answer.content.decode()
        assert dora.user.check_password(dora.keys.auth_secret)

    def test_not_without_the_vaults_signature(self, dora: Visitor) -> None:
        before = UnlockMethod.objects.values().get(vault__user=dora.user)
        stranger = Account(dora.account.vault_id, os.urandom(32))
        keys = fake_keys()
        password, signature = wrapped(stranger, keys, os.urandom(16))
        own, _ = wrapped(dora.account, keys, os.urandom(16))
        for body, by in [(password, signature), (own, signature), (own, b64u(bytes(64))), (own, "")]:
            vault = json.dumps({"type": "same", "password": body, "signature": by})
            answer = dora.client.post("/accounts/password/change/", dora.change_form(keys, vault=vault))
            assert answer.status_code == 422
        assert UnlockMethod.objects.values().get(vault__user=dora.user) == before
        assert dora.user.check_password(dora.keys.auth_secret)
        assert dora.is_signed_in


class TestReset:
    def set_password(self, dora: Visitor, client: Client, vault: dict[str, Any], keys: PasswordKeys) -> Any:
        page = dora.reset_page(client)
        return client.post(page, {"password1": keys.auth_secret, "vault": json.dumps(vault)})

    def new_account(self, dora: Visitor, keys: PasswordKeys) -> tuple[Account, dict[str, Any]]:
        account = Account(dora.account.vault_id, os.urandom(32), dora.user.vault.account_key_version + 1)
        password, _ = wrapped(account, keys, os.urandom(16))
        return account, {"type": "new", "identity": identity(account), "password": password}

    def test_with_the_recovery_key_everything_stays(self, dora: Visitor) -> None:
        key = RecoveryKey()
        dora.call("unlock-methods", recovery_method(dora.account, key))
        elsewhere = Visitor(email=dora.email)
        page = dora.reset_page(elsewhere.client)
        data = dora.page_data(elsewhere.client.get(page).content.decode())
        assert (data["vault_id"], data["akv"], data["email"]) == (str(dora.account.vault_id), 1, dora.email)
        # What the browser does: the typed key opens the seed, which signs.
        typed = RecoveryKey.parse(key.text.lower())
        context = dora.account.unlock_context(uuid.UUID(data["recovery"]["id"]), "recovery", "rk1", b"")
        seed = unwrap(typed.key_encryption_key, context, data["recovery"]["envelope"])
        keys = fake_keys()
        password, signature = wrapped(Account(dora.account.vault_id, seed), keys, os.urandom(16))
        vault = {"type": "same", "password": password, "signature": signature}
        answer = elsewhere.client.post(page, {"password1": keys.auth_secret, "vault": json.dumps(vault)})
        assert answer.status_code == 302
        assert elsewhere.is_signed_in
        assert not dora.is_signed_in
        # The key was used, so another one has to be made.
        assert dora.methods() == [("password", 1, False)]
        assert elsewhere.bootstrap()["recovery"] == "missing"
        assert Vault.objects.get(user=dora.user).account_key_version == 1
        assert mail.outbox[-1].subject == "Your password was reset"

    def test_without_it_there_are_new_keys_and_the_old_ones_wait(self, dora: Visitor) -> None:
        dora.call("unlock-methods", recovery_method(dora.account, RecoveryKey()))
        dora.call("trust-store", {"seq": 1, "envelope": dora.account.trust_store(1, {})}, method="PUT")
        keys, elsewhere = fake_keys(), Visitor(email=dora.email)
        account, vault = self.new_account(dora, keys)
        assert self.set_password(dora, elsewhere.client, vault, keys).status_code == 302
        assert elsewhere.is_signed_in
        assert not dora.is_signed_in
        assert dora.methods() == [("password", 1, True), ("recovery", 1, True), ("password", 2, False)]
        boot = elsewhere.bootstrap()
        assert (boot["akv"], boot["ed25519_public_key"]) == (2, b64u(account.ed25519_public))
        assert (boot["recovery"], boot["trust_store"], boot["trust_store_seq"]) == ("missing", None, 0)
        assert Visitor(email=dora.email, keys=dora.keys).sign_in().status_code == 200
        # And once more: two generations of old ones.
        dora.account, again = account, fake_keys()
        _, vault = self.new_account(dora, again)
        assert self.set_password(dora, browser(), vault, again).status_code == 302
        assert [method for method in dora.methods() if not method[2]] == [("password", 3, False)]

    def test_a_seed_that_is_not_proven_is_never_kept(self, dora: Visitor) -> None:
        """Who signed up with somebody else's address must not know the keys of its owner."""
        keys = fake_keys()
        account, right = self.new_account(dora, keys)
        same = Account(dora.account.vault_id, dora.account.seed, 2)
        old, _ = wrapped(same, keys, os.urandom(16))
        unproven, _ = wrapped(dora.account, keys, os.urandom(16))
        elsewhere = Account(uuid.uuid4(), os.urandom(32), 2)
        early, late = (Account(dora.account.vault_id, os.urandom(32), number) for number in (1, 3))
        wrong: list[dict[str, Any]] = [
            {"type": "new", "identity": identity(same), "password": old},
            {"type": "same", "password": unproven, "signature": b64u(bytes(64))},
            {"type": "same", "password": unproven, "signature": wrapped(account, keys, os.urandom(16))[1]},
            {**right, "identity": identity(elsewhere)},
            {**right, "identity": identity(early)},
            {**right, "identity": identity(late)},
            {**right, "identity": {**right["identity"], "identity_signature": b64u(bytes(64))}},
            {**right, "password": {**right["password"], "kdf": "a0"}},
            {**right, "password": {**right["password"], "salt": b64u(b"short")}},
        ]
        client = browser()
        page = dora.reset_page(client)
        for vault in wrong:
            answer = client.post(page, {"password1": keys.auth_secret, "vault": json.dumps(vault)})
            assert answer.status_code == 422, vault
            assert dora.methods() == [("password", 1, False)]
            assert dora.user.check_password(dora.keys.auth_secret)

    def test_a_second_factor_is_asked_for_all_the_same(self, dora: Visitor) -> None:
        Authenticator.objects.create(user=dora.user, type=Authenticator.Type.TOTP, data={"secret": "unused"})
        keys, thief = fake_keys(), Visitor(email=dora.email)
        _, vault = self.new_account(dora, keys)
        assert self.set_password(dora, thief.client, vault, keys)["Location"] == "/accounts/2fa/authenticate/"
        assert not thief.is_signed_in

    def test_the_recovery_envelope_is_for_a_valid_link_only(self, dora: Visitor) -> None:
        dora.call("unlock-methods", recovery_method(dora.account, RecoveryKey()))
        client = browser()
        page = dora.reset_page(client)
        assert "page-data" in client.get(page).content.decode()
        stranger = browser().get(page).content.decode()
        assert "This link doesn’t work" in stranger
        assert "W1." not in stranger
        keys = fake_keys()
        _, vault = self.new_account(dora, keys)
        client.post(page, {"password1": keys.auth_secret, "vault": json.dumps(vault)})
        used = browser().get(dora.follow_mail("/accounts/password/reset/key/"))
        assert "This link doesn’t work" in used.content.decode()
        assert "W1." not in used.content.decode()

    def test_an_unknown_address_is_told_by_mail_only(self, db: None) -> None:
        email = fresh_email("nobody")
        assert (
            browser().post("/accounts/password/reset/", {"email": email})["Location"]
            == "/accounts/password/reset/done/"
        )
        assert (mail.outbox[-1].to, mail.outbox[-1].subject) == ([email], "You have no account here")

    def test_old_ways_to_unlock_are_kept_for_ninety_days(self, dora: Visitor) -> None:
        keys = fake_keys()
        _, vault = self.new_account(dora, keys)
        self.set_password(dora, browser(), vault, keys)
        stale = UnlockMethod.objects.filter(vault__user=dora.user).exclude(stale_since=None)
        stale.update(stale_since=timezone.now() - timedelta(days=STALE_DAYS, minutes=-1))
        assert delete_stale_unlock_methods() == 0
        stale.update(stale_since=timezone.now() - timedelta(days=STALE_DAYS, minutes=1))
        assert delete_stale_unlock_methods() == 1
        assert dora.methods() == [("password", 2, False)]


def test_a_recovery_key_that_turns_up_brings_grants_back(acme: Workspace) -> None:
    """What stands in the account page as "I found it": old grants are listed, opened with the old seed, and stored for
    the new one."""
    member = acme.join("ruth", Membership.Role.ADMIN)
    organization, project, key = acme.organization.id, acme.project.id, acme.key
    with tenant_scope(acme.organization):
        envelope = member.account.self_grant(organization, project, 1, key)
        store_self_grant(project=acme.project, generation=1, vault=member.user.vault, envelope=envelope)
    ruth = Visitor(email=member.user.email, account=member.account, client=member.browser())
    assert ruth.call("stale-grants", method="GET").json() == {"grants": []}

    keys = fake_keys()
    account = Account(member.account.vault_id, os.urandom(32), 2)
    password, _ = wrapped(account, keys, os.urandom(16))
    vault = json.dumps({"type": "new", "identity": identity(account), "password": password})
    ruth.client = browser()
    page = ruth.reset_page(ruth.client)
    assert ruth.client.post(page, {"password1": keys.auth_secret, "vault": vault}).status_code == 302

    [grant] = ruth.call("stale-grants", method="GET").json()["grants"]
    assert (grant["organization_id"], grant["project_id"]) == (str(organization), str(project))
    assert (grant["generation"], grant["akv"], b64u_decode(grant["public_key"])) == (1, 1, key.public)
    private = member.account.open_self_grant(organization, project, 1, key.public, grant["envelope"])
    assert private == key.private
    body = json.dumps({"generation": 1, "envelope": account.self_grant(organization, project, 1, key)})
    answer = ruth.client.post(
        acme.url(f"projects/{project}/grants/self"),
        body,
        content_type="application/json",
        headers={"Accept": "application/json"},
    )
    assert answer.status_code in {200, 204}, answer.content
    assert ruth.call("stale-grants", method="GET").json() == {"grants": []}


MAILS = (
    "email_confirmation",
    "email_confirmation_signup",
    "password_reset_key",
    "unknown_account",
    "account_already_exists",
    "password_changed",
    "password_reset",
    "password_set",
    "email_changed",
    "email_confirm",
    "email_deleted",
)


@pytest.mark.parametrize("name", MAILS)
def test_mails_are_short_and_say_the_same_in_text_and_html(name: str, rf: Any) -> None:
    class Site:
        domain = "keys.example.com"

    link = "https://keys.example.com/accounts/?a=1&b=<2>"
    context = {
        "current_site": Site,
        "request": rf.get("/"),
        "timestamp": timezone.now(),
        "ip": "2001:db8::1",
        "user_agent": "<Firefox> & friends",
        **dict.fromkeys(("activate_url", "password_reset_url", "signup_url"), link),
        "from_email": "old@example.com",
        "to_email": "new@example.com",
        "deleted_email": "old@example.com",
    }
    message = get_adapter().render_mail(f"account/email/{name}", "dora@example.com", context)
    assert message.to == ["dora@example.com"]
    assert 10 < len(message.subject) < 60
    assert 100 < len(message.body) < 800
    assert "{" not in message.body
    assert "&amp;" not in message.body
    [(html, kind)] = message.alternatives
    assert kind == "text/html"
    assert "<script" not in html
    if link in message.body:
        assert 'href="https://keys.example.com/accounts/?a=1&amp;b=&lt;2&gt;"' in html
    else:
        assert "&lt;Firefox&gt; &amp; friends" in html
