"""What people do on the pages of a project. Every secret they type or see is told to the ground."""

import re
from dataclasses import dataclass
from typing import Any

from playwright.sync_api import Locator, Page, expect

from cryptokit import statements
from devstack.browser import ProjectKeyPair
from tests.e2e.client import add_any_llm_key
from tests.e2e.ground import Ground, Team
from tests.e2e.keys import fingerprint_of
from tests.e2e.people import Person

UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
COVERED = re.compile("^•+$")


@dataclass
class Project:
    """A project at its address, as one person sees it."""

    person: Person
    organization_id: str
    id: str

    @property
    def page(self) -> Page:
        return self.person.page

    @property
    def base(self) -> str:
        return f"/o/{self.organization_id}/projects/{self.id}/"

    def as_seen_by(self, person: Person) -> "Project":
        return Project(person, self.organization_id, self.id)

    # --- ANY_LLM_KEY ---

    def open_key_page(self) -> None:
        self.person.visit(f"{self.base}key/")
        expect(self.page.locator("[data-key-page] h2").first).to_be_visible()

    def make_key(self) -> str:
        """The first one."""
        self.open_key_page()
        self.person.press("Make the key")
        return self.stored_key()

    def stored_key(self) -> str:
        """The new key that the page shows, put away by the person."""
        self.sees_heading("Your new ANY_LLM_KEY")
        key = self.revealed(self.page.locator(".secret"))
        add_any_llm_key(self.person.ground.canaries, key)
        self.person.press("I stored it")
        self.sees_heading("ANY_LLM_KEY")
        return key

    def begin_rotation(self) -> None:
        """Up to the questions."""
        self.open_key_page()
        self.person.press("Rotate the key")
        self.sees_heading("Rotate the ANY_LLM_KEY")

    def choose_overlap(self, label: str) -> None:
        self.page.get_by_role("radio", name=re.compile(f"^{label}")).check()

    def keep_access_of(self, email: str) -> None:
        """The fingerprint beside the name was compared."""
        self.page.locator(".field-check", has_text=email).get_by_role("checkbox").check()

    def rotate(self, *others: str, overlap: str = "72 hours") -> str:
        """The new key. `others` are the addresses of members whose keys were not known."""
        self.begin_rotation()
        self.choose_overlap(overlap)
        for email in others:
            self.keep_access_of(email)
        self.person.press("Rotate the key")
        return self.stored_key()

    def row(self, generation: int) -> Locator:
        return self.page.get_by_role("row").filter(
            has=self.page.get_by_role("rowheader", name=re.compile(rf"Generation {generation}\b"))
        )

    def act(self, generation: int, action: str) -> None:
        """A button of a generation's row."""
        self.row(generation).get_by_role("button", name=re.compile(f"^{action}")).click()

    def confirm(self, button: str, *, typed: str | None = None) -> None:
        """In the dialog that asks."""
        dialog = self.page.get_by_role("dialog")
        if typed is not None:
            dialog.get_by_role("textbox").fill(typed)
        dialog.get_by_role("button", name=button, exact=True).click()
        expect(dialog).to_have_count(0)

    def sees_state(self, generation: int, state: str) -> None:
        expect(self.row(generation).get_by_text(state, exact=True)).to_be_visible()

    # --- Provider keys ---

    def open_provider_keys(self) -> None:
        self.person.visit(self.base)
        expect(self.page.locator("[data-keys] > :not([data-seal-summary])").first).to_be_visible()

    def add_provider_key(self, label: str, value: str) -> None:
        """On the page of provider keys, which stays."""
        self.remember(label, value)
        self.page.locator("[data-add]").click()
        self.choose_provider(label)
        if value:
            self.page.get_by_role("dialog").get_by_label(f"{label} key").fill(value)
        self.person.press("Seal and save")
        expect(self.page.get_by_role("dialog")).to_have_count(0)
        expect(self.provider_row(label)).to_be_visible()

    def choose_provider(self, label: str) -> None:
        self.page.get_by_role("searchbox").fill(label)
        self.page.get_by_role("radio", name=re.compile(rf"^{re.escape(label)}\b")).first.check()

    def replace_provider_key(self, label: str, value: str) -> None:
        """Up to what the server says."""
        self.remember(label, value)
        self.person.press(f"Replace the {label} key")
        self.page.get_by_role("dialog").get_by_label(f"{label} key").fill(value)
        self.person.press("Seal and replace")

    def remember(self, label: str, value: str) -> None:
        if value:
            self.person.ground.canaries.add(f"{label} key", value)

    def provider_row(self, label: str) -> Locator:
        return self.page.get_by_role("row").filter(
            has=self.page.get_by_role("rowheader", name=re.compile(rf"^{label}"))
        )

    def open_more(self, label: str) -> Locator:
        self.person.press(f"More about the {label} key")
        return self.page.get_by_role("dialog")

    def reveal(self, label: str) -> str:
        self.person.press(f"Reveal the {label} key")
        secret = self.page.get_by_role("dialog").locator(".secret")
        value = self.shown(secret)
        secret.locator("xpath=ancestor::dialog").get_by_role("button", name="Close").click()
        return value

    def seal(self, label: str) -> Locator:
        return self.provider_row(label).locator(".seal-badge")

    # --- Pieces ---

    def revealed(self, secret: Locator) -> str:
        secret.get_by_role("button", name="Reveal").click()
        return self.shown(secret)

    def shown(self, secret: Locator) -> str:
        code = secret.locator(".secret-value")
        expect(code).not_to_have_text(COVERED)
        return code.inner_text()

    def sees_heading(self, text: str) -> None:
        expect(self.page.get_by_role("heading", level=2, name=text, exact=True)).to_be_visible()

    def sees_message(self, text: str) -> None:
        self.person.is_told(text)


def make_project(person: Person, organization_id: str, name: str, environment: str = "Production") -> Project:
    """By the form, up to the page behind it."""
    person.visit(f"/o/{organization_id}/projects/new/")
    person.page.get_by_label("Name", exact=True).fill(name)
    person.page.get_by_role("radio", name=environment).check()
    person.press("Create the project")
    person.page.wait_for_url(re.compile(rf"/projects/{UUID}/"))
    return project_at(person)


def project_at(person: Person) -> Project:
    """The one whose page the person looks at."""
    found = re.search(rf"/(?:o|welcome)/({UUID})/projects/({UUID})/", person.page.url)
    assert found is not None, person.page.url
    return Project(person, found[1], found[2])


def project_of(person: Person, team: Team) -> tuple[Project, str]:
    """A team's project and its first ANY_LLM_KEY."""
    key = ProjectKeyPair(bytes.fromhex(team.private_key)).any_llm_key
    add_any_llm_key(person.ground.canaries, key)
    return Project(person, team.organization_id, team.project_id), key


def fingerprint_in(place: Locator) -> str:
    """The one fingerprint shown there, in groups of four."""
    shown = place.locator(".fingerprint-groups span")
    expect(shown).to_have_count(8)
    return " ".join(shown.all_inner_texts())


def fingerprint_known(ground: Ground, email: str) -> str:
    """By what the server has of somebody."""
    vault, version, *public_keys = fingerprint_of(ground, email)
    return statements.fingerprint(statements.identity(vault, version, *map(bytes, public_keys)))


def in_schema(ground: Ground, team_schema: str, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Rows of an organization's own tables, past the product."""
    return ground.query(sql.replace("{schema}", f'"{team_schema}"'), parameters)


def set_key_from_cli(ground: Ground, organization_id: str, project_id: str, public_key: bytes) -> None:
    """What the platform does when `any-llm key generate` asks it to."""
    ground.control.ask(
        "set_key_from_cli", organization_id=organization_id, project_id=project_id, public_key=public_key.hex()
    )
