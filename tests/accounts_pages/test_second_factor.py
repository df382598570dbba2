"""The second factor: app, security keys, recovery codes; and what the database holds of them."""

import base64
import hashlib
import hmac
import json
import re
import struct
import time
from unittest.mock import patch

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import connection
from django.test import Client

from apps.accounts.mfa import AddWebAuthnForm
from cryptokit.at_rest import AtRestError
from cryptokit.encoding import b64u
from tests.accounts_pages.conftest import proven
from tests.cast import Member, Workspace

AUTH_SECRET = "as1." + b64u(bytes(32))


def totp(secret: str, at: float | None = None) -> str:
    """RFC 6238 with SHA-1, 6 digits, 30 seconds."""
    counter = int((time.time() if at is None else at) // 30)
    digest = hmac.new(base64.b32decode(secret), struct.pack(">Q", counter), hashlib.sha1).digest()
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


def set_up_app(client: Client) -> str:
    """Turns the app on; its secret."""
    page = client.get("/accounts/2fa/totp/activate/")
    secret: str = page.context["form"].secret
    answer = client.post("/accounts/2fa/totp/activate/", {"code": totp(secret)})
    if answer.status_code == 200:  # the code's half minute was over
        answer = client.post("/accounts/2fa/totp/activate/", {"code": totp(secret)})
    assert answer.headers["Location"] == "/accounts/2fa/recovery-codes/"
    return secret


def stored() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT data::text FROM mfa_authenticator")
        return "\n".join(row[0] for row in cursor.fetchall())


def test_a_secret_that_is_being_set_up_is_not_in_clear_either(browser: Client) -> None:
    secret = browser.get("/accounts/2fa/totp/activate/").context["form"].secret
    assert secret not in str(dict(browser.session.items()))
    wrong = f"{(int(totp(secret)) + 1) % 10**6:06}"
    again = browser.post("/accounts/2fa/totp/activate/", {"code": wrong})
    assert again.context["form"].secret == secret
    assert secret not in str(dict(browser.session.items()))


def test_the_secrets_are_not_in_clear_in_the_database(browser: Client, ada: Member) -> None:
    secret = set_up_app(browser)
    codes = re.findall(r"(?m)^\d{8}$", browser.get("/accounts/2fa/recovery-codes/download/").text)
    assert len(codes) == 10
    app = Authenticator.objects.get(user=ada.user, type=Authenticator.Type.TOTP)
    recovery = Authenticator.objects.get(user=ada.user, type=Authenticator.Type.RECOVERY_CODES)
    seed = get_adapter().decrypt(recovery.data["seed"])
    assert get_adapter().decrypt(app.data["secret"]) == secret
    for clear in (secret, base64.b64encode(secret.encode()).decode(), base64.b32decode(secret).hex(), seed, *codes):
        assert clear not in stored()
    # Nor does the session keep what setting up needed.
    assert secret not in json.dumps(dict(browser.session))


def test_a_secret_of_another_purpose_does_not_open() -> None:
    from cryptokit import at_rest
    from cryptokit.encoding import b64

    other = b64(at_rest.encrypt(settings.VAULT_AT_REST_KEYS, b"another purpose", b"JBSWY3DPEHPK3PXP"))
    with pytest.raises(AtRestError):
        get_adapter().decrypt(other)


def test_setting_up_asks_who_is_there(ada: Member) -> None:
    for path in ("totp/activate/", "webauthn/add/", "recovery-codes/generate/"):
        answer = ada.browser().get(f"/accounts/2fa/{path}")
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/accounts/reauthenticate/")
    assert Client().get("/accounts/2fa/").status_code == 302


def test_a_wrong_code_turns_nothing_on(browser: Client, ada: Member) -> None:
    secret = browser.get("/accounts/2fa/totp/activate/").context["form"].secret
    wrong = f"{(int(totp(secret)) + 1) % 10**6:06}"
    page = browser.post("/accounts/2fa/totp/activate/", {"code": wrong})
    assert "That didn&#x27;t match" in page.text
    assert not Authenticator.objects.filter(user=ada.user).exists()


def test_the_page_shows_a_code_to_scan_and_the_key_to_type(browser: Client) -> None:
    page = browser.get("/accounts/2fa/totp/activate/")
    picture = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', page.text)
    assert picture is not None
    svg = base64.b64decode(picture[1]).decode()
    assert "<svg" in svg
    assert 'fill="white"' in svg
    assert "any-llm%20platform" in page.context["totp_url"]
    assert f'data-copy-text="{page.context["form"].secret}"' in page.text


def sign_in(ada: Member) -> Client:
    ada.user.set_password(AUTH_SECRET)
    ada.user.save()
    client = Client(REMOTE_ADDR="192.0.2.7")
    client.post("/accounts/login/", {"login": ada.user.email, "password": AUTH_SECRET})
    return client


def test_signing_in_needs_the_code_and_takes_it_once(browser: Client, ada: Member) -> None:
    secret = set_up_app(browser)
    client = sign_in(ada)
    assert "_auth_user_id" not in client.session
    page = client.get("/accounts/2fa/authenticate/")
    assert "Code from your authenticator app" in page.text
    assert "data-webauthn" not in page.text
    assert client.get("/account/security/").status_code == 302
    code = totp(secret)
    answer = client.post("/accounts/2fa/authenticate/", {"code": code})
    assert answer.status_code == 302 or totp(secret) != code
    if answer.status_code == 302:
        assert client.get("/account/security/").status_code == 200
        again = sign_in(ada).post("/accounts/2fa/authenticate/", {"code": code})
        assert again.status_code == 200
        assert "That didn&#x27;t match" in again.text


def test_a_recovery_code_signs_in_once(browser: Client, ada: Member) -> None:
    set_up_app(browser)
    code = browser.get("/accounts/2fa/recovery-codes/").context["unused_codes"][0]
    client = sign_in(ada)
    assert client.post("/accounts/2fa/authenticate/", {"code": code}).status_code == 302
    assert client.get("/account/security/").context["codes_left"] == 9
    assert sign_in(ada).post("/accounts/2fa/authenticate/", {"code": code}).status_code == 200


def test_new_recovery_codes_end_the_old_ones(browser: Client, ada: Member) -> None:
    set_up_app(browser)
    old = browser.get("/accounts/2fa/recovery-codes/").context["unused_codes"]
    assert browser.post("/accounts/2fa/recovery-codes/generate/").status_code == 302
    new = browser.get("/accounts/2fa/recovery-codes/").context["unused_codes"]
    assert not set(old) & set(new)
    page = browser.get("/accounts/2fa/recovery-codes/download/")
    assert page["Content-Type"].startswith("text/plain")
    assert "attachment" in page["Content-Disposition"]
    assert all(code in page.text for code in new)


def test_codes_of_somebody_else_are_not_shown(browser: Client, charlie: Member) -> None:
    set_up_app(browser)
    stranger = proven(charlie)
    for path in ("recovery-codes/", "recovery-codes/download/", "totp/deactivate/"):
        assert stranger.get(f"/accounts/2fa/{path}").status_code == 404


def test_removing_the_app_removes_the_codes_with_it(browser: Client, ada: Member) -> None:
    set_up_app(browser)
    assert browser.post("/accounts/2fa/totp/deactivate/").status_code == 302
    assert not Authenticator.objects.filter(user=ada.user).exists()
    assert "Your password alone signs you in" in browser.get("/account/security/").text


def test_a_key_keeps_no_extension_output_but_its_properties(ada: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    form = AddWebAuthnForm(user=ada.user, data={})
    credential = {
        "id": "x",
        "clientExtensionResults": {"prf": {"results": {"first": "c2VjcmV0"}}, "credProps": {"rk": False}},
    }
    form.cleaned_data = {"credential": credential}
    monkeypatch.setattr("apps.accounts.mfa.RegistrationResponse.from_dict", dict)
    assert form.clean_credential() == {"id": "x", "clientExtensionResults": {"credProps": {"rk": False}}}


@pytest.mark.parametrize("credential", ["", "{}", "[]", "null", '{"id": 1}', '"text"', '{"id":"a","response":{}}'])
def test_what_is_no_credential_adds_no_key(browser: Client, ada: Member, credential: str) -> None:
    browser.get("/accounts/2fa/webauthn/add/")
    page = browser.post("/accounts/2fa/webauthn/add/", {"name": "Mine", "credential": credential})
    assert page.status_code == 200
    assert "could not be used" in page.text
    assert not Authenticator.objects.filter(user=ada.user).exists()


@pytest.mark.parametrize("credential", ["", "{}", "null", '{"id": 1}', '{"id":"a","rawId":"a","response":{}}'])
def test_what_is_no_credential_signs_nobody_in(ada: Member, credential: str) -> None:
    data = {"name": "Mine", "credential": {}}
    key = Authenticator.objects.create(user=ada.user, type="webauthn", data=data)
    client = sign_in(ada)
    with patch("allauth.mfa.webauthn.internal.auth.get_credentials", return_value=[]):
        page = client.post("/accounts/2fa/authenticate/", {"credential": credential})
    assert page.status_code == 200
    assert "isn’t one of yours" in page.text
    assert "_auth_user_id" not in client.session
    assert key.data == data


def test_keys_of_somebody_else_are_not_to_be_touched(browser: Client, ada: Member, charlie: Member) -> None:
    key = Authenticator.objects.create(user=ada.user, type="webauthn", data={"name": "Mine", "credential": {}})
    stranger = proven(charlie)
    for action in ("remove", "edit"):
        path = f"/accounts/2fa/webauthn/keys/{key.pk}/{action}/"
        assert stranger.get(path).status_code == 404
        assert stranger.post(path, {"name": "Theirs"}).status_code == 404
    key.refresh_from_db()
    assert key.data["name"] == "Mine"
    assert browser.post(f"/accounts/2fa/webauthn/keys/{key.pk}/edit/", {"name": "Desk"}).status_code == 302
    key.refresh_from_db()
    assert key.data["name"] == "Desk"


def test_an_address_can_be_changed_with_a_second_factor(
    browser: Client, ada: Member, mailoutbox: list[EmailMessage]
) -> None:
    set_up_app(browser)
    before = ada.user.email
    assert (
        '<button type="submit" class="button button-primary" name="action_add"' in browser.get("/accounts/email/").text
    )
    page = browser.post("/accounts/email/", {"action_add": "1", "email": f"New-{before}"}, follow=True)
    assert f"new-{before}" in page.text
    assert {"action_send", "action_remove"} <= set(re.findall(r'name="(action_\w+)"', page.text))
    ada.user.refresh_from_db()
    assert ada.user.email == before
    assert "change not confirmed" in browser.get("/account/security/").text
    link = re.search(r"https?://[^\s]+/accounts/confirm-email/[^\s]+", str(mailoutbox[-1].body))
    assert link is not None
    assert mailoutbox[-1].to == [f"new-{before}"]
    browser.post(link[0])
    ada.user.refresh_from_db()
    assert ada.user.email == f"new-{before}"
    assert list(EmailAddress.objects.filter(user=ada.user).values_list("email", "verified", "primary")) == [
        (f"new-{before}", True, True)
    ]


def test_an_organization_that_demands_it_leads_here(acme: Workspace, alice: Member) -> None:
    acme.organization.requires_second_factor = True
    acme.organization.save()
    page = alice.browser().get(acme.url("members/"))
    assert page.status_code == 403
    assert 'href="/accounts/2fa/"' in page.text
