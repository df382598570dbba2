"""Who is to hold which project's keys, and giving and taking them. Callers are in the organization's scope.

A grant is a project's private key wrapped for one member's vault. The server can't open one; it makes sure that a
member signed it, for somebody whose role holds keys, for the vault that they have now.

Lock order, here and wherever members and keys change: projects by id, then memberships by id, then anything else.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.http import Http404

from apps.accounts.models import User, Vault
from apps.audit.services import record
from apps.directory.models import ProjectKeyEntry
from apps.organizations.access import NotAllowedError, check_ability
from apps.organizations.models import Membership
from apps.organizations.roles import HOLDERS_OF_ALL, KEY_HOLDERS, Ability
from apps.projects.models import Project, ProjectKey, ProjectMember
from apps.projects.services import label, organization_id
from apps.vault.models import Grant
from cryptokit import statements
from cryptokit.envelopes import is_grant_signed
from web.errors import DomainError

# How much of a reason fits into a project's row.
REASON_LENGTH = 255


class GrantError(DomainError):
    status = 422
    code = "invalid_grant"


class RecipientChangedError(DomainError):
    """What the grants were made for is no longer so: look again before sealing."""

    status = 409
    code = "recipient_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedGrant:
    """A `G1` envelope that a member's browser made, and for whom."""

    project_id: uuid.UUID
    generation: int
    recipient_vault: uuid.UUID
    recipient_account_key_version: int
    envelope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A live generation of a project's key that a member is to hold, and whether their present keys were granted it."""

    membership: Membership
    key: ProjectKey
    is_held: bool


def vault_of(user: User) -> Vault | None:
    """The person's vault; None for one who has not set it up."""
    vault: Vault | None = getattr(user, "vault", None)
    return vault


def all_live_keys() -> list[ProjectKey]:
    """The generations that open something, of projects that are not archived, by project; `project` is loaded."""
    live = set(
        ProjectKeyEntry.objects.filter(
            Q(retire_at=None) | Q(retire_at__gt=Now()),
            organization_id=organization_id(),
            status__in=ProjectKeyEntry.LIVE,
        ).values_list("project_id", "generation")
    )
    keys = ProjectKey.objects.select_related("project").filter(project__archived_at=None, project__deleted_at=None)
    return [
        key
        for key in keys.order_by("project__name", "project__environment", "project_id", "generation")
        if (key.project_id, key.generation) in live
    ]


def holdings(memberships: Iterable[Membership] | None = None) -> list[Holding]:
    """Every key that each member (all of them unless given, `user__vault` loaded) is to hold, by member."""
    if memberships is None:
        memberships = (
            Membership.objects.select_related("user__vault").filter(organization_id=organization_id()).order_by("pk")
        )
    holders = [membership for membership in memberships if membership.role in KEY_HOLDERS]
    keys = all_live_keys()
    added = set(ProjectMember.objects.values_list("project_id", "user_id"))
    held = set(
        Grant.objects.values_list("project_id", "generation", "recipient_vault", "recipient_account_key_version")
    )
    found = []
    for membership in holders:
        vault = vault_of(membership.user)
        for key in keys:
            if membership.role in HOLDERS_OF_ALL or (key.project_id, membership.user_id) in added:
                is_held = (
                    vault is not None and (key.project_id, key.generation, vault.id, vault.account_key_version) in held
                )
                found.append(Holding(membership=membership, key=key, is_held=is_held))
    return found


def missing_grants(memberships: Iterable[Membership] | None = None) -> list[Holding]:
    """What members (all of them unless given) are to hold and don't."""
    return [holding for holding in holdings(memberships) if not holding.is_held]


def recipients(project: Project) -> list[Membership]:
    """The confirmed members who are to hold a project's keys: for whom a new generation is sealed. With `user__vault`;
    those without a vault are left out."""
    added = ProjectMember.objects.filter(project=project).values_list("user_id", flat=True)
    memberships = (
        Membership.objects.select_related("user__vault")
        .filter(
            Q(role__in=HOLDERS_OF_ALL) | Q(role=Membership.Role.DEVELOPER, user_id__in=list(added)),
            organization_id=organization_id(),
            confirmed_at__isnull=False,
        )
        .order_by("pk")
    )
    return [membership for membership in memberships if vault_of(membership.user)]


def lock_members(users: Iterable[uuid.UUID] | None = None) -> dict[uuid.UUID, Membership]:
    """The organization's memberships (of these users, else all) by user, as they are now and until the transaction
    ends. `user__vault` is loaded."""
    memberships = (
        Membership.objects.select_for_update(of=("self",))
        .select_related("user__vault", "organization")
        .filter(organization_id=organization_id())
        .order_by("pk")
    )
    if users is not None:
        memberships = memberships.filter(user_id__in=list(users))
    return {membership.user_id: membership for membership in memberships}


def lock_projects(project_ids: Iterable[uuid.UUID] | None = None) -> list[Project]:
    """The projects (all of them unless given, archived ones too) as they are now and until the transaction ends."""
    projects = Project.objects.select_for_update(no_key=True).order_by("pk")
    return list(projects if project_ids is None else projects.filter(pk__in=list(project_ids)))


@transaction.atomic
def store_grants(*, sender: User, grants: Sequence[SealedGrant]) -> None:
    """Stores what a member sealed to others.

    Raises GrantError where an envelope is not signed by the sender for exactly this key and recipient, or the
    recipient's role or projects don't allow them the key; RecipientChangedError where the recipient left, or made new
    keys; NotAllowedError where the sender doesn't hold the key themselves. Then nothing is stored.
    """
    own_organization = organization_id()
    lock_projects({grant.project_id for grant in grants})
    owners = dict(Vault.objects.filter(id__in={grant.recipient_vault for grant in grants}).values_list("id", "user_id"))
    members = lock_members({*owners.values(), sender.id})
    if sender.id not in members or members[sender.id].role not in KEY_HOLDERS:
        raise NotAllowedError("Your role here holds no keys, so it can't hand any on.")
    own = members[sender.id].user.vault
    keys = {(key.project_id, key.generation): key for key in all_live_keys()}
    added = set(ProjectMember.objects.values_list("project_id", "user_id"))
    existing = {
        (project, generation, vault, version): envelope
        for project, generation, vault, version, envelope in Grant.objects.filter(
            project_id__in={grant.project_id for grant in grants}
        ).values_list("project_id", "generation", "recipient_vault", "recipient_account_key_version", "envelope")
    }
    rows = []
    for grant in grants:
        recipient = members.get(owners.get(grant.recipient_vault, uuid.UUID(int=0)))
        vault = vault_of(recipient.user) if recipient else None
        if recipient is None or vault is None or vault.account_key_version != grant.recipient_account_key_version:
            raise RecipientChangedError(
                "Somebody left, or has new keys since you looked. Nothing was granted: reload the page and look again."
            )
        key = keys.get((grant.project_id, grant.generation))
        if key is None:
            raise RecipientChangedError(
                "A project's key was rotated or retired since you looked. Nothing was granted: reload the page."
            )
        if recipient.role not in HOLDERS_OF_ALL and not (
            recipient.role in KEY_HOLDERS and (key.project_id, recipient.user_id) in added
        ):
            raise GrantError(
                f"{recipient.user} is not to hold the keys of {key.project}. Add them to the project first."
            )
        if (key.project_id, key.generation, own.id, own.account_key_version) not in existing:
            raise NotAllowedError(f"You don't hold the keys of {key.project}, so you can't hand them on.")
        context = statements.grant_context(
            own_organization,
            key.project_id,
            key.generation,
            bytes(key.public_key),
            recipient=vault.id,
            recipient_version=vault.account_key_version,
            recipient_x25519_public=bytes(vault.x25519_public_key),
            sender=own.id,
            sender_version=own.account_key_version,
            sender_ed25519_public=bytes(own.ed25519_public_key),
        )
        if not is_grant_signed(grant.envelope, context, bytes(own.ed25519_public_key)):
            raise GrantError(
                "A grant is not signed by your vault for this member and project. Unlock it and try again."
            )
        # Their own wrap says that they opened the key before: nobody else's may take its place.
        if not existing.get((key.project_id, key.generation, vault.id, vault.account_key_version), "").startswith(
            "W1."
        ):
            rows.append(
                Grant(
                    project=key.project,
                    generation=key.generation,
                    recipient_vault=vault.id,
                    recipient_account_key_version=vault.account_key_version,
                    sender_vault=own.id,
                    sender_account_key_version=own.account_key_version,
                    envelope=grant.envelope,
                )
            )
    Grant.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["project", "generation", "recipient_vault", "recipient_account_key_version"],
        update_fields=["sender_vault", "sender_account_key_version", "envelope"],
    )


@transaction.atomic
def confirm_member(
    *, granter: Membership, membership_id: int, account_key_version: int, grants: Sequence[SealedGrant]
) -> Membership:
    """Confirms a member and stores the grants for them, which may be none.

    Raises Http404 where there is no such member; RecipientChangedError where they have other keys than those that were
    looked at; and what `store_grants` raises.
    """
    wanted = Membership.objects.filter(pk=membership_id, organization_id=granter.organization_id)
    user_id = wanted.values_list("user_id", flat=True).first()
    lock_projects({grant.project_id for grant in grants})
    members = lock_members([granter.user_id, user_id]) if user_id else {}
    if user_id not in members or granter.user_id not in members:
        raise Http404
    sender, recipient = members[granter.user_id], members[user_id]
    check_ability(sender, Ability.MANAGE)
    if sender.pk == recipient.pk:
        raise NotAllowedError("Somebody else has to confirm you.")
    if sender.confirmed_at is None:
        raise NotAllowedError("You wait for confirmation yourself, so you can't confirm others yet.")
    if recipient.role not in KEY_HOLDERS:
        raise GrantError(f"{recipient.user} holds no keys in their role, so there is nothing to confirm.")
    vault = vault_of(recipient.user)
    if vault is None or vault.account_key_version != account_key_version:
        raise RecipientChangedError(
            f"{recipient.user} has new keys since you looked. Nothing was granted: reload the page and look again."
        )
    if any(grant.recipient_vault != vault.id for grant in grants):
        raise GrantError("A grant is for somebody else. Reload the page and try again.")
    store_grants(sender=sender.user, grants=grants)
    if recipient.confirmed_at is None:
        Membership.objects.filter(pk=recipient.pk).update(confirmed_at=Now())
        record("member.confirmed", actor=sender.user, subject=recipient.user.email)
    for project in Project.objects.filter(pk__in={grant.project_id for grant in grants}).order_by("name"):
        record(
            "grant.given",
            actor=sender.user,
            subject=label(project),
            project_id=project.id,
            recipient=recipient.user.email,
        )
    recipient.refresh_from_db()
    return recipient


def delete_grants_of(
    *, user: User, actor: User, reason: str, projects: Sequence[Project], keep: frozenset[uuid.UUID] = frozenset()
) -> list[Project]:
    """Takes a member's grants of `projects` (locked ones) but `keep`, and marks each project they held for rotation.

    Returns those projects: what was held can have been copied, so taking it away is only half of it.
    """
    vault = vault_of(user)
    if vault is None:
        return []
    grants = Grant.objects.filter(
        recipient_vault=vault.id, project_id__in=[project.id for project in projects if project.id not in keep]
    )
    held = set(grants.values_list("project_id", flat=True))
    grants.delete()
    affected = [project for project in projects if project.id in held]
    for project in affected:
        require_rotation(project, reason)
        record("grant.taken", actor=actor, subject=label(project), project_id=project.id, recipient=user.email)
    return affected


def require_rotation(project: Project, reason: str) -> None:
    """Marks a locked project: its keys are to be rotated, because of this and what was outstanding before."""
    reasons = [project.rotation_required_reason] if project.rotation_required_since else []
    if reason not in reasons:
        reasons.append(reason)
    text = " ".join(reasons)
    project.rotation_required_reason = text if len(text) <= REASON_LENGTH else reason[:REASON_LENGTH]
    Project.objects.filter(pk=project.pk).update(
        rotation_required_since=Now(), rotation_required_reason=project.rotation_required_reason
    )
    project.refresh_from_db(fields=["rotation_required_since"])


def by_member(found: Iterable[Holding]) -> dict[int, list[Holding]]:
    """Holdings by the membership's key."""
    grouped: dict[int, list[Holding]] = defaultdict(list)
    for holding in found:
        grouped[holding.membership.pk].append(holding)
    return grouped
