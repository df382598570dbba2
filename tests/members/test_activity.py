"""The trail: every action has words, pages narrow it down, and names can't become markup."""

import string

import pytest

from apps.accounts.deletion import DeletionRefusedError, delete_account, deletion_obstacles
from apps.audit.actions import ACTIONS
from apps.audit.models import Entry
from apps.audit.selectors import KINDS, line
from apps.audit.services import record
from apps.organizations.models import Membership
from apps.vault.models import Grant
from apps.vault.services import store_self_grant
from tenancy import tenant_scope
from tests.cast import Member, Workspace

DETAILS = {
    "role", "recipient", "provider", "client", "token", "kept", "name", "note", "percent", "reason", "events", "before", "start",
}  # fmt: skip


@pytest.mark.parametrize("action", list(ACTIONS))
def test_every_action_is_of_a_kind_and_reads_as_a_sentence(acme: Workspace, alice: Member, action: str) -> None:
    assert action.partition(".")[0] in KINDS
    names = {name for _, name, _, _ in string.Formatter().parse(ACTIONS[action]) if name}
    assert names <= DETAILS | {"subject"}
    with tenant_scope(acme.organization):
        record(action, actor=alice.user)
        detail = {name: f"<{name}>" for name in names - {"subject"}}
        entry = Entry.objects.create(action=action, actor="alice", subject="S", detail=detail)
        parts = line(entry).parts
    text = "".join(part.text for part in parts)
    assert text == ACTIONS[action].format(subject="S", **detail)
    assert {part.text for part in parts if part.is_value} == {
        "S" if name == "subject" else f"<{name}>" for name in names
    }


def test_entries_that_know_less_or_are_of_the_past_are_still_shown(acme: Workspace) -> None:
    with tenant_scope(acme.organization):
        entry = Entry.objects.create(action="member.invited", subject="bob@example.com")
        assert "".join(part.text for part in line(entry).parts) == "invited bob@example.com as …"
        assert line(entry).actor == "any-llm platform"
        gone = Entry.objects.create(action="something.gone")
        assert [part.text for part in line(gone).parts] == ["something.gone"]


def test_the_page_narrows_down_by_person_and_kind(acme: Workspace, alice: Member) -> None:
    bob = acme.join("bob", Membership.Role.VIEWER)
    with tenant_scope(acme.organization):
        record("project.created", actor=alice.user, subject="<b>Storefront</b>")
        record("member.left", actor=bob.user)
    browser = alice.browser()
    page = browser.get(acme.url("activity/")).content.decode()
    assert "&lt;b&gt;Storefront&lt;/b&gt;" in page
    assert "<b>Storefront" not in page
    page = browser.get(acme.url(f"activity/?person={bob.user.id}")).content.decode()
    assert "left the organization" in page
    assert "created the project" not in page
    page = browser.get(acme.url("activity/?kind=project")).content.decode()
    assert "created the project" in page
    assert "left the organization" not in page
    for wrong in ("kind=nothing", "person=nobody", "page=999&kind=x", "person=%00"):
        answer = browser.get(acme.url(f"activity/?{wrong}"))
        assert answer.status_code == 200


def test_pages_of_a_long_trail(acme: Workspace, alice: Member) -> None:
    with tenant_scope(acme.organization):
        for number in range(60):
            record("project.changed", actor=alice.user, subject=f"number {number}")
    browser = alice.browser()
    first = browser.get(acme.url("activity/?kind=project")).content.decode()
    assert "number 59<" in first
    assert "number 5<" not in first
    assert "number 5<" in browser.get(acme.url("activity/?kind=project&page=2")).content.decode()


def test_an_account_is_deleted_with_its_grants_but_not_while_it_owns_alone(acme: Workspace, alice: Member) -> None:
    bob = acme.join("bob", Membership.Role.ADMIN)
    with tenant_scope(acme.organization):
        own = bob.account.self_grant(acme.organization.id, acme.project.id, 1, acme.key)
        store_self_grant(project=acme.project, generation=1, vault=bob.user.vault, envelope=own)
    [obstacle] = deletion_obstacles(alice.user)
    assert "only owner of Acme" in obstacle.text
    assert obstacle.href == acme.url("members/")
    with pytest.raises(DeletionRefusedError):
        delete_account(user=alice.user)
    assert deletion_obstacles(bob.user) == []
    delete_account(user=bob.user)
    with tenant_scope(acme.organization):
        assert not Grant.objects.filter(recipient_vault=bob.account.vault_id).exists()
        acme.project.refresh_from_db()
        assert acme.project.rotation_required_since is not None
        assert Entry.objects.filter(action="member.left", actor_id=bob.user.id).exists()
