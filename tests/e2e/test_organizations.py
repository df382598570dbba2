"""Organizations in browsers: a second one, the switcher, what is set, who is kept out, and an end that is taken back."""

import re
import secrets
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.authenticators import set_up_app
from tests.e2e.client import Client, real_client
from tests.e2e.ground import Ground
from tests.e2e.member_pages import ENTERED, Members, accept
from tests.e2e.people import People, Person
from tests.e2e.project_pages import UUID, project_of


@pytest.fixture(scope="module")
def client(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with real_client(ground, tmp_path_factory.mktemp("client")) as client:
        yield client


def make_organization(person: Person, name: str) -> str:
    """Its id."""
    person.visit("/o/new/")
    person.fill(name=name)
    person.press("Create the organization")
    person.page.wait_for_url(ENTERED)
    found = re.search(UUID, person.page.url)
    assert found is not None
    return found[0]


def switch(person: Person, name: str) -> None:
    """By the menu in the header."""
    person.page.locator("summary", has_text="Organization").click()
    person.page.locator(".organization-menu").get_by_role("link", name=re.compile(f"^{name}")).click()


def save(person: Person) -> None:
    person.press("Save the settings")
    expect(person.page.get_by_role("heading", level=1, name="Settings")).to_be_visible()


def test_two_organizations_and_the_way_between(people: People, axe: Callable[[Page], None]) -> None:
    otto = people.signed_in("otto")
    otto.visit("/o/")
    expect(otto.page.get_by_role("heading", name="No organization yet")).to_be_visible()
    axe(otto.page)
    otto.page.get_by_role("link", name="Create an organization").click()
    axe(otto.page)
    otto.press("Create the organization")
    expect(otto.page.locator("[aria-invalid=true]")).to_be_visible()
    axe(otto.page)
    word = secrets.token_hex(3)
    first, second = f"Workshop {word}", f"Harbour {word}"
    ids = {name: make_organization(otto, name) for name in (first, second)}
    current = otto.page.locator(".organization-menu [aria-current=true]")
    for name in (first, second, first):
        switch(otto, name)
        otto.page.wait_for_url(f"**/o/{ids[name]}/")
        expect(otto.page.locator(".organization-menu summary")).to_contain_text(name)
        expect(current).to_have_count(1)
    otto.page.locator("summary", has_text="Organization").click()
    axe(otto.page)
    # Where one was is where one comes back to.
    otto.visit("/o/")
    assert ids[first] in otto.page.url
    otto.visit("/o/?all")
    for name in (first, second):
        expect(otto.page.get_by_role("row").filter(has_text=name)).to_contain_text("Owner")
    axe(otto.page)


def test_settings(people: People, ground: Ground, axe: Callable[[Page], None]) -> None:
    otto, vera = people.signed_in("otto"), people.signed_in("vera")
    organization = make_organization(otto, "Before")
    path = f"/o/{organization}/settings/"
    otto.visit(path)
    axe(otto.page)
    name = f"After {secrets.token_hex(3)}"
    otto.fill(name=name, time_zone="Nowhere/Land")
    save(otto)
    expect(otto.page.get_by_text("Choose a time zone from the list")).to_be_visible()
    axe(otto.page)
    # Nothing of it was stored.
    assert ground.query("SELECT name FROM organizations_organization WHERE id = %s", [organization]) == [("Before",)]
    otto.fill(time_zone="kathmandu")
    otto.page.get_by_label("Display currency").select_option("EUR")
    save(otto)
    otto.is_told("The settings are saved.")
    expect(otto.page.get_by_label("Time zone")).to_have_value("Asia/Kathmandu")
    expect(otto.page.get_by_label("Display currency")).to_have_value("EUR")
    expect(otto.page.locator(".organization-menu summary")).to_contain_text(name)
    save(otto)
    otto.is_told("Nothing was changed.")

    # Who may not change them sees them.
    accept(vera, Members(otto, organization).invite(vera.email, "Viewer"))
    vera.visit(path)
    for shown in (name, "Asia/Kathmandu", "EUR", "up to each member"):
        expect(vera.page.get_by_role("definition").filter(has_text=shown)).to_be_visible()
    expect(vera.page.get_by_role("button", name="Save the settings")).to_have_count(0)
    expect(vera.page.get_by_role("heading", name=f"Delete {name}")).to_have_count(0)
    axe(vera.page)
    vera.press("Leave")
    vera.page.get_by_role("dialog").get_by_role("button", name="Leave", exact=True).click()
    vera.is_told(f"You left {name}.")
    assert vera.visit(path).status == 404
    otto.visit(f"/o/{organization}/activity/")
    for words in ("changed the settings of the organization", "left the organization"):
        expect(otto.page.get_by_role("row").filter(has_text=words).first).to_be_visible()


def test_a_second_factor_is_asked_of_everybody(people: People, axe: Callable[[Page], None]) -> None:
    otto, vera = people.signed_in("otto"), people.signed_in("vera")
    organization = make_organization(otto, f"Careful {secrets.token_hex(3)}")
    base = f"/o/{organization}/"
    accept(vera, Members(otto, organization).invite(vera.email, "Viewer"))

    def ask() -> None:
        otto.visit(f"{base}settings/")
        otto.page.get_by_label("Ask every member for a second factor").check()
        save(otto)

    # Nobody shuts out themselves.
    ask()
    otto.is_told("Set up a second factor for yourself first")
    axe(otto.page)
    assert vera.visit(base).ok
    set_up_app(otto)
    ask()
    otto.is_told("The settings are saved.")
    assert otto.visit(base).ok

    assert vera.visit(base).status == 403
    vera.sees("Set up a second factor first")
    axe(vera.page)
    answer = vera.context.request.get(f"{vera.ground.url}{base}members/", headers={"Accept": "application/json"})
    assert (answer.status, answer.json()["code"]) == (403, "second_factor_required")
    vera.page.get_by_role("link", name="Set it up").click()
    vera.prove_it()
    set_up_app(vera)
    assert vera.visit(base).ok


def test_a_deletion_that_is_taken_back(
    people: People, ground: Ground, client: Client, axe: Callable[[Page], None]
) -> None:
    team = ground.team()
    owner, admin = people.signed_in("owner", team.owner), people.signed_in("admin", team.admin)
    project, key = project_of(owner, team)
    project.open_provider_keys()
    value = f"sk-openai-{secrets.token_urlsafe(24)}"
    project.add_provider_key("OpenAI", value)
    assert client.fetch(key, "openai") == value
    base = f"/o/{team.organization_id}/"
    admin.visit(f"{base}settings/")
    expect(admin.page.get_by_role("button", name="Delete the organization")).to_have_count(0)
    axe(admin.page)

    def delete(typed: str) -> None:
        owner.visit(f"{base}settings/")
        owner.page.get_by_label("Type the organization’s name to confirm").fill(typed)
        owner.press("Delete the organization")

    [[name]] = ground.query("SELECT name FROM organizations_organization WHERE id = %s", [team.organization_id])
    delete("Another")
    owner.is_told("Nothing was deleted")
    assert client.fetch(key, "openai") == value

    with client.fetching(key, "openai") as fetches:
        delete(name)
        owner.page.wait_for_url("**/deleting/")
        fetches.wait_for_more()
    assert fetches.refusals
    assert set(fetches.values) == {value}
    assert "No project found" in client.refusal(key, "openai")
    axe(owner.page)
    for person in (owner, admin):
        assert person.visit(base).status == 404
        assert person.visit(f"{project.base}key/").status == 404
    assert admin.visit(f"{base}deleting/").status == 404
    owner.visit("/o/?all")
    expect(owner.page.get_by_role("row").filter(has_text=name)).to_contain_text("being deleted")
    axe(owner.page)
    owner.page.get_by_role("link", name="Keep it…").click()
    owner.press("Keep the organization")
    owner.is_told("is back. Its keys work again.")
    assert client.fetch(key, "openai") == value
    assert admin.visit(base).ok
    project.open_provider_keys()
    assert project.reveal("OpenAI") == value
