"""Projects and their ANY_LLM_KEYs: made, rotated and retired in a browser, used by the real client all the while."""

import math
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from devstack.browser import ProjectKeyPair
from tests.e2e.client import Client, add_any_llm_key, real_client
from tests.e2e.ground import Ground, Team
from tests.e2e.people import People
from tests.e2e.project_pages import (
    Project,
    fingerprint_in,
    fingerprint_known,
    in_schema,
    make_project,
    project_of,
    set_key_from_cli,
)


@pytest.fixture(scope="module")
def team(ground: Ground) -> Team:
    return ground.team()


@pytest.fixture(scope="module")
def client(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with real_client(ground, tmp_path_factory.mktemp("client")) as client:
        yield client


def secret(provider: str) -> str:
    return f"{provider}-{secrets.token_urlsafe(24)}"


def test_what_the_browser_seals_the_client_opens(people: People, team: Team, client: Client) -> None:
    owner = people.signed_in("owner", team.owner)
    project = make_project(owner, team.organization_id, "Assistant")
    key = project.make_key()
    openai, mistral = secret("sk-openai"), secret("mistral")
    project.open_provider_keys()
    project.add_provider_key("OpenAI", openai)
    project.add_provider_key("Mistral", mistral)
    assert client.fetch(key, "openai") == openai
    assert client.fetch(key, "mistral") == mistral
    assert "anthropic" in client.refusal(key, "anthropic")
    # The pages know that it was used, and by whom.
    project.open_provider_keys()
    expect(project.provider_row("OpenAI")).not_to_contain_text("Never")
    project.open_key_page()
    expect(project.row(1)).not_to_contain_text("not yet")


def test_a_rotation_that_no_program_notices(people: People, ground: Ground, team: Team, client: Client) -> None:
    owner = people.signed_in("owner", team.owner)
    project, old = project_of(owner, team)
    openai, archived = secret("sk-openai"), secret("groq")
    project.open_provider_keys()
    project.add_provider_key("OpenAI", openai)
    project.add_provider_key("Groq", archived)
    project.open_more("Groq")
    owner.press("Archive")
    project.confirm("Archive")
    with client.fetching(old, "openai") as fetches:
        new = project.rotate(team.admin.email)
        fetches.wait_for_more()
        assert client.fetch(new, "openai") == openai
        fetches.wait_for_more()
        project.sees_state(1, "retiring")
        project.sees_state(2, "active")
    assert fetches.refusals == []
    assert set(fetches.values) == {openai}

    project.act(1, "Give more time")
    project.choose_overlap("30 days")
    project.confirm("Give it more time")
    project.sees_message("The old key has more time.")
    assert retires_in(project, 1) == timedelta(days=30)

    # What was archived was carried over, too.
    project.open_provider_keys()
    project.page.get_by_text("Archived (1)").click()
    owner.press("Restore the Groq key")
    expect(project.provider_row("Groq")).to_be_visible()
    assert client.fetch(new, "groq") == client.fetch(old, "groq") == archived

    project.open_key_page()
    with client.fetching(old, "openai") as fetches:
        project.act(1, "Retire now")
        project.confirm("Retire now")
        expect(project.row(1)).to_have_count(0)
        fetches.wait_for_more()
        assert client.fetch(new, "openai") == openai
    assert set(fetches.values) == {openai}
    assert fetches.refusals
    # At most one was past its challenge, where the client passes on the status of its token or of its fetch.
    others = [refusal for refusal in fetches.refusals if "No project found" not in refusal]
    assert len(others) <= 1
    under_way = re.compile(r"Failed to (request access token|fetch provider key) \(status: 401\b")
    assert all(under_way.search(refusal) for refusal in others)

    # The admin's browser opens what the owner's handed over.
    admin = people.signed_in("admin", team.admin)
    theirs = project.as_seen_by(admin)
    theirs.open_provider_keys()
    admin.press("Reveal the OpenAI key")
    asked = admin.page.get_by_role("dialog", name="Is this Owner")
    assert fingerprint_in(asked) == fingerprint_known(ground, team.owner.email)
    asked.get_by_role("button", name="It is the same").click()
    assert theirs.shown(admin.page.locator(".secret")) == openai


def retires_in(project: Project, generation: int) -> timedelta:
    """To the minute."""
    shown = project.row(generation).locator("[data-label=State] time").get_attribute("datetime")
    assert shown is not None
    left = datetime.fromisoformat(shown) - datetime.now(UTC)
    return timedelta(minutes=math.ceil(left / timedelta(minutes=1)))


def test_a_key_that_cannot_be_carried_over(people: People, ground: Ground, team: Team, client: Client) -> None:
    """Somebody damaged a box: nothing is dropped that the person has not agreed to drop."""
    owner = people.signed_in("owner", team.owner)
    project = make_project(owner, team.organization_id, "Damaged")
    old = project.make_key()
    openai, mistral = secret("sk-openai"), secret("mistral")
    project.open_provider_keys()
    project.add_provider_key("OpenAI", openai)
    project.add_provider_key("Mistral", mistral)
    damage = ProjectKeyPair().seal("sealed to nobody")
    in_schema(
        ground,
        team.schema,
        "UPDATE {schema}.vault_box SET sealed = %s FROM {schema}.vault_providerkey k"
        " WHERE k.id = provider_key_id AND k.provider = 'mistral' AND k.project_id = %s",
        [damage, project.id],
    )
    project.begin_rotation()
    owner.page.get_by_role("group", name="1 provider key can’t be opened").wait_for()
    rotated = len([path for path in owner.paths if path.endswith("/rotate")])
    owner.press("Rotate the key")
    leave = owner.page.get_by_role("checkbox", name="Leave mistral behind")
    assert leave.evaluate("box => box.matches(':invalid')")
    assert len([path for path in owner.paths if path.endswith("/rotate")]) == rotated
    leave.check()
    owner.press("Rotate the key")
    new = project.stored_key()
    assert client.fetch(new, "openai") == client.fetch(old, "openai") == openai
    assert client.refusal(new, "mistral")
    # Entered again, it opens with both.
    again = secret("mistral")
    project.open_provider_keys()
    project.replace_provider_key("Mistral", again)
    project.sees_message("The Mistral key is replaced.")
    assert client.fetch(new, "mistral") == client.fetch(old, "mistral") == again


def test_two_rotations_at_once_and_back(people: People, ground: Ground, client: Client) -> None:
    """One wins, the other is told to look again; nobody loses anything. Then the older key is taken back."""
    team = ground.team()
    owner, admin = people.signed_in("owner", team.owner), people.signed_in("admin", team.admin)
    project, first = project_of(owner, team)
    value = secret("sk-openai")
    project.open_provider_keys()
    project.add_provider_key("OpenAI", value)
    sides = {owner: (project, team.admin.email), admin: (project.as_seen_by(admin), team.owner.email)}
    for side, other in sides.values():
        side.begin_rotation()
        side.keep_access_of(other)
    with client.fetching(first, "openai") as fetches:
        for side, _ in sides.values():
            side.person.press("Rotate the key")
        told = "changed|Start again|start again|meanwhile"
        for side, _ in sides.values():
            won = side.page.get_by_role("heading", name="Your new ANY_LLM_KEY")
            lost = side.page.locator(".toast", has_text=re.compile(told))
            expect(won.or_(lost).first).to_be_visible()
        [winner] = [side for side, _ in sides.values() if side.page.locator(".secret").count()]
        [loser] = [side for side, _ in sides.values() if side is not winner]
        second = winner.stored_key()
        loser.sees_heading("Rotate the ANY_LLM_KEY")
        loser.person.press("Rotate the key")
        third = loser.stored_key()
        fetches.wait_for_more()
    assert fetches.refusals == []
    for key in (first, second, third):
        assert client.fetch(key, "openai") == value

    winner.open_key_page()
    for generation, state in [(1, "retiring"), (2, "retiring"), (3, "active")]:
        winner.sees_state(generation, state)
    winner.act(2, "Roll back")
    winner.choose_overlap("24 hours")
    winner.confirm("Roll back")
    winner.sees_message("The old key is the project’s key again.")
    winner.sees_state(2, "active")
    winner.sees_state(3, "retiring")
    assert retires_in(winner, 3) == timedelta(hours=24)
    for key in (first, second, third):
        assert client.fetch(key, "openai") == value
    # The next one is numbered on.
    fourth = winner.rotate(overlap="It ends at once")
    winner.sees_state(4, "active")
    expect(winner.row(2)).to_have_count(0)
    assert "No project found" in client.refusal(second, "openai")
    assert client.fetch(fourth, "openai") == value


def test_a_key_set_by_the_command_line(people: People, ground: Ground, team: Team, client: Client) -> None:
    owner = people.signed_in("owner", team.owner)
    project = make_project(owner, team.organization_id, "From the shell")
    old = project.make_key()
    value = secret("sk-openai")
    project.open_provider_keys()
    project.add_provider_key("OpenAI", value)

    def from_cli() -> str:
        key, public_key = client.key_pair()
        add_any_llm_key(ground.canaries, key)
        set_key_from_cli(ground, team.organization_id, project.id, public_key)
        return key

    # It was never printed: undone.
    lost = from_cli()
    project.open_key_page()
    project.sees_message("A rotation from the command line is not finished")
    project.sees_state(2, "not used yet")
    expect(owner.page.get_by_role("button", name="Rotate the key")).to_have_count(0)
    assert client.fetch(old, "openai") == value
    owner.press("Undo")
    project.confirm("Undo")
    project.sees_message("The rotation was undone.")
    expect(project.row(2)).to_have_count(0)
    project.sees_state(1, "active")
    assert "No project found" in client.refusal(lost, "openai")
    assert client.fetch(old, "openai") == value

    # Run twice: the first run's key is no key any more.
    discarded, kept = from_cli(), from_cli()
    assert "No project found" in client.refusal(discarded, "openai")
    assert client.fetch(old, "openai") == value
    project.open_key_page()
    project.page.get_by_role("button", name="Paste the new key").click()
    field = owner.page.get_by_role("dialog").get_by_label("ANY_LLM_KEY", exact=True)
    field.fill(discarded)
    owner.press("Keep it")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill(kept)
    owner.press("Keep it")
    project.sees_message("You hold this project’s key now.")
    project.sees_state(4, "active")
    assert retires_in(project, 1) == timedelta(hours=72)
    assert client.fetch(old, "openai") == value
    # The command line would have sealed for it; here nobody did, and the page says so.
    assert client.refusal(kept, "openai")
    project.open_provider_keys()
    expect(project.seal("OpenAI")).to_have_text("Not for every key")
    project.replace_provider_key("OpenAI", value)
    project.sees_message("The OpenAI key is replaced.")
    expect(project.seal("OpenAI")).to_have_text("Sealed by you")
    assert client.fetch(kept, "openai") == client.fetch(old, "openai") == value

    # Used before anybody pasted it, it counts as proven.
    used = from_cli()
    assert client.refusal(used, "openai")
    project.open_key_page()
    project.sees_state(5, "active")
    owner.press("Paste the ANY_LLM_KEY")
    owner.page.get_by_role("dialog").get_by_label("ANY_LLM_KEY", exact=True).fill(used)
    owner.press("Keep it")
    project.sees_message("You hold this project’s key now.")
    project.sees_state(5, "active")
    expect(owner.page.get_by_role("button", name="Paste the ANY_LLM_KEY")).to_have_count(0)


def test_archived_and_deleted(people: People, team: Team, client: Client) -> None:
    owner = people.signed_in("owner", team.owner)
    project = make_project(owner, team.organization_id, "Short lived", "Staging")
    key = project.make_key()
    value = secret("sk-openai")
    project.open_provider_keys()
    project.add_provider_key("OpenAI", value)
    owner.visit(f"{project.base}settings/")
    owner.press("Archive the project")
    project.confirm("Archive")
    project.sees_message("This project is archived")
    assert client.refusal(key, "openai")
    owner.visit(f"/o/{team.organization_id}/")
    expect(owner.page.get_by_role("heading", name="Short lived")).to_have_count(0)
    owner.page.get_by_role("link", name="archived project").click()
    owner.page.get_by_role("link", name="Staging").click()
    owner.page.get_by_role("link", name="restore it in the settings").click()
    owner.press("Restore the project")
    expect(owner.page.get_by_text("This project is archived")).to_have_count(0)
    assert client.fetch(key, "openai") == value
    owner.visit(f"{project.base}settings/")
    owner.press("Archive the project")
    project.confirm("Archive")
    project.sees_message("This project is archived")
    owner.visit(f"{project.base}settings/")
    owner.page.get_by_label("Type the project’s name to delete it").fill("Short lived")
    owner.press("Delete for good")
    project.confirm("Delete for good")
    project.sees_message("was deleted")
    assert owner.visit(project.base).status == 404
    assert "No project found" in client.refusal(key, "openai")
