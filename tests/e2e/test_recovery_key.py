"""The encryption recovery key: made, saved, asked for, and used."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from devstack.browser import RecoveryKey
from tests.e2e.ground import Ground
from tests.e2e.keys import add_recovery_key, keys_of, method_of
from tests.e2e.people import People, Person

PAGE = "/account/recovery-key/"


def type_groups(person: Person, key: str) -> None:
    """The two that the page names."""
    groups = key.split("-")
    fields = person.page.get_by_label(re.compile(r"^Group \d$"))
    expect(fields).to_have_count(2)
    for field in fields.all():
        label = field.evaluate("(field) => field.labels[0].textContent")
        field.fill(groups[int(label.removeprefix("Group "))])


def shown_key(person: Person) -> str:
    """What the page shows this once; it is a canary from now on."""
    shown = person.page.locator("[data-recovery-text]")
    expect(shown).to_have_text(re.compile("^RK1-"))
    key = shown.inner_text()
    add_recovery_key(person.ground.canaries, f"{person.email}, a new one", key)
    return key


def test_made_saved_and_used(people: People, ground: Ground, axe: Callable[[Page], None]) -> None:
    bob = people.signed_in("bob")
    old = bob.recovery_key
    before = method_of(ground, bob.email, "recovery")
    bob.visit(PAGE)
    axe(bob.page)
    bob.press("Replace recovery key")
    key, shown = shown_key(bob), bob.page.locator("[data-recovery-text]")
    assert key != old
    assert RecoveryKey.parse(key).text == key
    axe(bob.page)

    with bob.page.expect_download() as downloading:
        bob.press("Download")
    assert key in downloading.value.path().read_text().splitlines()
    assert downloading.value.suggested_filename == "any-llm-recovery-key.txt"
    bob.page.emulate_media(media="print")
    expect(shown).to_be_visible()
    expect(bob.page.locator("header.app-header")).to_be_hidden()
    expect(bob.page.get_by_role("button", name="I saved it")).to_be_hidden()
    bob.page.emulate_media(media="screen")

    # Nothing has changed yet, and nothing does until it was really kept.
    for field in bob.page.get_by_label(re.compile(r"^Group \d$")).all():
        field.fill("0000")
    bob.press("I saved it")
    expect(bob.page.get_by_text(re.compile("That is not group"))).to_have_count(2)
    assert method_of(ground, bob.email, "recovery") == before
    type_groups(bob, key)
    # It has been a while since the password.
    data = bob.session.data
    for record in data["account_authentication_methods"]:
        record["at"] -= 3600
    bob.session.store(data)
    bob.press("I saved it")
    dialog = bob.page.get_by_role("dialog")
    expect(dialog.get_by_role("heading")).to_have_text("Confirm it’s you")
    axe(bob.page)
    dialog.get_by_label("Password", exact=True).fill("not my password at all")
    dialog.get_by_role("button", name="Confirm").click()
    expect(dialog.get_by_text("This is not your password.")).to_be_visible()
    bob.answer_password()
    expect(bob.page.get_by_text("Your recovery key is set")).to_be_visible()
    expect(shown).to_have_text("")
    assert method_of(ground, bob.email, "recovery") != before

    bob.lock()
    bob.page.locator("[data-vault-state=locked]").click()
    dialog.get_by_role("button", name="Use the encryption recovery key instead").click()
    field = dialog.get_by_label("Encryption recovery key")
    for wrong, why in [(old, "This is another recovery key"), (key[:-1] + ("1" if key[-1] != "1" else "2"), "")]:
        field.fill(wrong)
        dialog.get_by_role("button", name="Unlock", exact=True).click()
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(dialog.locator("[data-field-error]")).to_contain_text(why)
    field.fill(key.replace("0", "O").replace("-", " "))
    dialog.get_by_role("button", name="Unlock", exact=True).click()
    bob.sees_vault("unlocked")


def test_a_new_person_makes_one_or_goes_without(people: People, ground: Ground) -> None:
    alice = people("alice")
    alice.join("Acme")
    alice.visit("/account/unlock/")
    expect(alice.page.get_by_text("You have no encryption recovery key")).to_be_visible()
    alice.visit(PAGE)
    alice.press("Go without")
    alice.page.get_by_role("dialog").get_by_role("button", name="Go without").click()
    expect(alice.page.get_by_text("You go without one.")).to_be_visible()
    alice.press("Create recovery key")
    key = shown_key(alice)
    type_groups(alice, key)
    alice.press("I saved it")
    expect(alice.page.get_by_text("Your recovery key is set")).to_be_visible()
    vault, unlock_id, kdf, kdf_input, _ = method_of(ground, alice.email, "recovery")
    assert (kdf, kdf_input) == ("rk1", b"")
    alice.visit("/account/unlock/")
    row = alice.page.get_by_role("row").filter(has_text="Encryption recovery key")
    row.get_by_role("button", name=re.compile("^Remove")).click()
    alice.page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)
    assert ground.query("SELECT count(*) FROM accounts_unlockmethod WHERE id = %s", [unlock_id]) == [(0,)]
    assert keys_of(ground, alice.email, alice.password).account.vault_id == vault.vault_id
