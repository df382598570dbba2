"""Name, address and the end of an account."""

import json
import secrets
import urllib.parse

from playwright.sync_api import expect

from tests.e2e.ground import Ground
from tests.e2e.keys import fingerprint_of, method_of
from tests.e2e.people import People


def test_a_new_address_changes_nothing_in_the_vault(people: People, ground: Ground) -> None:
    bob = people.signed_in("bob")
    old, new = bob.email, f"robert-{secrets.token_hex(4)}@example.com"
    before = fingerprint_of(ground, old), method_of(ground, old, "password")
    bob.visit("/account/")
    bob.fill(name="Robert Müller")
    bob.page.get_by_label("Time zone").select_option("Europe/Berlin")
    bob.press("Save")
    bob.is_told("Your profile is saved.")
    expect(bob.page.locator("#id_name")).to_have_value("Robert Müller")
    assert ground.query("SELECT name, time_zone FROM accounts_user WHERE email = %s", [old]) == [
        ("Robert Müller", "Europe/Berlin")
    ]

    bob.visit("/accounts/email/")
    bob.fill(new_address=new)
    bob.press("Change address")
    # What was typed is not lost on the way.
    bob.page.wait_for_url("**/accounts/reauthenticate/**")
    waiting = json.dumps(bob.session.data)
    assert new in urllib.parse.unquote(waiting)
    assert not [secret for secret in (bob.cookie, *ground.secrets()) if secret in waiting]
    bob.prove_it()
    bob.is_told("Open the link in the mail we sent there")
    assert bob.is_signed_in()
    bob.page.goto(ground.mailbox.wait_for(new, "confirm").link("/accounts/confirm-email/"))
    bob.press("Confirm")
    bob.page.wait_for_url(lambda url: "/confirm-email/" not in url)
    assert (fingerprint_of(ground, new), method_of(ground, new, "password")) == before
    assert new in ground.mailbox.wait_for(old, "address was changed").text
    bob.sign_out()
    bob.try_to_sign_in(old)
    bob.is_told("The e-mail or the password is wrong.")
    bob.sign_in(new)
    bob.sees_vault("unlocked")


def test_an_account_is_deleted_with_all_that_is_its_own(people: People, ground: Ground) -> None:
    """Not while somebody would be left without an owner. What belongs to the organization stays."""
    team = ground.team()
    owner = people.signed_in("owner", team.owner)
    owner.visit_sensitive("/account/delete/")
    owner.is_told("You can’t leave yet")
    expect(owner.page.get_by_role("button", name="Delete my account")).to_have_count(0)

    admin = people.signed_in("admin", team.admin)
    vault, *_ = fingerprint_of(ground, admin.email)
    [[user]] = ground.query("SELECT id FROM accounts_user WHERE email = %s", [admin.email])
    admin.visit_sensitive("/account/delete/")
    confirmation = admin.page.get_by_label("Your e-mail address")
    confirmation.fill("somebody@example.com")
    admin.press("Delete my account")
    admin.is_told("That isn't the address of this account.")
    confirmation.fill(admin.email)
    admin.press("Delete my account")
    admin.sees("Your account is deleted")
    assert admin.stored()["databases"] == {}
    assert not admin.is_signed_in()

    tables = {
        "accounts_user": "id",
        "accounts_vault": "user_id",
        "accounts_session": "user_id",
        "account_emailaddress": "user_id",
        "mfa_authenticator": "user_id",
        "organizations_membership": "user_id",
    }
    left = {
        name: ground.query(f"SELECT count(*) FROM {name} WHERE {column} = %s", [user])
        for name, column in tables.items()
    }
    assert set(map(tuple, left.values())) == {((0,),)}
    assert ground.query("SELECT count(*) FROM accounts_unlockmethod WHERE vault_id = %s", [vault]) == [(0,)]
    grants = f"SELECT count(*) FROM {team.schema}.vault_grant WHERE recipient_vault = %s"
    assert ground.query(grants, [vault]) == [(0,)]
    assert ground.query(grants, [fingerprint_of(ground, owner.email)[0]]) == [(1,)]
    assert ground.query(f"SELECT count(*) FROM {team.schema}.projects_project") == [(1,)]
    assert "deleted" in ground.mailbox.wait_for(admin.email, "deleted").subject
    admin.try_to_sign_in()
    admin.is_told("The e-mail or the password is wrong.")
