"""Who belongs to an organization, in browsers: invited, confirmed, changed and removed, with the real client beside."""

import re
import secrets
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.client import Client, add_any_llm_key, real_client
from tests.e2e.ground import Ground, Team
from tests.e2e.keys import fingerprint_of
from tests.e2e.member_pages import Members, accept, grants, hire_developer, memberships, sign_up_invited
from tests.e2e.people import People
from tests.e2e.project_pages import COVERED, fingerprint_in, fingerprint_known, project_of


@pytest.fixture(scope="module")
def team(ground: Ground) -> Team:
    return ground.team()


@pytest.fixture(scope="module")
def client(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with real_client(ground, tmp_path_factory.mktemp("client")) as client:
        yield client


def secret(provider: str) -> str:
    return f"{provider}-{secrets.token_urlsafe(24)}"


def test_a_contributor_and_a_developer_join(
    people: People, ground: Ground, team: Team, client: Client, axe: Callable[[Page], None]
) -> None:
    owner = people.signed_in("owner", team.owner)
    project, key = project_of(owner, team)
    members = Members(owner, team.organization_id)
    members.open()
    expect(owner.page.get_by_text("Nobody is invited at the moment.")).to_be_visible()
    axe(owner.page)

    # The contributor is new here.
    carla, email = people("carla"), f"carla-{secrets.token_hex(4)}@example.com"
    link = members.invite(email, "Contributor")
    expect(members.row(email)).to_contain_text("Contributor")
    axe(owner.page)
    owner.visit(f"{members.base}members/invite/")
    axe(owner.page)
    carla.page.goto(link)
    axe(carla.page)
    sign_up_invited(carla, link, email)
    axe(carla.page)
    carla.press("Accept the invitation")
    carla.page.wait_for_url(f"**{members.base}")
    carla.sees_vault("unlocked")
    assert memberships(ground, team.organization_id, email) == ["contributor"]
    theirs = project.as_seen_by(carla)
    theirs.open_provider_keys()
    carla.page.locator("[data-add]").click()
    theirs.choose_provider("OpenAI")
    openai = secret("sk-openai")
    theirs.remember("OpenAI", openai)
    carla.page.get_by_role("dialog").get_by_label("OpenAI key").fill(openai)
    carla.press("Seal and save")
    carla.page.get_by_role("dialog", name="Is this the project’s key?").get_by_role(
        "button", name="Trust this key"
    ).click()
    expect(theirs.provider_row("OpenAI")).to_be_visible()
    axe(carla.page)
    assert grants(ground, team, email) == 0
    assert client.fetch(key, "openai") == openai
    # She wrote it and can't read it: not by a button, and not by asking for it.
    expect(carla.page.get_by_role("button", name="Reveal the OpenAI key")).to_have_count(0)
    Members(carla, team.organization_id).open()
    expect(carla.page.get_by_role("link", name="Invite somebody")).to_have_count(0)
    axe(carla.page)
    assert carla.visit(f"{members.base}members/invite/").status == 403

    # The developer has an account.
    dan = people.signed_in("dan")
    accept(dan, members.invite(dan.email, "Developer", "Search"))
    dans = Members(dan, team.organization_id)
    read = dans.own_fingerprint()
    axe(dan.page)
    theirs = project.as_seen_by(dan)
    theirs.open_key_page()
    theirs.sees_message("You don’t hold this key")
    members.open_confirmation(dan.email)
    axe(owner.page)
    assert members.shown_fingerprint("theirs") == read == fingerprint_known(ground, dan.email)
    assert members.shown_fingerprint("own") == fingerprint_known(ground, owner.email)
    members.hand_over(dan.email)
    axe(owner.page)
    assert grants(ground, team, dan.email) == 1

    # What the owner's browser sealed opens in his, after he compared who it is from.
    theirs.open_provider_keys()
    dan.press("Reveal the OpenAI key")
    asked = dan.page.get_by_role("dialog", name="Is this Owner")
    assert fingerprint_in(asked) == fingerprint_known(ground, owner.email)
    asked.get_by_role("button", name="It is the same").click()
    secret_shown = dan.page.locator(".secret")
    assert theirs.shown(secret_shown) == openai
    dan.page.get_by_role("dialog").get_by_role("button", name="Close").click()
    theirs.open_key_page()
    theirs.act(1, "Show again")
    assert opens_the_same(theirs.revealed(dan.page.get_by_role("dialog").locator(".secret")), key, ground)


def opens_the_same(shown: str, key: str, ground: Ground) -> bool:
    """Whether two ANY_LLM_KEYs have the same private key: the id in front of it is made up by `project_of`."""
    add_any_llm_key(ground.canaries, shown)
    return shown.partition("-")[2] == key.partition("-")[2]


def test_keys_that_changed_stop_the_owner(people: People, ground: Ground, axe: Callable[[Page], None]) -> None:
    team = ground.team()
    owner, dan = people.signed_in("owner", team.owner), people.signed_in("dan")
    project, key = project_of(owner, team)
    members = hire_developer(owner, dan, team, "Search")
    [vault, version, *_], before = fingerprint_of(ground, dan.email), fingerprint_known(ground, dan.email)
    dan.sign_out()
    dan.reset_password(f"dan forgot it all {secrets.token_hex(6)}")
    dan.sees_vault("unlocked")
    dan.remember_keys()
    assert fingerprint_of(ground, dan.email)[:2] == (vault, version + 1)
    theirs = project.as_seen_by(dan)
    theirs.open_key_page()
    theirs.sees_message("You don’t hold this key")

    members.open()
    expect(members.row(dan.email)).to_contain_text("keys changed")
    axe(owner.page)
    members.open_confirmation(dan.email)
    expect(owner.page.get_by_role("alert")).to_contain_text("Stop: this person’s keys changed")
    axe(owner.page)
    assert members.shown_fingerprint("before") == before
    assert members.shown_fingerprint("now") == fingerprint_known(ground, dan.email) != before
    # There is no way around comparing.
    expect(owner.page.get_by_role("button", name="hand over")).to_have_count(0)
    read = Members(dan, team.organization_id).own_fingerprint()
    axe(dan.page)
    assert members.shown_fingerprint("now") == read
    owner.press("I compared the new one")
    asked = owner.page.get_by_role("dialog")
    asked.get_by_role("button", name="Cancel").click()
    expect(owner.page.locator("[data-state=changed]")).to_be_visible()
    owner.press("I compared the new one")
    asked.get_by_role("button", name="We compared it").click()
    expect(owner.page.locator("[data-state=ready]")).to_be_visible()
    expect(owner.page.get_by_role("button", name="Hand over without comparing")).to_have_count(0)
    axe(owner.page)
    assert grants(ground, team, dan.email) == 1
    members.hand_over(dan.email)
    assert grants(ground, team, dan.email) == 2

    theirs.open_key_page()
    theirs.act(1, "Show again")
    dan.answer_password()
    asked = dan.page.get_by_role("dialog", name="Is this Owner")
    assert fingerprint_in(asked) == fingerprint_known(ground, owner.email)
    asked.get_by_role("button", name="It is the same").click()
    assert opens_the_same(theirs.revealed(dan.page.get_by_role("dialog").locator(".secret")), key, ground)


def test_a_removed_member_reaches_nothing(
    people: People, ground: Ground, client: Client, axe: Callable[[Page], None]
) -> None:
    team = ground.team()
    owner, dan = people.signed_in("owner", team.owner), people.signed_in("dan")
    project, old = project_of(owner, team)
    project.open_provider_keys()
    values = {name: secret(name.lower()) for name in ("OpenAI", "Mistral")}
    for name, value in values.items():
        project.add_provider_key(name, value)
    members = hire_developer(owner, dan, team, "Search")
    owner.visit(f"{members.base}members/checklists/")
    expect(owner.page.get_by_role("heading", name="Nothing is left to do")).to_be_visible()
    axe(owner.page)

    # He has pages open, his vault unlocked and the owner's keys known.
    theirs = project.as_seen_by(dan)
    theirs.open_provider_keys()
    dan.press("Reveal the OpenAI key")
    dan.page.get_by_role("dialog", name="Is this Owner").get_by_role("button", name="It is the same").click()
    assert theirs.shown(dan.page.locator(".secret")) == values["OpenAI"]
    dan.page.get_by_role("dialog").get_by_role("button", name="Close").click()
    stale = dan.page

    members.open()
    members.row(dan.email).get_by_role("link", name="Change").click()
    axe(owner.page)
    owner.page.get_by_role("link", name="Remove…").click()
    owner.sees("Remove")
    axe(owner.page)
    members.remove(dan.email)
    assert memberships(ground, team.organization_id, dan.email) == []
    assert grants(ground, team, dan.email) == 0

    asked_for = len(dan.paths)
    dan.press("Reveal the Mistral key")
    expect(stale.locator(".toast")).to_be_visible()
    expect(stale.locator(".secret-value")).to_have_text(COVERED)
    assert {exchange.status for exchange in dan.recorder.exchanges[asked_for:] if "/o/" in exchange.path} == {404}
    dan.page = dan.context.new_page()
    pages = ["", "members/", "activity/", "settings/", f"projects/{project.id}/", f"projects/{project.id}/key/"]
    for path in pages:
        assert dan.visit(f"{members.base}{path}").status == 404, path
    for path in (f"projects/{project.id}/keyset", f"projects/{project.id}/provider-keys"):
        answer = dan.context.request.get(f"{ground.url}{members.base}{path}", headers={"Accept": "application/json"})
        assert answer.status == 404, path
    dan.visit("/o/")
    dan.sees("No organization yet")
    # What he copied still works: this is what the checklist is for.
    assert client.fetch(old, "mistral") == values["Mistral"]

    owner.sees("Keys to rotate")
    axe(owner.page)
    row = owner.page.get_by_role("row").filter(has_text="Search")
    expect(row).to_contain_text("to rotate")
    expect(row).to_contain_text(f"{dan.email} was removed.")
    row.get_by_role("link", name="Open").click()
    axe(owner.page)
    banner = owner.page.get_by_text("This project’s keys are to be rotated")
    project.open_provider_keys()
    expect(banner).to_be_visible()
    axe(owner.page)
    members.open()
    expect(owner.page.get_by_text("Keys are to be rotated")).to_be_visible()
    axe(owner.page)
    checklist = f"{members.base}members/checklists/{project.id}/"
    project.open_provider_keys()
    project.replace_provider_key("OpenAI", values["OpenAI"] + "2")
    project.sees_message("The OpenAI key is replaced.")
    owner.visit(checklist)
    for provider, state in [("openai", "replaced since"), ("mistral", "not replaced")]:
        expect(owner.page.get_by_role("listitem").filter(has_text=provider).last).to_contain_text(state)
    axe(owner.page)
    # Until the old key ends, he gets what is replaced, too.
    assert client.fetch(old, "openai") == values["OpenAI"] + "2"
    new = project.rotate(team.admin.email, overlap="It ends at once")
    assert "No project found" in client.refusal(old, "openai")
    # What he could read before is still good at its provider.
    project.open_provider_keys()
    expect(banner).to_be_visible()
    project.replace_provider_key("Mistral", values["Mistral"] + "2")
    project.sees_message("The Mistral key is replaced.")
    project.open_provider_keys()
    expect(banner).to_have_count(0)
    owner.visit(checklist)
    expect(owner.page.get_by_role("heading", name="Nothing is left to do")).to_be_visible()
    axe(owner.page)
    members.open()
    expect(owner.page.get_by_text("Keys are to be rotated")).to_have_count(0)
    for name, value in values.items():
        assert client.fetch(new, name.lower()) == value + "2"


def test_an_invitation_is_accepted_once_and_by_one(
    people: People, ground: Ground, team: Team, axe: Callable[[Page], None]
) -> None:
    owner, vera, mallory = people.signed_in("owner", team.owner), people.signed_in("vera"), people.signed_in("mallory")
    members = Members(owner, team.organization_id)
    link = members.invite(vera.email, "Viewer")

    def closed(heading: str, status: int) -> None:
        response = mallory.page.goto(link)
        assert response is not None
        assert response.status == status
        mallory.sees(heading)
        axe(mallory.page)

    closed("This invitation is for another address", 403)
    forged = mallory.context.request.post(link, form={"csrfmiddlewaretoken": "none"})
    assert forged.status == 403
    assert memberships(ground, team.organization_id, mallory.email) == []
    expect(mallory.page.get_by_role("button", name="Accept the invitation")).to_have_count(0)

    # In two tabs, one after the other.
    vera.page.goto(link)
    late = vera.context.new_page()
    late.goto(link)
    axe(late)
    accept(vera, link)
    late.get_by_role("button", name="Accept the invitation").click()
    expect(late.get_by_text("already").first).to_be_visible()
    assert memberships(ground, team.organization_id, vera.email) == ["viewer"]
    closed("This invitation was accepted", 410)
    [link] = [link.rpartition("/invitations/")[0] + "/invitations/nothing-like-it/"]
    closed("No such invitation", 404)


def test_invitations_taken_back_run_out_and_sent_again(
    people: People, ground: Ground, team: Team, axe: Callable[[Page], None]
) -> None:
    owner, vera = people.signed_in("owner", team.owner), people.signed_in("vera")
    members = Members(owner, team.organization_id)
    link = members.invite(vera.email, "Viewer")
    vera.page.goto(link)
    members.take_back(vera.email)
    # The page was open already.
    vera.press("Accept the invitation")
    vera.sees("This invitation was taken back")
    axe(vera.page)
    assert memberships(ground, team.organization_id, vera.email) == []

    def move(column: str, interval: str) -> None:
        ground.query(
            f"UPDATE organizations_invitation SET {column} = now() - %s::interval WHERE email = %s",
            [interval, vera.email],
        )

    # A mail to her just went out: the next one waits.
    owner.visit(f"{members.base}members/invite/")
    owner.fill(e_mail=vera.email)
    owner.page.get_by_role("radio", name=re.compile("^Viewer")).check()
    owner.press("Send the invitation")
    owner.is_told("Wait a minute before you send another.")
    axe(owner.page)
    move("sent_at", "1 hour")
    link = members.invite(vera.email, "Viewer")
    move("expires_at", "1 day")
    vera.page.goto(link)
    vera.sees("This invitation has run out")
    axe(vera.page)
    members.open()
    expect(members.row(vera.email)).to_contain_text("expired")
    axe(owner.page)
    assert memberships(ground, team.organization_id, vera.email) == []

    move("sent_at", "1 hour")
    owner.press(f"Send again to {vera.email}")
    owner.is_told(f"We sent an invitation to {vera.email}.")
    again = members.mailed_link(vera.email)
    vera.page.goto(link)
    vera.sees("No such invitation")
    accept(vera, again)
    assert memberships(ground, team.organization_id, vera.email) == ["viewer"]
