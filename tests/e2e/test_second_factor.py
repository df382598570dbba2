"""A security key as the second factor, with Chromium's virtual authenticator."""

import re

from playwright.sync_api import expect

from tests.e2e.people import People, Person

PASSWORD = "three quiet herons by the canal"
AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "hasPrf": True,
    "automaticPresenceSimulation": True,
}


def plug_in_a_key(person: Person) -> None:
    session = person.context.new_cdp_session(person.page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})


def test_a_security_key_signs_in_after_the_password(people: People) -> None:
    dora = people("dora")
    plug_in_a_key(dora)
    dora.sign_up("dora.key@example.com", PASSWORD, "Keyholders")
    dora.verify_email()
    # Hashed and served as in production, the worker that derived the keys may compile WebAssembly; pages may not.
    [worker, *_] = [exchange for exchange in dora.recorder.exchanges if "/js/kdf-worker." in exchange.path]
    policy = dora.page.request.get(worker.url).headers["content-security-policy"]
    assert policy == "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"
    dora.visit("/accounts/2fa/webauthn/add/")
    if "/accounts/reauthenticate/" in dora.page.url:
        dora.fill(password=PASSWORD)
        dora.page.locator("main button[type=submit]").first.click()
        dora.page.wait_for_url("**/webauthn/add/")
    dora.fill(name="Desk key")
    dora.press("Add the key")
    dora.sees("Recovery codes")
    [posted] = [
        exchange
        for exchange in dora.recorder.exchanges
        if exchange.method == "POST" and exchange.path == "/accounts/2fa/webauthn/add/"
    ]
    # The key can give a secret for vaults; nobody asked it for one here, and nothing of it left the browser.
    assert posted.body is not None
    assert b"prf" not in posted.body
    assert b"attestationObject" in posted.body

    dora.visit("/accounts/2fa/webauthn/add/")
    dora.press("Add the key")
    expect(dora.page.get_by_role("alert")).to_have_text("This key is one of yours already.")

    dora.sign_out()
    dora.sign_in()
    dora.sees("Second factor")
    # The password alone leads nowhere else.
    assert dora.visit("/account/security/").url.endswith("/accounts/2fa/authenticate/")
    dora.press("Use a security key")
    dora.page.wait_for_url(lambda url: "/2fa/" not in url)
    dora.visit("/accounts/2fa/webauthn/")
    row = dora.page.get_by_role("row", name=re.compile("Desk key"))
    expect(row).not_to_contain_text("never")
