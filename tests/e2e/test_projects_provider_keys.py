"""Provider keys in a browser: added, replaced, put away, shown for a moment, and watched over."""

import secrets
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.client import Client, real_client
from tests.e2e.ground import Ground, Team
from tests.e2e.people import People
from tests.e2e.project_pages import COVERED, in_schema, make_project, project_of


@pytest.fixture(scope="module")
def team(ground: Ground) -> Team:
    return ground.team()


@pytest.fixture(scope="module")
def client(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with real_client(ground, tmp_path_factory.mktemp("client")) as client:
        yield client


def secret(provider: str) -> str:
    return f"{provider}-{secrets.token_urlsafe(24)}"


def test_the_life_of_a_provider_key(people: People, team: Team, client: Client, axe: Callable[[Page], None]) -> None:
    owner = people.signed_in("owner", team.owner)
    project = make_project(owner, team.organization_id, "Assistant")
    project.open_provider_keys()
    # Before there is a key to seal to.
    axe(owner.page)
    key = project.make_key()
    axe(owner.page)
    project.open_provider_keys()
    axe(owner.page)

    first = secret("sk-openai")
    owner.page.locator("[data-add]").click()
    axe(owner.page)
    owner.page.keyboard.press("Escape")
    project.add_provider_key("OpenAI", first)
    # A local one has none, and is fetched all the same; one that is not in the list is stored by its name.
    project.add_provider_key("Ollama", "")
    owner.page.locator("[data-add]").click()
    owner.page.get_by_role("searchbox").fill("our-own-proxy")
    owner.page.get_by_role("radio", name="our-own-proxy").check()
    proxy = secret("proxy")
    project.remember("proxy", proxy)
    owner.page.get_by_role("dialog").get_by_label("our-own-proxy key").fill(f"  {proxy}\n")
    owner.press("Seal and save")
    expect(project.provider_row("our-own-proxy")).to_be_visible()
    axe(owner.page)
    assert client.fetch(key, "openai") == first
    assert client.fetch(key, "ollama") == ""
    assert client.fetch(key, "our-own-proxy") == proxy

    second = secret("sk-openai")
    project.replace_provider_key("OpenAI", second)
    project.sees_message("The OpenAI key is replaced.")
    assert client.fetch(key, "openai") == second

    project.open_more("OpenAI")
    axe(owner.page)
    owner.press("Archive")
    project.confirm("Archive")
    expect(project.provider_row("OpenAI")).to_have_count(0)
    assert "openai" in client.refusal(key, "openai")
    owner.page.get_by_text("Archived (1)").click()
    axe(owner.page)
    owner.press("Restore the OpenAI key")
    project.sees_message("The OpenAI key is restored.")
    assert client.fetch(key, "openai") == second

    project.open_more("OpenAI")
    owner.press("Delete for good")
    asked = owner.page.get_by_role("dialog")
    # It says what it does to whom: this key was fetched, and no call was reported.
    expect(asked).to_contain_text("A program fetched it")
    expect(asked.get_by_role("button", name="Delete for good")).to_be_disabled()
    project.confirm("Delete for good", typed="openai")
    expect(project.provider_row("OpenAI")).to_have_count(0)
    assert "openai" in client.refusal(key, "openai")
    rows = in_schema(
        people.ground,
        team.schema,
        "SELECT count(b.*) FROM {schema}.vault_providerkey k LEFT JOIN {schema}.vault_box b ON b.provider_key_id = k.id"
        " WHERE k.project_id = %s AND k.provider = 'openai'",
        [project.id],
    )
    assert rows == [(0,)]
    # The trail has all of it, and none of the keys.
    owner.visit(f"/o/{team.organization_id}/activity/")
    for word in ("added", "replaced", "archived", "restored", "deleted"):
        expect(owner.page.get_by_role("row").filter(has_text=word).first).to_be_visible()
    axe(owner.page)


def test_two_people_replace_one_key(people: People, team: Team, client: Client) -> None:
    """Whoever comes second sees it, loses nothing that was typed, and decides."""
    owner, admin = people.signed_in("owner", team.owner), people.signed_in("admin", team.admin)
    project, key = project_of(owner, team)
    project.open_provider_keys()
    project.add_provider_key("Mistral", secret("mistral"))
    theirs = project.as_seen_by(admin)
    theirs.open_provider_keys()
    values = {name: secret("mistral") for name in ("owner", "admin")}
    admin.press("Replace the Mistral key")
    field = admin.page.get_by_role("dialog").get_by_label("Mistral key")
    field.fill(values["admin"])
    project.replace_provider_key("Mistral", values["owner"])
    project.sees_message("The Mistral key is replaced.")
    project.remember("Mistral", values["admin"])
    admin.press("Seal and replace")
    asked = admin.page.get_by_role("dialog", name="Is this the project’s key?")
    asked.get_by_role("button", name="Trust this key").click()
    expect(admin.page.get_by_role("dialog").get_by_text("replaced this key")).to_be_visible()
    assert client.fetch(key, "mistral") == values["owner"]
    expect(field).to_have_value(values["admin"])
    admin.press("Seal and replace")
    theirs.sees_message("The Mistral key is replaced.")
    assert client.fetch(key, "mistral") == values["admin"]


def test_a_revealed_key_is_covered_again(people: People, team: Team) -> None:
    owner = people.signed_in("owner", team.owner)
    project, _ = project_of(owner, team)
    value = secret("groq")
    project.open_provider_keys()
    project.add_provider_key("Groq", value)
    owner.page.clock.install()
    owner.press("Reveal the Groq key")
    code = owner.page.locator(".secret-value")
    expect(code).to_have_text(value)
    owner.page.clock.run_for(29_000)
    expect(code).to_have_text(value)
    owner.page.clock.run_for(2_000)
    expect(code).to_have_text(COVERED)
    assert value not in owner.page.content()


def test_seals_say_who_and_what(people: People, team: Team, client: Client, axe: Callable[[Page], None]) -> None:
    """The fixed boxes carry no sender: whoever exchanges them deceives programs, but not a member's browser."""
    owner = people.signed_in("owner", team.owner)
    project = make_project(owner, team.organization_id, "Watched")
    key = project.make_key()
    project.open_provider_keys()
    values = {name: secret(name.lower()) for name in ("OpenAI", "Mistral", "Groq")}
    for name, value in values.items():
        project.add_provider_key(name, value)
    for name in values:
        expect(project.seal(name)).to_have_text("Sealed by you")

    ground = people.ground
    swap = (
        "UPDATE {schema}.vault_box mine SET sealed = other.sealed FROM {schema}.vault_box other,"
        " {schema}.vault_providerkey a, {schema}.vault_providerkey b"
        " WHERE mine.provider_key_id = a.id AND other.provider_key_id = b.id AND a.project_id = %s"
        " AND b.project_id = a.project_id AND (a.provider, b.provider) IN (('openai', 'mistral'), ('mistral', 'openai'))"
    )
    in_schema(ground, team.schema, swap, [project.id])
    in_schema(
        ground,
        team.schema,
        "UPDATE {schema}.vault_box SET signature = '', signed_by_vault = NULL, signed_by_account_key_version = NULL"
        " FROM {schema}.vault_providerkey k WHERE k.id = provider_key_id AND k.project_id = %s AND k.provider = 'groq'",
        [project.id],
    )
    # Programs can't notice.
    assert client.fetch(key, "openai") == values["Mistral"]
    project.open_provider_keys()
    expect(project.seal("OpenAI")).to_have_text("Seal is broken")
    expect(project.seal("Mistral")).to_have_text("Seal is broken")
    expect(project.seal("Groq")).to_have_text("From the command line")
    expect(owner.page.get_by_role("alert").filter(has_text="2 keys are not what members sealed")).to_be_visible()
    axe(owner.page)
    for name in ("OpenAI", "Mistral", "Groq"):
        project.replace_provider_key(name, values[name])
        expect(project.seal(name)).to_have_text("Sealed by you")
    expect(owner.page.get_by_role("alert").filter(has_text="not what members sealed")).to_have_count(0)
    assert client.fetch(key, "openai") == values["OpenAI"]

    # Locked, it says that it does not know.
    owner.lock()
    expect(owner.page.get_by_text("Seals are not checked yet")).to_be_visible()
    axe(owner.page)
