"""What people do on the pages about who belongs to an organization. Every secret they type is told to the ground."""

import re
import secrets
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

from tests.e2e.ground import Ground, Team
from tests.e2e.keys import fingerprint_of
from tests.e2e.people import Person
from tests.e2e.project_pages import UUID, fingerprint_in, in_schema

ENTERED = re.compile(rf"/o/{UUID}/$")


@dataclass
class Members:
    """The members of an organization, as one of them sees them."""

    person: Person
    organization_id: str

    @property
    def page(self) -> Page:
        return self.person.page

    @property
    def base(self) -> str:
        return f"/o/{self.organization_id}/"

    def open(self) -> None:
        self.person.visit(f"{self.base}members/")
        self.person.sees("Members")

    def row(self, email: str) -> Locator:
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("rowheader").filter(has_text=email))

    # --- Invitations ---

    def invite(self, email: str, role: str, *projects: str) -> str:
        """The link in the mail that came of it. `projects` by name, for a developer."""
        self.person.visit(f"{self.base}members/invite/")
        self.person.fill(e_mail=email)
        self.page.get_by_role("radio", name=re.compile(f"^{role}")).check()
        for project in projects:
            self.page.get_by_role("checkbox", name=re.compile(rf"^{project} ")).check()
        self.person.press("Send the invitation")
        self.person.is_told(f"We sent an invitation to {email}.")
        return self.mailed_link(email)

    def mailed_link(self, email: str) -> str:
        return self.person.ground.mailbox.wait_for(email, "invites you").link("/invitations/")

    def take_back(self, email: str) -> None:
        self.open()
        self.person.press(f"Take back the invitation of {email}")
        self.page.get_by_role("dialog").get_by_role("button", name="Take back", exact=True).click()
        self.person.is_told(f"The invitation of {email} is taken back")

    # --- Keys ---

    def own_fingerprint(self) -> str:
        """As one's own page shows it to read to somebody."""
        self.open()
        return fingerprint_in(self.page.locator("[data-own-fingerprint]"))

    def open_confirmation(self, email: str) -> None:
        """The page where fingerprints are compared."""
        self.open()
        self.row(email).get_by_role("link", name=re.compile("^(Confirm|Hand over keys)$")).click()
        expect(self.page.locator("[data-state]:not([hidden])")).to_be_visible()

    def shown_fingerprint(self, place: str) -> str:
        """`theirs` or `own`; `before` and `now` where keys changed."""
        return fingerprint_in(self.page.locator(f'[data-fingerprint="{place}"]'))

    def hand_over(self, email: str, button: str = "I compared it: hand over") -> None:
        """With the password, where it was not asked for a moment ago."""
        self.person.press(button)
        asked = self.page.get_by_role("dialog")
        done = self.page.get_by_role("heading", level=1, name="Members", exact=True)
        expect(asked.or_(done).first).to_be_visible()
        if asked.count():
            self.person.answer_password()
        expect(done).to_be_visible()
        expect(self.row(email)).to_contain_text("holds keys of")

    # --- The end of a membership ---

    def remove(self, email: str) -> None:
        self.open()
        self.row(email).get_by_role("link", name="Change").click()
        self.page.get_by_role("link", name="Remove…").click()
        self.person.sees("Remove")
        self.person.press("Remove")
        self.person.is_told("is removed and can't enter")


def accept(person: Person, link: str) -> None:
    """Signed in with the address that was invited; up to the organization's first page."""
    person.page.goto(link)
    person.press("Accept the invitation")
    person.page.wait_for_url(ENTERED)


def sign_up_invited(person: Person, link: str, email: str) -> None:
    """By the invitation: no organization is asked for. Up to the page that asks to accept."""
    person.email, person.password = email, f"{person.name} was invited {secrets.token_hex(6)}"
    person.ground.canaries.add(f"password of {email}", person.password)
    person.page.goto(link)
    person.page.get_by_role("link", name="Create an account").click()
    person.page.wait_for_url("**/accounts/signup/**")
    expect(person.page.get_by_label("Organization")).to_have_count(0)
    expect(person.page.get_by_label("E-mail", exact=True)).to_have_value(email)
    person.fill(password=person.password)
    person.press("Create account")
    person.page.wait_for_url("**/accounts/confirm-email/")
    person.remember_keys()
    person.verify_email()
    person.page.wait_for_url(link)


def hire_developer(owner: Person, developer: Person, team: Team, *projects: str) -> Members:
    """Somebody with an account becomes a developer, and is handed the keys after comparing. As the owner sees it."""
    members = Members(owner, team.organization_id)
    accept(developer, members.invite(developer.email, "Developer", *projects))
    members.open_confirmation(developer.email)
    members.hand_over(developer.email)
    return members


def grants(ground: Ground, team: Team, email: str) -> int:
    """How many keys are sealed for somebody, for any version of their keys."""
    vault, *_ = fingerprint_of(ground, email)
    [[number]] = in_schema(
        ground, team.schema, "SELECT count(*) FROM {schema}.vault_grant WHERE recipient_vault = %s", [vault]
    )
    assert isinstance(number, int)
    return number


def memberships(ground: Ground, organization_id: str, email: str) -> list[str]:
    """The roles that somebody has in an organization: one or none."""
    rows = ground.query(
        "SELECT m.role FROM organizations_membership m JOIN accounts_user u ON u.id = m.user_id"
        " WHERE m.organization_id = %s AND u.email = %s",
        [organization_id, email],
    )
    return [role for [role] in rows]
