"""Reads of members and invitations."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from django.utils import timezone

from apps.accounts.models import User
from apps.members.services import digest
from apps.organizations.models import Invitation, Membership, Organization
from apps.organizations.roles import KEY_HOLDERS
from apps.projects.models import Project, ProjectMember
from apps.vault.grants import Holding, by_member, holdings, vault_of
from apps.vault.models import Grant


class Keys(StrEnum):
    """How it stands with a member's keys."""

    NONE = "none"  # their role holds none
    NO_VAULT = "no_vault"  # they have not set up their vault
    WAITING = "waiting"  # for somebody to confirm them
    CHANGED = "changed"  # they made new ones since they were given any
    MISSING = "missing"  # some projects are still to be handed to them
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class MemberRow:
    """A member, how many projects they are to hold the keys of, and of how many they do: of every live generation."""

    membership: Membership
    keys: Keys
    due: int
    held: int
    missing: list[Holding] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.membership.user.name or self.membership.user.email

    @property
    def note(self) -> str:
        """Their address, unless it is what they are called by."""
        return self.membership.user.email if self.membership.user.name else ""

    @property
    def is_waiting(self) -> bool:
        """Whether a member with keys has something to do for them."""
        return self.keys in (Keys.WAITING, Keys.CHANGED, Keys.MISSING)


def members(organization: Organization) -> list[MemberRow]:
    """All members, owners first, then by role and name. In the organization's scope."""
    found = list(
        Membership.objects.select_related("user__vault").filter(organization=organization).order_by("created_at", "pk")
    )
    order = list(Membership.Role.values)
    found.sort(key=lambda member: (order.index(member.role), (member.user.name or member.user.email).casefold()))
    held = by_member(holdings(found))
    older = set(Grant.objects.values_list("recipient_vault", "recipient_account_key_version"))
    return [_row(membership, held.get(membership.pk, []), older) for membership in found]


def member(organization: Organization, membership_id: int) -> MemberRow | None:
    """One member of the organization; None if there is no such one. In the organization's scope."""
    found = (
        Membership.objects.select_related("user__vault", "organization")
        .filter(organization=organization, pk=membership_id)
        .first()
    )
    if found is None:
        return None
    vault = vault_of(found.user)
    older = (
        set(
            Grant.objects.filter(recipient_vault=vault.id).values_list(
                "recipient_vault", "recipient_account_key_version"
            )
        )
        if vault
        else set()
    )
    return _row(found, holdings([found]), older)


def _row(membership: Membership, held: list[Holding], versions: set[tuple[uuid.UUID, int]]) -> MemberRow:
    missing = [holding for holding in held if not holding.is_held]
    due = {holding.key.project_id for holding in held}
    lacking = {holding.key.project_id for holding in missing}
    vault = vault_of(membership.user)
    if membership.role not in KEY_HOLDERS:
        keys = Keys.NONE
    elif vault is None:
        keys = Keys.NO_VAULT
    elif membership.confirmed_at is None:
        keys = Keys.WAITING
    elif not missing:
        keys = Keys.COMPLETE
    elif any((vault.id, version) in versions for version in range(1, vault.account_key_version)):
        keys = Keys.CHANGED
    else:
        keys = Keys.MISSING
    return MemberRow(membership, keys, len(due), len(due - lacking), missing)


def open_invitations(organization: Organization) -> list[Invitation]:
    """Those that were neither accepted nor taken back, newest first; some of them may have run out."""
    return list(
        Invitation.objects.select_related("invited_by")
        .filter(organization=organization, accepted_at=None, revoked_at=None)
        .order_by("-sent_at")
    )


class InvitationState(StrEnum):
    OPEN = "open"
    ACCEPTED = "accepted"
    REVOKED = "revoked"
    EXPIRED = "expired"


def invitation_state(invitation: Invitation, now: datetime | None = None) -> InvitationState:
    if invitation.accepted_at:
        return InvitationState.ACCEPTED
    if invitation.revoked_at or not invitation.organization.is_ready:
        return InvitationState.REVOKED
    if invitation.expires_at <= (now or timezone.now()):
        return InvitationState.EXPIRED
    return InvitationState.OPEN


def invitation_of(token: str) -> Invitation | None:
    """The invitation that a link opens, whatever its state. Outside any scope."""
    return Invitation.objects.select_related("organization", "invited_by").filter(token_digest=digest(token)).first()


def projects() -> list[Project]:
    """Those that developers can be added to. In the organization's scope."""
    return list(Project.objects.filter(archived_at=None, deleted_at=None).order_by("name", "environment"))


def added_projects(membership: Membership) -> list[Project]:
    """Those that a developer was added to, archived ones too. In the organization's scope."""
    added = ProjectMember.objects.filter(user_id=membership.user_id).values("project_id")
    return list(Project.objects.filter(pk__in=added, deleted_at=None).order_by("name", "environment"))


def held_projects(membership: Membership) -> list[Project]:
    """Those whose keys a member holds or held, archived ones too. In the organization's scope."""
    vault = vault_of(membership.user)
    if vault is None:
        return []
    held = Grant.objects.filter(recipient_vault=vault.id).values("project_id")
    return list(Project.objects.filter(pk__in=held, deleted_at=None).order_by("name", "environment"))


def is_last_owner(membership: Membership) -> bool:
    return (
        membership.role == Membership.Role.OWNER
        and not Membership.objects.filter(organization_id=membership.organization_id, role=Membership.Role.OWNER)
        .exclude(pk=membership.pk)
        .exists()
    )


def sole_ownerships(user: User) -> list[Organization]:
    """The organizations that would be without an owner if the person went; those being deleted don't count."""
    owned = Membership.objects.select_related("organization").filter(user=user, role=Membership.Role.OWNER)
    alive = owned.exclude(organization__status__in=[Organization.Status.DELETING, Organization.Status.DELETED])
    return [membership.organization for membership in alive if is_last_owner(membership)]
