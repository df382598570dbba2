"""Roles, removal, confirmation and grants: what they do, and what stays undone where they are refused."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from apps.audit.models import Entry
from apps.directory.models import ProjectKeyEntry
from apps.members import services
from apps.members.checklist import checklist, mark_done
from apps.members.selectors import Keys
from apps.members.selectors import member as member_row
from apps.organizations.access import NotAllowedError
from apps.organizations.models import Invitation, Membership
from apps.projects.models import Project, ProjectMember
from apps.projects.services import create_project
from apps.vault.grants import holdings, missing_grants, recipients
from apps.vault.models import Grant, ProviderKey
from apps.vault.services import store_self_grant
from devstack.browser import ProjectKeyPair
from tenancy import tenant_scope
from tests.cast import Member, Workspace

Role = Membership.Role


def proven(member: Member) -> Client:
    """A browser that is signed in and gave the password a moment ago."""
    client = member.browser()
    session = client.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
    session["account_authentication_methods_user"] = str(member.user.pk)
    session.save()
    return client


def membership(workspace: Workspace, member: Member) -> Membership:
    return Membership.objects.get(organization=workspace.organization, user=member.user)


def hold_own(workspace: Workspace) -> None:
    """The owner's own grant, as their browser makes one with the key."""
    with tenant_scope(workspace.organization):
        envelope = workspace.owner.account.self_grant(workspace.organization.id, workspace.project.id, 1, workspace.key)
        store_self_grant(project=workspace.project, generation=1, vault=workspace.owner.user.vault, envelope=envelope)


def envelope(workspace: Workspace, sender: Member, recipient: Member, key: ProjectKeyPair | None = None) -> str:
    return sender.account.grant_to(
        recipient.account.public, workspace.organization.id, workspace.project.id, 1, key or workspace.key
    )


def grant(workspace: Workspace, sender: Member, recipient: Member, **changes: Any) -> Any:
    """What the confirmation page posts."""
    body = {
        "account_key_version": 1,
        "grants": [
            {
                "project_id": str(workspace.project.id),
                "generation": 1,
                "envelope": envelope(workspace, sender, recipient),
            }
        ],
        **changes,
    }
    url = workspace.url(f"members/{membership(workspace, recipient).pk}/grants")
    return proven(sender).post(
        url, json.dumps(body), content_type="application/json", headers={"accept": "application/json"}
    )


def grants_of(workspace: Workspace, member: Member) -> list[Grant]:
    with tenant_scope(workspace.organization):
        return list(Grant.objects.filter(recipient_vault=member.account.vault_id))


def waiting(workspace: Workspace, name: str, role: Membership.Role) -> Member:
    """Somebody who accepted an invitation and waits for confirmation."""
    member = workspace.join(name, role)
    Membership.objects.filter(organization=workspace.organization, user=member.user).update(confirmed_at=None)
    return member


def add(workspace: Workspace, member: Member) -> None:
    with tenant_scope(workspace.organization):
        ProjectMember.objects.create(project=workspace.project, user_id=member.user.id)


# --- Confirmation ---


def test_confirming_hands_the_keys_on(acme: Workspace, alice: Member) -> None:
    hold_own(acme)
    bob = waiting(acme, "bob", Role.DEVELOPER)
    add(acme, bob)
    with tenant_scope(acme.organization):
        [missing] = missing_grants([membership(acme, bob)])
        assert missing.key.project == acme.project
        assert recipients(acme.project) == [membership(acme, alice)]
    answer = grant(acme, alice, bob)
    assert answer.status_code == 200, answer.content
    assert answer.json()["granted"] == 1
    [stored] = grants_of(acme, bob)
    opened = bob.account.open_grant_from(
        alice.account.public, acme.organization.id, acme.project.id, 1, acme.key.public, stored.envelope
    )
    assert opened == acme.key.private
    assert membership(acme, bob).confirmed_at is not None
    with tenant_scope(acme.organization):
        assert missing_grants([membership(acme, bob)]) == []
        assert {member.user for member in recipients(acme.project)} == {alice.user, bob.user}
        assert list(Entry.objects.order_by("-created_at", "-id").values_list("action", flat=True)[:2]) == [
            "grant.given",
            "member.confirmed",
        ]


def refused(acme: Workspace, bob: Member, answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.content
    assert grants_of(acme, bob) == []
    assert membership(acme, bob).confirmed_at is None


def test_grants_that_are_not_what_they_say_are_refused_and_nothing_is_stored(acme: Workspace, alice: Member) -> None:
    hold_own(acme)
    bob, eve = waiting(acme, "bob", Role.ADMIN), acme.join("eve", Role.ADMIN)
    project = {"project_id": str(acme.project.id), "generation": 1}

    def posted(text: str, **changes: Any) -> Any:
        return grant(acme, alice, bob, grants=[{**project, "envelope": text, **changes}])

    for text in (
        "",
        "G1." + "A" * 235,
        envelope(acme, eve, bob),  # signed by somebody else
        envelope(acme, alice, eve),  # for somebody else
        acme.owner.account.self_grant(acme.organization.id, acme.project.id, 1, acme.key),
    ):
        refused(acme, bob, posted(text), 422, "invalid_grant")
    refused(acme, bob, posted(envelope(acme, alice, bob), generation=2), 409, "recipient_changed")
    # One bad one among good ones: all or nothing.
    both = [
        {**project, "envelope": envelope(acme, alice, bob)},
        {**project, "generation": 7, "envelope": envelope(acme, alice, bob)},
    ]
    refused(acme, bob, grant(acme, alice, bob, grants=both), 409, "recipient_changed")


def test_keys_that_changed_since_they_were_looked_at_stop_it(acme: Workspace, alice: Member) -> None:
    hold_own(acme)
    bob = waiting(acme, "bob", Role.ADMIN)
    vault = bob.user.vault
    vault.account_key_version = 2
    vault.save()
    refused(acme, bob, grant(acme, alice, bob), 409, "recipient_changed")


def test_who_holds_no_key_can_hand_none_on(acme: Workspace, alice: Member) -> None:
    bob, carol = waiting(acme, "bob", Role.ADMIN), acme.join("carol", Role.ADMIN)
    refused(acme, bob, grant(acme, carol, bob), 403, "not_allowed")
    # Nor can they who wait themselves, not even for nothing.
    dave = waiting(acme, "dave", Role.ADMIN)
    refused(acme, bob, grant(acme, dave, bob, grants=[]), 403, "not_allowed")
    refused(acme, bob, grant(acme, bob, bob, grants=[]), 403, "not_allowed")


@pytest.mark.parametrize("role", [Role.DEVELOPER, Role.CONTRIBUTOR, Role.VIEWER])
def test_other_roles_confirm_nobody(acme: Workspace, role: Membership.Role) -> None:
    bob, carol = waiting(acme, "bob", Role.ADMIN), acme.join("carol", role)
    refused(acme, bob, grant(acme, carol, bob), 403, "not_allowed")


@pytest.mark.parametrize("role", [Role.CONTRIBUTOR, Role.VIEWER])
def test_roles_without_keys_are_given_none(acme: Workspace, alice: Member, role: Membership.Role) -> None:
    hold_own(acme)
    bob = waiting(acme, "bob", role)
    refused(acme, bob, grant(acme, alice, bob), 422, "invalid_grant")


def test_a_developer_is_given_no_project_they_are_not_in(acme: Workspace, alice: Member) -> None:
    hold_own(acme)
    bob = waiting(acme, "bob", Role.DEVELOPER)
    refused(acme, bob, grant(acme, alice, bob), 422, "invalid_grant")


def test_confirming_needs_a_fresh_proof_of_who_is_there(acme: Workspace, alice: Member) -> None:
    bob = waiting(acme, "bob", Role.ADMIN)
    url = acme.url(f"members/{membership(acme, bob).pk}/grants")
    answer = alice.browser().post(
        url,
        json.dumps({"account_key_version": 1, "grants": []}),
        content_type="application/json",
        headers={"accept": "application/json"},
    )
    refused(acme, bob, answer, 403, "reauthentication_required")


def test_a_grant_never_takes_the_place_of_ones_own_wrap(acme: Workspace, alice: Member) -> None:
    hold_own(acme)
    bob = acme.join("bob", Role.ADMIN)
    own = bob.account.self_grant(acme.organization.id, acme.project.id, 1, acme.key)
    with tenant_scope(acme.organization):
        store_self_grant(project=acme.project, generation=1, vault=bob.user.vault, envelope=own)
    assert grant(acme, alice, bob).status_code == 200
    assert [stored.envelope for stored in grants_of(acme, bob)] == [own]


# --- Roles ---


def set_access(workspace: Workspace, actor: Member, member: Member, role: str, *projects: Project) -> list[Project]:
    with tenant_scope(workspace.organization):
        return services.set_access(
            actor=membership(workspace, actor),
            membership_id=membership(workspace, member).pk,
            role=role,
            project_ids=[project.id for project in projects],
        )


def test_an_upgrade_to_a_role_with_keys_waits_for_confirmation(acme: Workspace, alice: Member) -> None:
    bob = acme.join("bob", Role.VIEWER)
    assert set_access(acme, alice, bob, Role.DEVELOPER, acme.project) == []
    assert membership(acme, bob).confirmed_at is None
    with tenant_scope(acme.organization):
        row = member_row(acme.organization, membership(acme, bob).pk)
        assert row is not None
        assert (row.keys, row.due, row.held) == (Keys.WAITING, 1, 0)


def test_a_downgrade_takes_grants_and_marks_what_they_held(acme: Workspace, alice: Member) -> None:
    hold_own(acme)
    bob = acme.join("bob", Role.ADMIN)
    assert grant(acme, alice, bob).status_code == 200
    assert set_access(acme, alice, bob, Role.DEVELOPER, acme.project) == []
    assert len(grants_of(acme, bob)) == 1
    assert set_access(acme, alice, bob, Role.CONTRIBUTOR) == [acme.project]
    assert grants_of(acme, bob) == []
    with tenant_scope(acme.organization):
        project = Project.objects.get(pk=acme.project.pk)
        assert project.rotation_required_since is not None
        assert bob.user.email in project.rotation_required_reason
        assert not ProjectMember.objects.filter(user_id=bob.user.id).exists()


def test_taking_a_project_from_a_developer_takes_its_keys_only(acme: Workspace, alice: Member) -> None:
    hold_own(acme)
    bob = acme.join("bob", Role.DEVELOPER)
    with tenant_scope(acme.organization):
        other = create_project(name="other")
        acme.add_key(other, ProjectKeyPair())
    set_access(acme, alice, bob, Role.DEVELOPER, acme.project, other)
    assert grant(acme, alice, bob).status_code == 200
    with tenant_scope(acme.organization):
        assert [holding.key.project for holding in missing_grants([membership(acme, bob)])] == [other]
        assert len(holdings([membership(acme, bob)])) == 2
    assert set_access(acme, alice, bob, Role.DEVELOPER, other) == [acme.project]
    assert grants_of(acme, bob) == []
    with tenant_scope(acme.organization):
        assert Project.objects.get(pk=other.pk).rotation_required_since is None


def test_only_owners_make_and_unmake_owners(acme: Workspace, alice: Member) -> None:
    admin, bob = acme.join("admin", Role.ADMIN), acme.join("bob", Role.VIEWER)
    for member, role in ((bob, Role.OWNER), (alice, Role.VIEWER), (admin, Role.OWNER)):
        with pytest.raises(NotAllowedError):
            set_access(acme, admin, member, role)
    with tenant_scope(acme.organization), pytest.raises(NotAllowedError):
        services.remove_member(actor=membership(acme, admin), membership_id=membership(acme, alice).pk)
    assert membership(acme, alice).role == Role.OWNER
    assert (membership(acme, bob).role, membership(acme, admin).role) == (Role.VIEWER, Role.ADMIN)


def test_the_last_owner_stays(acme: Workspace, alice: Member) -> None:
    with pytest.raises(services.LastOwnerError):
        set_access(acme, alice, alice, Role.ADMIN)
    with tenant_scope(acme.organization), pytest.raises(services.LastOwnerError):
        services.leave(actor=membership(acme, alice))
    assert membership(acme, alice).role == Role.OWNER
    bob = acme.join("bob", Role.OWNER)
    set_access(acme, alice, alice, Role.ADMIN)
    assert membership(acme, alice).role == Role.ADMIN
    with pytest.raises(services.LastOwnerError):
        set_access(acme, bob, bob, Role.VIEWER)


@pytest.mark.parametrize("role", ["", "root", "Owner"])
def test_there_are_no_other_roles(acme: Workspace, alice: Member, role: str) -> None:
    bob = acme.join("bob", Role.VIEWER)
    with pytest.raises(services.MemberError):
        set_access(acme, alice, bob, role)
    assert membership(acme, bob).role == Role.VIEWER


# --- Removal and what it leaves to do ---


def test_removal_ends_everything_of_theirs_at_once(acme: Workspace, alice: Member) -> None:
    hold_own(acme)
    bob = acme.join("bob", Role.ADMIN)
    assert grant(acme, alice, bob).status_code == 200
    with tenant_scope(acme.organization):
        services.invite(actor=membership(acme, bob), email="friend@example.com", role=Role.ADMIN)
    browser = bob.browser()
    assert browser.get(acme.url("members/")).status_code == 200
    answer = alice.browser().post(acme.url(f"members/{membership(acme, bob).pk}/remove/"))
    assert answer["Location"] == acme.url("members/checklists/")
    assert browser.get(acme.url("members/")).status_code == 404
    assert grants_of(acme, bob) == []
    assert not Invitation.objects.filter(invited_by=bob.user, revoked_at=None).exists()
    with tenant_scope(acme.organization):
        assert Project.objects.get(pk=acme.project.pk).rotation_required_reason == f"{bob.user.email} was removed."


def test_the_checklist_clears_itself_when_keys_were_rotated_and_replaced(acme: Workspace, alice: Member) -> None:
    hold_own(acme)
    provider_key = acme.add_provider_key("openai", "sk-old")
    bob = acme.join("bob", Role.ADMIN)
    assert grant(acme, alice, bob).status_code == 200
    with tenant_scope(acme.organization):
        [project] = services.remove_member(actor=membership(acme, alice), membership_id=membership(acme, bob).pk)
        found = checklist(project)
        assert found is not None
        assert (found.is_rotated, found.old_keys, found.are_providers_done) == (False, 1, False)
        assert [exposed.provider_key.provider for exposed in found.provider_keys] == ["openai"]
        # Everything was made before: move it behind, as a rotation and a replacement would.
        after = project.rotation_required_since
        assert after is not None
        ProviderKey.objects.filter(pk=provider_key.pk).update(updated_at=after + timedelta(seconds=1))
        found = checklist(project)
        assert found is not None
        assert found.are_providers_done
        assert not found.is_done
        ProjectKeyEntry.objects.filter(project_id=project.id).update(created_at=after + timedelta(seconds=1))
        assert checklist(project) is None
        assert Project.objects.get(pk=project.pk).rotation_required_since is None


def test_somebody_can_say_that_enough_was_done_and_that_is_on_record(acme: Workspace, alice: Member) -> None:
    acme.add_provider_key("openai", "sk-old")
    hold_own(acme)
    bob = acme.join("bob", Role.ADMIN)
    assert grant(acme, alice, bob).status_code == 200
    with tenant_scope(acme.organization):
        [project] = services.remove_member(actor=membership(acme, alice), membership_id=membership(acme, bob).pk)
        assert mark_done(project=project, actor=alice.user)
        assert not mark_done(project=project, actor=alice.user)
        entry = Entry.objects.get(action="project.rotation_dismissed")
        assert entry.detail == {"rotated": False, "providers": ["openai"]}


def test_an_account_that_goes_leaves_every_organization(acme: Workspace, globex: Workspace, alice: Member) -> None:
    hold_own(acme)
    bob = acme.join("bob", Role.ADMIN)
    Membership.objects.create(organization=globex.organization, user=bob.user, role=Role.VIEWER)
    assert grant(acme, alice, bob).status_code == 200
    services.leave_everything(user=bob.user)
    assert not Membership.objects.filter(user=bob.user).exists()
    assert grants_of(acme, bob) == []
    with pytest.raises(services.LastOwnerError):
        services.leave_everything(user=alice.user)
    assert membership(acme, alice).role == Role.OWNER
