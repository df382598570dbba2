"""Walks through the pages of an organization, its projects and its people, in the states that people see them in."""

import re
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import expect

from tests.e2e.ground import Ground, Resident
from tests.e2e.people import People, Person
from tests.e2e.project_pages import Project


def make_scenery(ground: Ground) -> dict[str, Any]:
    """What tests.e2e.scenery made: ids of organizations and projects, and the people."""
    made: dict[str, Any] = ground.control.ask("scenery")
    return made


def organization(people: People, scenery: dict[str, Any]) -> Iterator[tuple[Person, str]]:
    """Names of the owner's pages, each while she is there."""
    owner = people.signed_in("ada", Resident(**scenery["people"]["owner"]))
    base, empty, projects = f"/o/{scenery['organization_id']}/", f"/o/{scenery['empty_id']}/", scenery["projects"]
    for name, path in [
        ("organizations", "/o/?all"),
        ("organization-new", "/o/new/"),
        ("projects", base),
        ("projects-empty", empty),
        ("projects-archived", f"{base}projects/archived/"),
        ("project-new", f"{base}projects/new/"),
        ("project-settings", f"{base}projects/{projects['full']}/settings/"),
        ("project-settings-archived", f"{base}projects/{projects['archived']}/settings/"),
        ("clients", f"{base}projects/{projects['full']}/clients/"),
        ("clients-none", f"{base}projects/{projects['staging']}/clients/"),
        ("members", f"{base}members/"),
        ("members-alone", f"{empty}members/"),
        ("invite", f"{base}members/invite/"),
        ("checklists", f"{base}members/checklists/"),
        ("checklist", f"{base}members/checklists/{projects['staging']}/"),
        ("activity", f"{base}activity/"),
        ("organization-settings", f"{base}settings/"),
        ("organization-deleting", f"/o/{scenery['leaving_id']}/deleting/"),
        ("connect", f"/welcome/{scenery['organization_id']}/projects/{projects['full']}/connect/"),
        ("not-found-signed-in", f"{base}nowhere/"),
    ]:
        owner.visit(path)
        yield owner, name
    owner.visit(base)
    owner.page.locator("header details.menu summary").first.click()
    yield owner, "organization-menu"
    owner.visit(f"{base}members/")
    owner.page.get_by_role("link", name="Change").nth(2).click()
    yield owner, "member"
    owner.visit(f"{owner.page.url.removeprefix(owner.ground.url)}remove/")
    yield owner, "member-remove"
    owner.visit(f"{base}members/")
    owner.page.get_by_role("link", name="Confirm").first.click()
    expect(owner.page.locator("[data-state=ready]")).to_be_visible()
    yield owner, "member-confirm"
    project = Project(owner, scenery["organization_id"], projects["full"])
    yield from _provider_keys(project, projects)
    yield from _any_llm_key(project, projects)


def _provider_keys(project: Project, projects: dict[str, str]) -> Iterator[tuple[Person, str]]:
    person, page = project.person, project.page
    for label in ("forged", "bare", "long-staging", "full"):
        project.id = projects[label]
        project.open_provider_keys()
        page.wait_for_load_state("networkidle")
        yield person, f"provider-keys-{label}"
    page.locator("details.archived-keys > summary").click()
    yield person, "provider-keys-archived"
    page.locator("details.archived-keys > summary").click()
    page.locator("[data-add]").click()
    yield person, "provider-key-add"
    page.get_by_role("searchbox").fill("cere")
    page.get_by_role("radio").locator("visible=true").first.check()
    yield person, "provider-key-add-chosen"
    page.keyboard.press("Escape")
    project.open_more("OpenAI")
    yield person, "provider-key-more"
    page.keyboard.press("Escape")
    person.press("Reveal the OpenAI key")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    if dialog.get_by_label("Password", exact=True).count():
        yield person, "reauthentication"
        person.answer_password()
    expect(dialog.locator(".secret")).to_be_visible()
    yield person, "provider-key-reveal"
    page.keyboard.press("Escape")


def _any_llm_key(project: Project, projects: dict[str, str]) -> Iterator[tuple[Person, str]]:
    person = project.person
    for label in ("bare", "forged", "cli", "full"):
        project.id = projects[label]
        project.open_key_page()
        yield person, f"any-llm-key-{label}"
    project.id = projects["long-staging"]
    project.begin_rotation()
    yield person, "any-llm-key-rotate"
    person.press("Rotate the key")
    project.sees_heading("Your new ANY_LLM_KEY")
    yield person, "any-llm-key-new"


def onboarding(people: People, scenery: dict[str, Any]) -> Iterator[tuple[Person, str]]:
    """The first steps of somebody who signed up a moment ago."""
    person = people("nora")
    person.sign_up("nora.first@example.com", "a mill of one’s own 1842", "Nora’s workshop")
    person.verify_email()
    yield person, "welcome-recovery-key"
    person.press("Create recovery key")
    expect(person.page.locator("[data-step=save]")).to_be_visible()
    yield person, "welcome-recovery-key-save"
    person.visit("/welcome/recovery-key/")
    person.press("Go without")
    dialog = person.page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    yield person, "welcome-recovery-key-decline"
    dialog.get_by_role("button", name=re.compile("Go without")).click()
    person.page.wait_for_url("**/project/")
    yield person, "welcome-project"
    person.fill(name="Assistant")
    person.press("Create the project")
    person.page.wait_for_url("**/provider-key/")
    expect(person.page.get_by_role("searchbox")).to_be_visible()
    yield person, "welcome-provider-key"
    person.visit(person.page.url.removeprefix(person.ground.url).replace("provider-key", "any-llm-key"))
    expect(person.page.locator("main")).to_be_visible()
    yield person, "welcome-any-llm-key"
    person.visit(person.page.url.removeprefix(person.ground.url).replace("any-llm-key", "connect"))
    yield person, "welcome-connect"
    visitor = people("visitor")
    visitor.visit(f"/invitations/{scenery['people']['invitation']}/")
    yield visitor, "invitation-signed-out"
    invited = people.signed_in("visitor", Resident(**scenery["people"]["visitor"]))
    invited.visit("/o/")
    yield invited, "organizations-none"
    for name in ("invitation", "other", "expired"):
        invited.visit(f"/invitations/{scenery['people'][name]}/")
        yield invited, "invitation" if name == "invitation" else f"invitation-{name}"
