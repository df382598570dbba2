"""New passwords in a browser: changed, reset with the encryption recovery key, and reset without it."""

import secrets
import uuid
from collections.abc import Callable

from playwright.sync_api import Page, expect

from devstack.browser import Account, ProjectKeyPair
from tests.e2e.ground import Ground, Team
from tests.e2e.keys import fingerprint_of, keys_of
from tests.e2e.people import People, Person

CHANGE = "/accounts/password/change/"


def new_password() -> str:
    return f"neu, länger & besser {secrets.token_hex(6)}"


def refused(person: Person, password: str) -> None:
    person.try_to_sign_in(password=password)
    expect(person.page.get_by_text("The e-mail or the password is wrong.")).to_be_visible()


def grants(ground: Ground, team: Team, email: str) -> list[tuple[int, str]]:
    """(version of the keys, envelope) of what opens the team's project to somebody."""
    vault, *_ = fingerprint_of(ground, email)
    return [
        (version, envelope)
        for version, envelope in ground.query(
            f"SELECT recipient_account_key_version, envelope FROM {team.schema}.vault_grant"
            " WHERE recipient_vault = %s ORDER BY 1",
            [vault],
        )
    ]


def opened(account: Account, team: Team, envelope: str) -> bytes:
    """The project's private key from what somebody wrapped for themselves."""
    key = ProjectKeyPair(bytes.fromhex(team.private_key))
    return account.open_self_grant(uuid.UUID(team.organization_id), uuid.UUID(team.project_id), 1, key.public, envelope)


def test_a_change_ends_other_sessions_and_leaves_the_keys(people: People, ground: Ground) -> None:
    bob = people.signed_in("bob")
    elsewhere = people.signed_in("bob elsewhere", bob.who)
    old, new, before = bob.password, new_password(), fingerprint_of(ground, bob.email)
    ground.canaries.add("new password of Bob", new)
    bob.visit(CHANGE)
    bob.fill(current_password="something else altogether", new_password=new, new_password_again=new)
    bob.press("Change password")
    expect(bob.page.get_by_text("This is not your current password.")).to_be_visible()
    bob.fill(current_password=old, new_password_again=new + "x")
    bob.press("Change password")
    expect(bob.page.get_by_text("The two passwords differ.")).to_be_visible()
    bob.fill(new_password_again=new)
    bob.press("Change password")
    bob.page.wait_for_url("**/account/security/")
    bob.sees_vault("unlocked")
    bob.password = new
    bob.remember_keys()
    assert fingerprint_of(ground, bob.email) == before
    assert "changed" in ground.mailbox.wait_for(bob.email, "password was changed").subject

    assert not elsewhere.is_signed_in()
    elsewhere.visit("/account/")
    assert "/accounts/login/" in elsewhere.page.url
    refused(elsewhere, old)
    elsewhere.sign_in(password=new)
    elsewhere.sees_vault("unlocked")
    bob.lock()
    bob.unlock()


def test_a_reset_with_the_recovery_key(people: People, ground: Ground) -> None:
    """Keys and grants are the ones before; that recovery key is used up."""
    team = ground.team()
    bob = people.resident("bob", team.admin)
    old, before = bob.password, (fingerprint_of(ground, bob.email), grants(ground, team, bob.email))
    seed = keys_of(ground, bob.email, old).account.seed
    bob.page.goto(bob.ask_for_reset())
    bob.fill(encryption_recovery_key="RK1-0000-0000-0000-0000-0000-0000-0000-0000-0000")
    bob.set_password(new_password())
    expect(bob.page.get_by_label("Encryption recovery key")).to_have_attribute("aria-invalid", "true")
    # As people write it.
    bob.fill(encryption_recovery_key=bob.recovery_key.lower().replace("-", " "))
    bob.press("Set password")
    bob.sees_vault("unlocked")
    assert (fingerprint_of(ground, bob.email), grants(ground, team, bob.email)) == before
    bob.remember_keys()
    assert keys_of(ground, bob.email, bob.password).account.seed == seed
    bob.visit("/account/unlock/")
    expect(bob.page.get_by_text("You have no encryption recovery key")).to_be_visible()
    bob.sign_out()
    new = bob.password
    refused(bob, old)
    bob.sign_in(password=new)
    bob.sees_vault("unlocked")


def test_a_reset_without_it_and_then_it_turns_up(people: People, ground: Ground, axe: Callable[[Page], None]) -> None:
    """New keys, which open nothing until a teammate grants again, or until the old recovery key is found."""
    team = ground.team()
    bob = people.resident("bob", team.admin)
    old, (vault, version, *public) = bob.password, fingerprint_of(ground, bob.email)
    [granted] = grants(ground, team, bob.email)
    bob.reset_password(new_password())
    bob.sees_vault("unlocked")
    bob.remember_keys()
    now = fingerprint_of(ground, bob.email)
    assert now[:2] == (vault, version + 1)
    assert set(now[2:]).isdisjoint(public)
    assert grants(ground, team, bob.email) == [granted]

    owner = people.signed_in("owner", team.owner)
    owner.visit(f"/o/{team.organization_id}/members/")
    row = owner.page.get_by_role("row").filter(has_text=bob.email)
    expect(row).to_contain_text("keys changed")

    bob.visit("/account/unlock/")
    axe(bob.page)
    row = bob.page.get_by_role("row").filter(has_text="Old encryption recovery key")
    row.get_by_role("button").click()
    dialog = bob.page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill("RK1-0000-0000-0000-0000-0000-0000-0000-0000-0000")
    dialog.get_by_role("button", name="Restore access").click()
    expect(dialog.get_by_role("textbox")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_role("textbox").fill(bob.recovery_key)
    dialog.get_by_role("button", name="Restore access").click()
    expect(bob.page.get_by_text("Access to 1 project key is back.").first).to_be_visible()
    [_, restored] = grants(ground, team, bob.email)
    assert restored[0] == version + 1
    account = keys_of(ground, bob.email, bob.password).account
    assert opened(account, team, restored[1]) == bytes.fromhex(team.private_key)

    new = bob.password
    bob.sign_out()
    refused(bob, old)
    bob.sign_in(password=new)
    bob.sees_vault("unlocked")


def test_links_work_once_and_not_for_ever(people: People, ground: Ground, axe: Callable[[Page], None]) -> None:
    bob = people.resident("bob")
    link = bob.ask_for_reset()
    token = ground.control.ask("reset_token", email=bob.email, days=4)
    bob.page.goto(link.rpartition("/key/")[0] + "/key/" + link.rpartition("/key/")[2].split("-")[0] + f"-{token}/")
    bob.sees("This link doesn’t work")
    axe(bob.page)

    bob.page.goto(link)
    axe(bob.page)
    bob.fill(encryption_recovery_key=bob.recovery_key)
    bob.set_password(new_password())
    bob.sees_vault("unlocked")
    bob.remember_keys()
    bob.sign_out()
    bob.page.goto(link)
    bob.sees("This link doesn’t work")


def test_a_reset_tells_nobody_who_has_an_account(people: People, ground: Ground) -> None:
    mallory, email = people("mallory"), f"nobody-{secrets.token_hex(4)}@example.com"
    mallory.visit("/accounts/password/reset/")
    mallory.fill(e_mail=email)
    mallory.press("Send the link")
    mallory.sees("Check your mail")
    assert "no account" in ground.mailbox.wait_for(email).subject
