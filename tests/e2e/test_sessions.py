"""Signed-in browsers and unlocked vaults: who ends what, and what time does to them."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.e2e.people import People
from tests.faults.stack import wait_until

HOURS = 3600
SHARE = "async () => (await (await fetch('/vault/bootstrap', {headers: {Accept: 'application/json'}})).json()).share"


def test_one_browser_ends_another(people: People, axe: Callable[[Page], None]) -> None:
    bob = people.signed_in("bob")
    elsewhere = people.signed_in("bob elsewhere", bob.who)
    bob.visit("/account/sessions/")
    rows = bob.page.get_by_role("row").filter(has_text="Chrome on Linux")
    expect(rows).to_have_count(2)
    expect(rows.filter(has_text="this one")).to_have_count(1)
    axe(bob.page)
    rows.filter(has_not_text="this one").get_by_role("button", name=re.compile("^Sign out")).click()
    bob.is_told("That browser is signed out.")
    expect(rows).to_have_count(1)
    bob.sees_vault("unlocked")

    # What the other one keeps is there still, and has nothing to open it with.
    assert "seed" in elsewhere.kept()
    assert not elsewhere.is_signed_in()
    elsewhere.visit("/account/")
    assert "/accounts/login/" in elsewhere.page.url
    # A new session opens it with the password only: its share is another one.
    elsewhere.sign_in()
    elsewhere.sees_vault("unlocked")

    bob.visit("/account/sessions/")
    bob.press("Sign out all others")
    bob.page.get_by_role("dialog").get_by_role("button", name="Sign out the others").click()
    bob.is_told("Signed out 1 other browser.")
    assert not elsewhere.is_signed_in()


def test_locking_in_one_tab_locks_the_others(people: People) -> None:
    bob = people.signed_in("bob")
    tab = bob.context.new_page()
    tab.goto(f"{bob.ground.url}/account/")
    expect(tab.locator("[data-vault-state=unlocked]")).to_be_visible()
    share = tab.evaluate(SHARE)
    assert share
    bob.lock()
    expect(tab.locator("[data-vault-state=locked]")).to_be_visible()
    expect(tab.locator("[data-vault-state=locked]")).to_have_text("Vault locked")
    assert tab.evaluate(SHARE) is None
    # The password once more, not a new session; and a share that never was.
    bob.unlock()
    assert tab.evaluate(SHARE) not in {None, share}
    tab.reload()
    expect(tab.locator("[data-vault-state=unlocked]")).to_be_visible()


def test_an_idle_vault_locks(people: People) -> None:
    """After the time that the person chose, whether or not a page is being looked at."""
    bob = people.signed_in("bob")
    bob.visit("/account/unlock/")
    with bob.page.expect_response("**/vault/idle"):
        bob.page.get_by_label("Lock after").select_option("5 minutes")
    bob.page.clock.install()
    bob.visit("/account/")
    bob.sees_vault("unlocked")
    bob.page.clock.fast_forward("04:50")
    before = bob.kept()["seed"]["deadline"]
    bob.page.mouse.click(5, 300)
    # By the click: what opening the page wrote may arrive late, and moves it by seconds only.
    wait_until(lambda: bob.kept()["seed"]["deadline"] > before + 4 * 60_000, "the deadline moves")
    bob.page.clock.fast_forward("04:50")
    bob.sees_vault("unlocked")
    bob.page.clock.fast_forward("05:30")
    bob.sees_vault("locked")
    assert "seed" not in bob.kept()
    bob.visit("/account/")
    bob.sees_vault("locked")
    assert bob.is_signed_in()


def test_the_share_lives_twelve_hours(people: People) -> None:
    """However busy the session is: its own row is what says so, not the browser."""
    bob = people.signed_in("bob")
    for age, state in [(11.9, "unlocked"), (12.1, "locked")]:
        data = bob.session.data
        data["vault_share"]["at"] -= age * HOURS
        bob.session.store(data)
        bob.visit("/account/")
        bob.sees_vault(state)
        data["vault_share"]["at"] += age * HOURS
        bob.session.store(data)
    # It was thrown away, not hidden.
    bob.visit("/account/")
    bob.sees_vault("locked")
    bob.unlock()
