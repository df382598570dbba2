"""A second factor behind the password, which is typed once all the same: the vault is open afterwards."""

import re
import secrets

from playwright.sync_api import expect

from tests.e2e.authenticators import code_of, plug_in_key, set_up_app, totp, type_code
from tests.e2e.ground import Ground
from tests.e2e.people import People, Person


def asked_for_nothing_more(person: Person) -> None:
    person.sees_vault("unlocked")
    expect(person.page.get_by_role("dialog")).to_have_count(0)


def test_the_codes_are_those_of_the_standard() -> None:
    """RFC 6238, appendix B, cut to six digits."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert [totp(secret, at) for at in (59, 1111111109, 20000000000)] == ["287082", "081804", "353130"]


def test_an_authenticator_app_and_its_recovery_codes(people: People, ground: Ground) -> None:
    dora = people.signed_in("dora")
    secret = set_up_app(dora)
    codes = dora.page.locator("main ul.font-mono li").all_inner_texts()
    assert len(codes) == len(set(codes)) == 10
    with dora.page.expect_download() as downloading:
        dora.page.get_by_role("link", name="Download").click()
    downloaded = downloading.value.path().read_text()
    assert all(code in downloaded for code in codes)
    dora.sign_out()

    dora.sign_in()
    dora.sees("Second factor")
    # The password alone leads nowhere else, and opens nothing.
    assert dora.visit("/account/security/").url.endswith("/accounts/2fa/authenticate/")
    assert not dora.is_signed_in()
    dora.fill(code_from_your_authenticator_app="000000")
    dora.press("Sign in")
    expect(dora.page.get_by_text("That didn't match.")).to_be_visible()
    type_code(dora, secret)
    asked_for_nothing_more(dora)
    dora.sign_out()

    for accepted in (True, False):
        dora.sign_in()
        dora.fill(code_from_your_authenticator_app=codes[0])
        dora.press("Sign in")
        if accepted:
            asked_for_nothing_more(dora)
            dora.visit("/account/security/")
            expect(dora.page.get_by_text("9 recovery codes left")).to_be_visible()
            dora.sign_out()
    expect(dora.page.get_by_text("That didn't match.")).to_be_visible()
    assert not dora.is_signed_in()


def test_a_security_key_and_its_secret_output(people: People, ground: Ground) -> None:
    dora = people.resident("dora")
    outputs = plug_in_key(dora)
    dora.sign_in()
    dora.sees_vault("unlocked")
    dora.visit_sensitive("/accounts/2fa/webauthn/add/")
    dora.fill(name="Desk key")
    dora.press("Add the key")
    dora.sees("Recovery codes")
    dora.visit("/accounts/2fa/webauthn/add/")
    dora.press("Add the key")
    expect(dora.page.get_by_role("alert")).to_have_text("This key is one of yours already.")

    dora.sign_out()
    dora.sign_in()
    dora.sees("Second factor")
    dora.press("Use a security key")
    dora.page.wait_for_url(lambda url: "/2fa/" not in url)
    asked_for_nothing_more(dora)
    dora.visit("/accounts/2fa/webauthn/")
    expect(dora.page.get_by_role("row", name=re.compile("Desk key"))).not_to_contain_text("never")

    # The key did give its output to the page, and the page kept it to itself.
    assert outputs
    posted = [
        (exchange.path, exchange.body)
        for exchange in dora.recorder.exchanges
        if b"clientDataJSON" in (exchange.body or b"")
    ]
    assert [path for path, _ in posted] == ["/accounts/2fa/webauthn/add/", "/accounts/2fa/authenticate/"]
    assert not [path for path, body in posted if body and b"prf" in body.lower()]


def test_a_reset_asks_for_the_second_factor(people: People) -> None:
    """Who reads somebody's mail is not signed in."""
    dora = people.signed_in("dora")
    secret = set_up_app(dora)
    dora.sign_out()
    dora.reset_password(f"wieder eins, {secrets.token_hex(6)}", recovery_key=dora.recovery_key)
    dora.sees("Second factor")
    assert not dora.is_signed_in()
    type_code(dora, secret)
    asked_for_nothing_more(dora)
    dora.remember_keys()


def test_after_a_while_it_has_to_be_them_again(people: People, ground: Ground) -> None:
    dora = people.signed_in("dora")
    secret = set_up_app(dora)

    def an_hour_passes() -> None:
        data = dora.session.data
        for record in data["account_authentication_methods"]:
            record["at"] -= 3600
        dora.session.store(data)

    an_hour_passes()
    dora.visit("/accounts/2fa/totp/deactivate/")
    dora.sees("Confirm that it’s you")
    dora.visit("/accounts/2fa/reauthenticate/?next=/accounts/2fa/totp/deactivate/")
    ground.forget_codes()
    dora.fill(code_from_your_authenticator_app=code_of(secret))
    dora.press("Continue")
    dora.sees("Remove the authenticator app")

    an_hour_passes()
    dora.visit("/accounts/reauthenticate/?next=/accounts/2fa/totp/deactivate/")
    dora.fill(password="somebody else's guess")
    dora.press("Confirm")
    expect(dora.page.get_by_text("This is not your password.")).to_be_visible()
    dora.fill(password=dora.password)
    dora.press("Confirm")
    dora.sees("Remove the authenticator app")
    dora.press("Remove the app")
    dora.sees("Second factor")
    dora.sees_vault("unlocked")
    dora.sign_out()
    dora.sign_in()
    asked_for_nothing_more(dora)
