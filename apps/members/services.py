"""What changes who belongs to an organization. Callers are in the organization's scope, but for `accept`.

Lock order: projects, then memberships, both by id (apps/vault/grants.py), then invitations.
"""

import hashlib
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from allauth.account.models import EmailAddress
from django.db import IntegrityError, transaction
from django.db.models.functions import Now
from django.http import Http404
from django.utils import timezone

from apps.accounts.models import User, canonical_email
from apps.analytics import saved_views
from apps.audit.services import record
from apps.organizations.access import NotAllowedError, check_ability
from apps.organizations.models import Invitation, Membership, Organization
from apps.organizations.roles import ABILITIES, HOLDERS_OF_ALL, KEY_HOLDERS, Ability
from apps.projects.models import Project, ProjectMember
from apps.vault.grants import delete_grants_of, lock_members, lock_projects
from tenancy import tenant_scope
from tenancy.scope import TenantRef
from web.errors import DomainError

Role = Membership.Role

INVITATION_LIFE = timedelta(days=7)
# Mails that one organization may send in an hour, and how long an address is left alone in between.
INVITATIONS_PER_HOUR = 100
RESEND_AFTER = timedelta(minutes=1)


class MemberError(DomainError):
    status = 422
    code = "invalid_member"


class LastOwnerError(DomainError):
    status = 409
    code = "last_owner"

    def __init__(self) -> None:
        super().__init__("The organization needs an owner. Make somebody else an owner first.")


class AlreadyMemberError(DomainError):
    status = 409
    code = "already_member"


class TooManyInvitationsError(DomainError):
    status = 429
    code = "too_many_invitations"


class InvitationClosedError(DomainError):
    """The invitation can't be accepted any more; `reason` is one of selectors.InvitationState."""

    status = 410
    code = "invitation_closed"


@dataclass(frozen=True, slots=True)
class Sent:
    """An invitation and the token of its link, which is nowhere else."""

    invitation: Invitation
    token: str


def digest(token: str) -> bytes:
    """What is stored of a token: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).digest()


# --- Invitations ---


@transaction.atomic
def invite(*, actor: Membership, email: str, role: str, project_ids: Iterable[uuid.UUID] = ()) -> Sent:
    """An invitation that is open for `INVITATION_LIFE`. An open one of the same address is replaced.

    Raises AlreadyMemberError, MemberError where role or projects can't be, NotAllowedError where the actor may not give
    the role, TooManyInvitationsError.
    """
    actor = _locked_actor(actor, Ability.MANAGE)
    _check_role(actor, role)
    email = canonical_email(email)
    projects = _check_projects(role, project_ids)
    members = Membership.objects.filter(organization=actor.organization)
    if (
        members.filter(user__email=email).exists()
        or members.filter(
            user_id__in=EmailAddress.objects.filter(email__iexact=email, verified=True).values("user_id")
        ).exists()
    ):
        raise AlreadyMemberError(f"{email} is a member already.")
    _check_rate(actor.organization, email)
    token = secrets.token_urlsafe(32)
    Invitation.objects.filter(organization=actor.organization, email=email, accepted_at=None, revoked_at=None).update(
        revoked_at=Now()
    )
    try:
        with transaction.atomic():
            invitation = Invitation.objects.create(
                organization=actor.organization,
                email=email,
                role=role,
                project_ids=projects,
                token_digest=digest(token),
                invited_by=actor.user,
                expires_at=timezone.now() + INVITATION_LIFE,
            )
    except IntegrityError as error:
        raise TooManyInvitationsError(f"Somebody else is inviting {email} right now.") from error
    record("member.invited", actor=actor.user, subject=email, role=role)
    return Sent(invitation, token)


@transaction.atomic
def renew_invitation(*, actor: Membership, invitation_id: uuid.UUID) -> Sent:
    """The same invitation with a new link and a new deadline; the old link opens no more. Http404 unless it is open
    (expired ones are)."""
    actor = _locked_actor(actor, Ability.MANAGE)
    invitation = _open_invitation(actor.organization, invitation_id)
    _check_role(actor, invitation.role)
    _check_rate(actor.organization, invitation.email)
    token = secrets.token_urlsafe(32)
    invitation.token_digest = digest(token)
    invitation.invited_by = actor.user
    invitation.sent_at = timezone.now()
    invitation.expires_at = invitation.sent_at + INVITATION_LIFE
    invitation.save(update_fields=["token_digest", "invited_by", "sent_at", "expires_at"])
    record("member.invited", actor=actor.user, subject=invitation.email, role=invitation.role)
    return Sent(invitation, token)


@transaction.atomic
def revoke_invitation(*, actor: Membership, invitation_id: uuid.UUID) -> Invitation:
    """Closes an invitation. Http404 unless it is open: it may have been accepted meanwhile."""
    actor = _locked_actor(actor, Ability.MANAGE)
    invitation = _open_invitation(actor.organization, invitation_id)
    if invitation.role == Role.OWNER:
        check_ability(actor, Ability.OWN)
    invitation.revoked_at = timezone.now()
    invitation.save(update_fields=["revoked_at"])
    record("member.invitation_revoked", actor=actor.user, subject=invitation.email)
    return invitation


@transaction.atomic
def accept(*, user: User, token: str) -> Membership:
    """Makes the person a member, once, however often and from wherever the link is followed.

    Raises Http404 for an unknown token, InvitationClosedError where it was accepted, taken back or has run out, and
    NotAllowedError where none of the person's verified addresses is the one that was invited.
    """
    invitation = (
        Invitation.objects.select_for_update(of=("self",))
        .select_related("organization")
        .filter(token_digest=digest(token))
        .first()
    )
    if invitation is None:
        raise Http404
    organization = invitation.organization
    if (
        invitation.accepted_at
        or invitation.revoked_at
        or invitation.expires_at <= timezone.now()
        or not organization.is_ready
    ):
        raise InvitationClosedError("This invitation is not open any more. Ask for a new one.")
    if not EmailAddress.objects.filter(user=user, email__iexact=invitation.email, verified=True).exists():
        raise NotAllowedError(f"This invitation is for {invitation.email}. Sign in with that address.")
    invitation.accepted_at = timezone.now()
    invitation.save(update_fields=["accepted_at"])
    # Roles that hold keys wait until a member who has them looked at who this is.
    confirmed_at = None if invitation.role in KEY_HOLDERS else invitation.accepted_at
    membership, is_new = Membership.objects.get_or_create(
        organization=organization, user=user, defaults={"role": invitation.role, "confirmed_at": confirmed_at}
    )
    if not is_new:
        return membership
    with tenant_scope(organization):
        for project in Project.objects.filter(pk__in=invitation.project_ids):
            ProjectMember.objects.get_or_create(
                project=project, user_id=user.id, defaults={"added_by": invitation.invited_by_id}
            )
        record("member.joined", actor=user, role=membership.role)
    return membership


def _open_invitation(organization: Organization, invitation_id: uuid.UUID) -> Invitation:
    invitation = (
        Invitation.objects.select_for_update()
        .filter(pk=invitation_id, organization=organization, accepted_at=None, revoked_at=None)
        .first()
    )
    if invitation is None:
        raise Http404
    return invitation


def _check_rate(organization: Organization, email: str) -> None:
    now = timezone.now()
    sent = Invitation.objects.filter(organization=organization)
    if sent.filter(email=email, sent_at__gt=now - RESEND_AFTER).exists():
        raise TooManyInvitationsError(f"A mail to {email} is on its way. Wait a minute before you send another.")
    if sent.filter(sent_at__gt=now - timedelta(hours=1)).count() >= INVITATIONS_PER_HOUR:
        raise TooManyInvitationsError("That were many invitations for one hour. Send the next ones later.")


# --- Roles and projects ---


@transaction.atomic
def set_access(
    *, actor: Membership, membership_id: int, role: str, project_ids: Iterable[uuid.UUID] = ()
) -> list[Project]:
    """Gives a member a role, and a developer their projects. Returns the projects whose keys they held and hold no
    more, now marked for rotation.

    Raises Http404 where there is no such member, NotAllowedError where the actor may not, LastOwnerError.
    """
    locked = lock_projects()
    members = lock_members()
    actor, member = _actor_and_member(actor, membership_id, members)
    if role != member.role:
        _check_role(actor, role)
        _check_role(actor, member.role)
        _check_owner_stays(member, members, role)
    wanted = frozenset(_check_projects(role, project_ids))
    before = set(ProjectMember.objects.filter(user_id=member.user_id).values_list("project_id", flat=True))
    ProjectMember.objects.filter(user_id=member.user_id).exclude(project_id__in=wanted).delete()
    ProjectMember.objects.bulk_create(
        ProjectMember(project_id=project_id, user_id=member.user_id, added_by=actor.user_id)
        for project_id in wanted - before
    )
    if role != member.role:
        was, member.role = member.role, Role(role)
        if was not in KEY_HOLDERS and role in KEY_HOLDERS:
            member.confirmed_at = None
        elif role not in KEY_HOLDERS:
            member.confirmed_at = member.confirmed_at or timezone.now()
        member.save(update_fields=["role", "confirmed_at"])
        record("member.role_changed", actor=actor.user, subject=member.user.email, role=role, was=was)
        if Ability.MANAGE not in ABILITIES[role]:
            _revoke_invitations_of(member)
    if role in HOLDERS_OF_ALL:
        return []
    reason = f"{member.user.email} lost access to it."
    return delete_grants_of(user=member.user, actor=actor.user, reason=reason, projects=locked, keep=wanted)


@transaction.atomic
def remove_member(*, actor: Membership, membership_id: int) -> list[Project]:
    """Ends a membership: access, grants and open invitations of theirs at once. Returns the projects whose keys they
    held, now marked for rotation. Errors as `set_access` has them."""
    locked = lock_projects()
    members = lock_members()
    actor, member = _actor_and_member(actor, membership_id, members)
    if member.pk == actor.pk:
        raise NotAllowedError("To go yourself, leave the organization under Settings.")
    _check_role(actor, member.role)
    return _end(member, members, locked, actor=actor.user)


@transaction.atomic
def leave(*, actor: Membership) -> list[Project]:
    """Ends one's own membership, as `remove_member` does. LastOwnerError for the only owner."""
    locked = lock_projects()
    members = lock_members()
    if actor.user_id not in members:
        raise Http404
    return _end(members[actor.user_id], members, locked, actor=actor.user)


@transaction.atomic
def leave_everything(*, user: User) -> None:
    """Ends all memberships of somebody whose account is about to be deleted. LastOwnerError where one can't end:
    `selectors.sole_ownerships` says which. Outside any scope."""
    organizations = Organization.objects.filter(memberships__user=user).exclude(status=Organization.Status.DELETED)
    for organization in organizations.order_by("pk"):
        if organization.status == Organization.Status.DELETING:
            continue  # its grants go with it, and the membership with the account
        # A suspended organization is left, too.
        with tenant_scope(TenantRef(organization.pk, organization.schema_name)):
            locked = lock_projects()
            members = lock_members()
            if user.id in members:
                _end(members[user.id], members, locked, actor=user)


def _end(
    member: Membership, members: dict[uuid.UUID, Membership], projects: list[Project], *, actor: User
) -> list[Project]:
    _check_owner_stays(member, members, None)
    left = member.user_id == actor.id
    reason = f"{member.user.email} {'left' if left else 'was removed'}."
    if left:
        record("member.left", actor=actor)
    else:
        record("member.removed", actor=actor, subject=member.user.email)
    affected = delete_grants_of(user=member.user, actor=actor, reason=reason, projects=projects)
    ProjectMember.objects.filter(user_id=member.user_id).delete()
    saved_views.forget(member.user_id)
    _revoke_invitations_of(member)
    member.delete()
    return affected


def _revoke_invitations_of(member: Membership) -> None:
    """Who may not invite any more has not invited anybody: a removed admin must not come back by their own link."""
    Invitation.objects.filter(
        organization_id=member.organization_id, invited_by_id=member.user_id, accepted_at=None, revoked_at=None
    ).update(revoked_at=Now())


def _locked_actor(actor: Membership, ability: Ability) -> Membership:
    """The actor as they are now; NotAllowedError or Http404 where they lost the ability or left meanwhile."""
    members = lock_members([actor.user_id])
    if actor.user_id not in members:
        raise Http404
    check_ability(members[actor.user_id], ability)
    return members[actor.user_id]


def _actor_and_member(
    actor: Membership, membership_id: int, members: dict[uuid.UUID, Membership]
) -> tuple[Membership, Membership]:
    member = next((member for member in members.values() if member.pk == membership_id), None)
    if actor.user_id not in members or member is None:
        raise Http404
    check_ability(members[actor.user_id], Ability.MANAGE)
    return members[actor.user_id], member


def _check_role(actor: Membership, role: str) -> None:
    """MemberError for no role, NotAllowedError unless the actor may give and take it: owners are made by owners."""
    if role not in Role.values:
        raise MemberError("Choose a role.")
    if role == Role.OWNER and Ability.OWN not in ABILITIES[actor.role]:
        raise NotAllowedError("Only owners decide who is an owner.")


def _check_owner_stays(member: Membership, members: dict[uuid.UUID, Membership], role: str | None) -> None:
    """LastOwnerError if nobody owned the organization with `member` in `role` (None: gone)."""
    others = [other for other in members.values() if other.role == Role.OWNER and other.pk != member.pk]
    if member.role == Role.OWNER and role != Role.OWNER and not others:
        raise LastOwnerError


def _check_projects(role: str, project_ids: Iterable[uuid.UUID]) -> list[uuid.UUID]:
    """A developer's projects, in order; MemberError where one does not exist. Other roles have none of their own."""
    if role != Role.DEVELOPER:
        return []
    wanted = sorted(set(project_ids))
    if Project.objects.filter(pk__in=wanted, deleted_at=None).count() != len(wanted):
        raise MemberError("A project was deleted meanwhile. Reload the page and choose again.")
    return wanted
