"""What happens when two people do it at once, with real threads and transactions."""

import threading
from collections.abc import Callable

import pytest
from allauth.account.models import EmailAddress
from django.db import connection
from django.http import Http404

from apps.members import services
from apps.organizations.models import Invitation, Membership
from apps.vault import grants
from apps.vault.models import Grant
from apps.vault.services import store_self_grant
from tenancy import tenant_scope
from tests.cast import Member, Workspace
from web.errors import DomainError

Role = Membership.Role


@pytest.fixture
def busy(committed: tuple[Workspace, Workspace]) -> Workspace:
    """An organization of this test's own, whose owner holds the project's key."""
    workspace = Workspace.make("Busy", "olga")
    with tenant_scope(workspace.organization):
        envelope = workspace.owner.account.self_grant(workspace.organization.id, workspace.project.id, 1, workspace.key)
        store_self_grant(project=workspace.project, generation=1, vault=workspace.owner.user.vault, envelope=envelope)
    return workspace


def at_once(*works: Callable[[], object]) -> list[str]:
    """Runs each in a thread and a connection of its own, at the same moment; what came of them: "done", or the error's
    class. Any other error is raised."""
    barrier = threading.Barrier(len(works))
    results = [""] * len(works)
    unexpected: list[BaseException] = []

    def run(number: int, work: Callable[[], object]) -> None:
        try:
            barrier.wait(timeout=30)
            work()
            results[number] = "done"
        except (DomainError, Http404) as error:
            results[number] = type(error).__name__
        except BaseException as error:
            unexpected.append(error)
            raise
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert unexpected == []
    return results


def membership(workspace: Workspace, member: Member) -> Membership:
    return Membership.objects.get(organization=workspace.organization, user=member.user)


def invited(workspace: Workspace, name: str) -> tuple[Member, services.Sent]:
    member = Member.sign_up(name)
    EmailAddress.objects.update_or_create(
        user=member.user, email=member.user.email, defaults={"verified": True, "primary": True}
    )
    with tenant_scope(workspace.organization):
        actor = membership(workspace, workspace.owner)
        return member, services.invite(actor=actor, email=member.user.email, role=Role.VIEWER)


def test_an_invitation_accepted_in_four_tabs_makes_one_member(busy: Workspace) -> None:
    bob, sent = invited(busy, "bob")
    results = at_once(*[lambda: services.accept(user=bob.user, token=sent.token)] * 4)
    assert sorted(results) == ["InvitationClosedError"] * 3 + ["done"]
    assert Membership.objects.filter(organization=busy.organization, user=bob.user).count() == 1


def test_an_invitation_is_either_accepted_or_taken_back(busy: Workspace) -> None:
    actor = membership(busy, busy.owner)
    for _ in range(5):
        bob, sent = invited(busy, "bob")

        def revoke(sent: services.Sent = sent) -> None:
            with tenant_scope(busy.organization):
                services.revoke_invitation(actor=actor, invitation_id=sent.invitation.pk)

        def accept(bob: Member = bob, sent: services.Sent = sent) -> None:
            services.accept(user=bob.user, token=sent.token)

        accepted, revoked = at_once(accept, revoke)
        assert {accepted, revoked} in ({"done", "Http404"}, {"InvitationClosedError", "done"})
        is_member = Membership.objects.filter(organization=busy.organization, user=bob.user).exists()
        assert is_member is (accepted == "done")
        invitation = Invitation.objects.get(pk=sent.invitation.pk)
        assert (invitation.accepted_at is None) is not (invitation.revoked_at is None)


def test_no_two_changes_leave_an_organization_without_an_owner(busy: Workspace) -> None:
    for _ in range(5):
        Membership.objects.filter(organization=busy.organization).exclude(user=busy.owner.user).delete()
        Membership.objects.filter(organization=busy.organization).update(role=Role.OWNER)
        other = busy.join("other", Role.OWNER)
        first, second = membership(busy, busy.owner), membership(busy, other)

        def demote(actor: Membership, target: Membership) -> Callable[[], None]:
            def work() -> None:
                with tenant_scope(busy.organization):
                    services.set_access(actor=actor, membership_id=target.pk, role=Role.VIEWER)

            return work

        assert sorted(at_once(demote(first, second), demote(second, first))) == ["NotAllowedError", "done"]
        owners = Membership.objects.filter(organization=busy.organization, role=Role.OWNER)
        assert owners.count() == 1


def test_two_owners_who_leave_at_once_leave_one(busy: Workspace) -> None:
    other = busy.join("other", Role.OWNER)

    def leave(actor: Membership) -> Callable[[], None]:
        def work() -> None:
            with tenant_scope(busy.organization):
                services.leave(actor=actor)

        return work

    results = at_once(leave(membership(busy, busy.owner)), leave(membership(busy, other)))
    assert sorted(results) == ["LastOwnerError", "done"]
    assert Membership.objects.filter(organization=busy.organization, role=Role.OWNER).count() == 1


@pytest.mark.parametrize("first", ["removal", "grant", "both"])
def test_a_removed_member_has_no_grant_whoever_was_first(busy: Workspace, first: str) -> None:
    owner = busy.owner
    for _ in range(5 if first == "both" else 1):
        bob = busy.join("bob", Role.ADMIN)
        actor, member = membership(busy, owner), membership(busy, bob)
        envelope = owner.account.grant_to(bob.account.public, busy.organization.id, busy.project.id, 1, busy.key)

        def grant(
            actor: Membership = actor, member: Membership = member, bob: Member = bob, envelope: str = envelope
        ) -> None:
            sealed = grants.SealedGrant(
                project_id=busy.project.id,
                generation=1,
                recipient_vault=bob.account.vault_id,
                recipient_account_key_version=1,
                envelope=envelope,
            )
            with tenant_scope(busy.organization):
                grants.confirm_member(granter=actor, membership_id=member.pk, account_key_version=1, grants=[sealed])

        def remove(actor: Membership = actor, member: Membership = member) -> None:
            with tenant_scope(busy.organization):
                services.remove_member(actor=actor, membership_id=member.pk)

        if first == "both":
            granted, removed = at_once(grant, remove)
            assert removed == "done"
            assert granted in ("done", "Http404")
        elif first == "removal":
            assert at_once(remove) + at_once(grant) == ["done", "Http404"]
        else:
            assert at_once(grant) + at_once(remove) == ["done", "done"]
        with tenant_scope(busy.organization):
            assert not Grant.objects.filter(recipient_vault=bob.account.vault_id).exists()
            busy.project.refresh_from_db()
            assert first == "both" or (busy.project.rotation_required_since is not None) is (first == "grant")


def test_a_removed_granter_hands_nothing_on(busy: Workspace) -> None:
    """An owner removes an admin who is handing a key to a friend: either nothing is handed on, or it was before."""
    for _ in range(5):
        admin, friend = busy.join("admin", Role.ADMIN), busy.join("friend", Role.ADMIN)
        with tenant_scope(busy.organization):
            own = admin.account.self_grant(busy.organization.id, busy.project.id, 1, busy.key)
            store_self_grant(project=busy.project, generation=1, vault=admin.user.vault, envelope=own)
        actor, granter, recipient = (membership(busy, member) for member in (busy.owner, admin, friend))
        envelope = admin.account.grant_to(friend.account.public, busy.organization.id, busy.project.id, 1, busy.key)

        def grant(granter: Membership = granter, recipient: Membership = recipient, envelope: str = envelope) -> None:
            sealed = grants.SealedGrant(
                project_id=busy.project.id,
                generation=1,
                recipient_vault=recipient.user.vault.id,
                recipient_account_key_version=1,
                envelope=envelope,
            )
            with tenant_scope(busy.organization):
                grants.confirm_member(
                    granter=granter, membership_id=recipient.pk, account_key_version=1, grants=[sealed]
                )

        def remove(actor: Membership = actor, granter: Membership = granter) -> None:
            with tenant_scope(busy.organization):
                services.remove_member(actor=actor, membership_id=granter.pk)

        granted, removed = at_once(grant, remove)
        assert removed == "done"
        with tenant_scope(busy.organization):
            held = Grant.objects.filter(recipient_vault=friend.account.vault_id).exists()
        assert held is (granted == "done")
