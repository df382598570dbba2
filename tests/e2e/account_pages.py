"""A walk through every page of an account, in the states that people see them in."""

import secrets
from collections.abc import Iterator

from playwright.sync_api import expect

from tests.e2e.authenticators import code_of, plug_in_key, set_up_app
from tests.e2e.people import Person


def entrance(person: Person) -> Iterator[str]:
    """Names of the pages before signing in, each while she is there."""
    for name, path in [
        ("landing", "/"),
        ("sign-in", "/accounts/login/"),
        ("sign-up", "/accounts/signup/"),
        ("password-reset", "/accounts/password/reset/"),
        ("password-reset-link-dead", "/accounts/password/reset/key/1-none/"),
        ("confirm-email-link-dead", "/accounts/confirm-email/none/"),
        ("not-found", "/nowhere/"),
    ]:
        person.visit(path)
        yield name
    person.visit("/accounts/signup/")
    person.fill(e_mail="ada@example.com", password="too short")
    person.fill(organization="Analytical Engines")
    person.press("Create account")
    expect(person.page.locator("[aria-invalid=true]")).to_be_visible()
    yield "sign-up-refused"
    email = f"ada-{secrets.token_hex(3)}@example.com"
    person.sign_up(email, f"the engine weaves {secrets.token_hex(4)}", "Analytical Engines")
    yield "check-your-mail"
    mail = person.ground.mailbox.wait_for(email, "confirm")
    person.page.goto(mail.link("/accounts/confirm-email/"))
    yield "confirm-email"
    person.try_to_sign_in(password="not the right one")
    person.is_told("The e-mail or the password is wrong.")
    yield "sign-in-refused"


def account(person: Person) -> Iterator[str]:
    """Names of the pages behind signing in, each while she is there. Her vault is unlocked before and locked after."""
    plug_in_key(person)
    person.visit_sensitive("/accounts/2fa/")
    yield "second-factor-none"
    person.visit_sensitive("/accounts/2fa/totp/activate/")
    yield "app-set-up"
    secret = set_up_app(person)
    yield "recovery-codes"
    person.visit("/accounts/2fa/webauthn/add/")
    yield "key-add"
    person.fill(name="Desk key")
    person.press("Add the key")
    person.page.wait_for_url(lambda url: not url.endswith("/webauthn/add/"))
    for name, path in [
        ("second-factor", "/accounts/2fa/"),
        ("keys", "/accounts/2fa/webauthn/"),
        ("app-remove", "/accounts/2fa/totp/deactivate/"),
        ("recovery-codes-new", "/accounts/2fa/recovery-codes/generate/"),
        ("profile", "/account/"),
        ("security", "/account/security/"),
        ("unlock-methods", "/account/unlock/"),
        ("sessions", "/account/sessions/"),
        ("delete", "/account/delete/"),
        ("email", "/accounts/email/"),
        ("password-change", "/accounts/password/change/"),
        ("recovery-key", "/account/recovery-key/"),
        ("reauthenticate", "/accounts/reauthenticate/"),
        ("reauthenticate-code", "/accounts/2fa/reauthenticate/"),
        ("reauthenticate-key", "/accounts/2fa/webauthn/reauthenticate/"),
        ("sign-out", "/accounts/logout/"),
    ]:
        assert person.visit(path).ok, path
        yield name
    person.visit("/account/recovery-key/")
    person.page.locator("[data-step=start] button[type=submit]").first.click()
    expect(person.page.locator("[data-step=save]")).to_be_visible()
    yield "recovery-key-save"
    person.visit("/accounts/email/")
    person.fill(new_address=f"augusta-{secrets.token_hex(3)}@example.com")
    person.press("Change address")
    person.is_told("Open the link in the mail we sent there")
    yield "email-waiting"
    person.lock()
    person.page.locator("[data-vault-state=locked]").click()
    expect(person.page.get_by_role("dialog")).to_be_visible()
    yield "unlock-dialog"
    person.page.keyboard.press("Escape")
    person.sign_out()
    person.sign_in()
    person.sees("Second factor")
    yield "second-factor-asked"
    person.ground.forget_codes()
    person.fill(code_from_your_authenticator_app=code_of(secret))
    person.press("Sign in")
    person.sees_vault("unlocked")
    person.sign_out()
    person.page.goto(person.ask_for_reset())
    yield "password-reset-new"
    person.page.get_by_label("I don’t have it").check()
    yield "password-reset-lost"
