"""Accounts in a browser: signing up, in and out, and a vault that opens without asking for the password twice."""

import secrets
import shutil
import unicodedata

from playwright.sync_api import expect

from tests.e2e.ground import Ground
from tests.e2e.keys import fingerprint_of, keys_of, method_of
from tests.e2e.people import People, Person

BOOTSTRAP = "async () => (await fetch('/vault/bootstrap', {headers: {Accept: 'application/json'}})).status"


def sent(ground: Ground) -> bytes:
    return b"".join(path.read_bytes() for path in ground.relay.sent.iterdir())


def test_from_signing_up_to_a_useless_copy_of_the_disk(people: People, ground: Ground) -> None:
    """Alice types her password once. What her browser then keeps on disk is worth nothing when she has signed out."""
    alice = people("alice", profile=True)
    password = f"Ein Schloß, zwei Schlüssel {secrets.token_hex(6)}"
    email = f"alice-{secrets.token_hex(4)}@example.com"
    alice.sign_up(email, password, "Acme")
    assert "confirm" in alice.page.title().lower() or "mail" in alice.page.title().lower()
    alice.verify_email()
    alice.sees("recovery key")
    alice.sees_vault("unlocked")
    assert alice.paths.count("POST /vault/prelogin") == 1
    expect(alice.page.get_by_role("dialog")).to_have_count(0)
    alice.skip_onboarding()
    alice.sees_vault("unlocked")
    kept = alice.kept()
    assert kept.keys() >= {"seed", "local"}
    assert "kek" not in kept
    assert kept["local"] == "[CryptoKey, extractable: false]"

    # Closing the browser is not signing out: it opens again as it was.
    alice.leave()
    profile = ground.profiles / "alice"
    shutil.copytree(profile, ground.profiles / "thief", ignore=shutil.ignore_patterns("Singleton*"))
    again = people("alice", profile=True)
    again.email, again.password = email, password
    again.visit("/o/")
    again.sees_vault("unlocked")
    again.sign_out()
    assert again.stored()["databases"] == {}
    assert again.stored()["local"] == again.stored()["session"] == {}

    thief = people("thief", profile=True)
    thief.visit("/")
    assert thief.kept().keys() >= {"seed", "local"}, "the copy has what was kept"
    assert thief.page.evaluate(BOOTSTRAP) == 401
    thief.visit("/account/")
    assert "/accounts/login/" in thief.page.url

    again.sign_in()
    again.sees_vault("unlocked")
    again.lock()
    assert again.kept().keys().isdisjoint({"seed", "kek", "local"})
    again.unlock()
    # Every byte that left her browser; the scan at the end looks for many more forms of it.
    assert email.encode() in sent(ground).replace(b"%40", b"@")
    for form in ("NFC", "NFD"):
        assert unicodedata.normalize(form, password).encode() not in sent(ground)
    assert all(
        password not in (exchange.body or b"").decode("utf-8", "replace") for exchange in alice.recorder.exchanges
    )


def test_a_wrong_password(people: People) -> None:
    bob = people.resident("bob")
    right = bob.password
    wrong = "not this one, by far"
    bob.try_to_sign_in(password=wrong)
    alert = bob.page.get_by_role("alert").filter(has_text="The e-mail or the password is wrong.")
    expect(alert).to_be_visible()
    assert bob.page.evaluate(BOOTSTRAP) == 401
    page = bob.page.content()
    assert wrong not in page
    assert "as1." not in page
    bob.sign_in(password=right)
    bob.sees_vault("unlocked")


def test_signing_up_for_an_address_that_is_taken(people: People, ground: Ground) -> None:
    """It looks like any sign-up, and the account stays as it was."""
    bob = people.resident("bob")
    before = fingerprint_of(ground, bob.email), method_of(ground, bob.email, "password")
    mallory = people("mallory")
    new = [
        _sign_up(mallory, email, f"let me in {secrets.token_hex(6)}")
        for email in (f"new-{secrets.token_hex(4)}@example.com", bob.email)
    ]
    assert new[0] == new[1]
    assert (fingerprint_of(ground, bob.email), method_of(ground, bob.email, "password")) == before
    assert ground.query("SELECT count(*) FROM accounts_user WHERE email = %s", [bob.email]) == [(1,)]
    mail = ground.mailbox.wait_for(bob.email, "have an account already")
    assert "nothing was changed" in mail.text
    bob.sign_in()
    bob.sees_vault("unlocked")


def _sign_up(person: Person, email: str, password: str) -> list[tuple[str, str, int | None]]:
    """What somebody who watches the answers sees."""
    person.ground.canaries.add("password of somebody at the gate", password)
    person.context.clear_cookies()
    first = len(person.recorder.exchanges)
    person.visit("/accounts/signup/")
    person.fill(e_mail=email, password=password, organization="Acme")
    person.press("Create account")
    person.page.wait_for_url("**/accounts/confirm-email/")
    seen = [exchange for exchange in person.recorder.exchanges[first:] if not exchange.path.startswith("/static/")]
    return [(exchange.method, exchange.path, exchange.status) for exchange in seen] + [("", person.page.title(), None)]


def test_a_short_password_and_no_script(people: People, ground: Ground) -> None:
    """Nothing is sent before the browser can derive what is sent."""
    carol = people("carol")
    carol.visit("/accounts/signup/")
    carol.fill(e_mail="carol@example.com", password="too short 1", organization="Acme")
    carol.press("Create account")
    field = carol.page.get_by_label("Password", exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    assert not [path for path in carol.paths if path.startswith("POST")]

    plain = people("plain", java_script_enabled=False)
    plain.visit("/accounts/login/")
    expect(plain.page.get_by_role("button", name="Sign in")).to_be_disabled()
    assert plain.page.locator("input[type=password]").get_attribute("name") is None


def test_the_password_gives_what_the_account_has(people: People, ground: Ground) -> None:
    """The scan at the end looks for the right values: they are what the server knows the public halves of."""
    bob = people.resident("bob")
    keys = keys_of(ground, bob.email, bob.password)
    public = (keys.account.vault_id, 1, keys.account.x25519_public, keys.account.ed25519_public)
    assert (
        tuple(bytes(part) if isinstance(part, memoryview) else part for part in fingerprint_of(ground, bob.email))
        == public
    )
