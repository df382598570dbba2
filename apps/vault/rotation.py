"""The life of a project's ANY_LLM_KEY: made, rotated, extended, retired, rolled back; set by the command line, undone,
adopted. Callers are in the organization's scope.

A generation is live while the directory says so; the boxes and grants of a live generation are kept, those of a retired
one are gone. Everything here locks in the order that `lock_project` names, and is one transaction.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from apps.accounts.models import User, Vault
from apps.audit.services import record
from apps.directory import candidates
from apps.directory.challenges import PROVEN_OVERLAP
from apps.directory.models import ProjectKeyEntry
from apps.directory.services import lock_entries, register_key
from apps.organizations.access import NotAllowedError
from apps.organizations.models import Membership
from apps.organizations.roles import HOLDERS_OF_ALL, KEY_HOLDERS
from apps.projects.models import Project, ProjectKey, ProjectMember
from apps.projects.services import (
    NewProjectKey,
    ProjectKeyError,
    add_first_key,
    add_generation,
    admit,
    bump_keyset,
    check_key,
    check_kid,
    check_not_archived,
    label,
    lock_project,
    next_generation,
    organization_id,
)
from apps.vault.grants import SealedGrant, lock_members, store_grants
from apps.vault.models import Box, Grant, ProviderKey
from apps.vault.services import SignedBox, check_box, store_self_grant
from cryptokit import statements
from web.errors import DomainError

Status = ProjectKeyEntry.Status

LONGEST_OVERLAP = timedelta(days=30)


class RotationError(DomainError):
    """What was asked for can't be done with this key."""

    status = 422
    code = "invalid_rotation"


class RotationConflictError(DomainError):
    """The project's keys are not what they were when the browser read them: read them again."""

    status = 409
    code = "keyset_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResealedKey:
    """A provider key as it was read, and its value sealed for the new generation; no box where it is left behind."""

    provider_key_id: uuid.UUID
    version: int
    box: SignedBox | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What a browser made of the state that `base_generation` and `keyset_version` name."""

    base_generation: int
    keyset_version: int
    key: NewProjectKey
    solved_challenge: str
    # Every provider key of the project, archived ones too.
    resealed: Sequence[ResealedKey]
    self_grant: str
    grants: Sequence[SealedGrant] = ()
    overlap: timedelta = PROVEN_OVERLAP


@transaction.atomic
def create_key(
    *, project: Project, key: NewProjectKey, solved_challenge: str, self_grant: str, signer: Vault
) -> ProjectKey:
    """A project's first key, whose holder proved to hold it, with their own grant of it. Errors as `add_first_key` has
    them, NotProvenError, and VaultError for a grant that is none."""
    candidates.check(solved_challenge, public_key=key.public_key, project_id=project.id, user_id=signer.user_id)
    made = add_first_key(project=project, key=key, signer=signer)
    store_self_grant(project=project, generation=made.generation, vault=signer, envelope=self_grant)
    record("project_key.created", actor=signer.user, subject=label(project), project_id=project.id)
    return made


@transaction.atomic
def rotate(*, project: Project, actor: Membership, rotation: Rotation) -> ProjectKey:
    """A new generation takes over; the one before goes on for `overlap`, or ends at once when that is 0.

    Raises RotationConflictError when anything is not as the browser read it: of two rotations at once, the second;
    VaultError, ProjectKeyError, NotProvenError, KeyInUseError, GrantError and RecipientChangedError for what it made;
    NotAllowedError where the actor does not hold the key. Then nothing is changed.
    """
    check_overlap(rotation.overlap)
    project = lock_project(project.id)
    check_not_archived(project)
    entries = lock_entries(project.id)
    members = lock_members()
    signer = _check_keeper(project, members.get(actor.user_id))
    head = _active_head(entries)
    if head.generation != rotation.base_generation or project.keyset_version != rotation.keyset_version:
        raise RotationConflictError("The project's keys were changed meanwhile. Nothing was rotated: start again.")

    key = rotation.key
    previous = bytes(head.public_key)
    candidates.check(rotation.solved_challenge, public_key=key.public_key, project_id=project.id, user_id=actor.user_id)
    check_key(project_id=project.id, key=key, generation=next_generation(entries), signer=signer, previous=previous)
    boxes = _check_resealed(project, rotation.resealed, key, signer)

    head.status, head.retire_at = Status.RETIRING, timezone.now() + rotation.overlap
    head.save(update_fields=["status", "retire_at"])
    made = add_generation(project=project, key=key, signer=signer, previous=previous)
    Box.objects.bulk_create(boxes)
    store_self_grant(project=project, generation=key.generation, vault=signer, envelope=rotation.self_grant)
    store_grants(sender=signer.user, grants=rotation.grants)
    _note_given_up(project, head.generation)
    if not rotation.overlap:
        _retire(project, head)
    bump_keyset(project)
    record(
        "project_key.rotated",
        actor=signer.user,
        subject=label(project),
        project_id=project.id,
        generation=key.generation,
        overlap_seconds=int(rotation.overlap.total_seconds()),
        boxes=len(boxes),
        left_behind=len(rotation.resealed) - len(boxes),
        grants=len(rotation.grants) + 1,
    )
    return made


@transaction.atomic
def extend(*, project: Project, actor: Membership, generation: int, overlap: timedelta) -> datetime:
    """A retiring generation goes on for `overlap` from now; until when. RotationError unless it is retiring."""
    check_overlap(overlap)
    project, _, entry = _lock_retiring(project, actor, generation)
    entry.retire_at = timezone.now() + overlap
    entry.save(update_fields=["retire_at"])
    record("project_key.extended", actor=actor.user, subject=label(project), project_id=project.id,
           generation=generation, overlap_seconds=int(overlap.total_seconds()))  # fmt: skip
    return entry.retire_at


@transaction.atomic
def retire_now(*, project: Project, actor: Membership, generation: int) -> None:
    """Ends a retiring generation: the next request with it is refused. RotationError unless it is retiring."""
    project, _, entry = _lock_retiring(project, actor, generation)
    _retire(project, entry)
    bump_keyset(project)
    _record_retired(project, generation, actor.user)


@transaction.atomic
def roll_back(*, project: Project, actor: Membership, generation: int, overlap: timedelta) -> None:
    """A retiring generation becomes the head again, and the present head retires after `overlap`.

    Raises RotationError unless it is retiring, and where a provider key can't be opened with it: its value was replaced
    for newer keys only, which the command line does.
    """
    check_overlap(overlap)
    project, head, entry = _lock_retiring(project, actor, generation)
    lost = [
        provider_key.provider
        for provider_key in ProviderKey.objects.filter(
            project=project, archived_at=None, boxes__generation=head.generation
        ).exclude(boxes__generation=generation)
    ]
    if lost:
        raise RotationError(
            f"The old ANY_LLM_KEY doesn't open the present key for {', '.join(sorted(lost))}. Replace that one on the "
            "page of provider keys: it is sealed for both then. Or archive it."
        )
    head.status, head.retire_at = Status.RETIRING, timezone.now() + overlap
    head.save(update_fields=["status", "retire_at"])
    entry.status, entry.retire_at = Status.ACTIVE, None
    entry.save(update_fields=["status", "retire_at"])
    reason = project.keys.values_list("given_up_reason", flat=True).get(generation=generation)
    if reason and project.rotation_required_since is None:
        # Whoever should not have it any more has it again.
        project.rotation_required_since, project.rotation_required_reason = timezone.now(), reason
        project.save(update_fields=["rotation_required_since", "rotation_required_reason"])
    if not overlap:
        _retire(project, head)
    bump_keyset(project)
    record("project_key.rolled_back", actor=actor.user, subject=label(project), project_id=project.id,
           generation=generation, from_generation=head.generation)  # fmt: skip


@transaction.atomic
def retire_due(project_id: uuid.UUID) -> int:
    """Retires what is due of one project; how many generations. Doing it again, or half of it before, changes nothing:
    a key stops counting at its time, whether or not this ran."""
    project = lock_project(project_id)
    now = timezone.now()
    due = [
        entry
        for entry in lock_entries(project_id)
        if entry.status == Status.RETIRING and entry.retire_at is not None and entry.retire_at <= now
    ]
    for entry in due:
        _retire(project, entry)
        _record_retired(project, entry.generation, None)
    if due:
        bump_keyset(project)
    return len(due)


# --- Keys that the command line set ---


@transaction.atomic
def set_key_from_cli(*, project: Project, public_key: bytes, actor: User | None) -> ProjectKey:
    """A new head that nobody has shown to hold: `any-llm key generate` stores it before it prints the private key.

    The head before it retires without a date, until somebody uses the new one (challenges.redeem), adopts it or undoes
    it. A head that was still unproven is discarded with its boxes. KeyInUseError when any project has or had this key.
    """
    admit(public_key)
    project = lock_project(project.id)
    check_not_archived(project)
    entries = lock_entries(project.id)
    head = _head(entries)
    previous = bytes(head.public_key) if head else b""
    if head is not None and head.status == Status.UNPROVEN:
        previous = bytes(project.keys.values_list("previous_public_key", flat=True).get(generation=head.generation))
        _discard(project, head)
    elif head is not None:
        head.status, head.retire_at = Status.RETIRING, None
        head.save(update_fields=["status", "retire_at"])
    generation = next_generation(entries)
    register_key(
        public_key=public_key,
        organization_id=organization_id(),
        project_id=project.id,
        generation=generation,
        status=Status.UNPROVEN,
    )
    made = ProjectKey.objects.create(
        project=project,
        generation=generation,
        public_key=public_key,
        previous_public_key=previous,
        via=ProjectKey.Via.CLI,
    )
    bump_keyset(project)
    record("project_key.set_by_cli", actor=actor, subject=label(project), project_id=project.id, generation=generation)
    return made


@transaction.atomic
def undo_cli_key(*, project: Project, actor: Membership, generation: int) -> None:
    """Discards the command line's key, with what was sealed for it, and the key before is the head again.

    RotationConflictError once it was used or adopted: then it can only be rolled back.
    """
    project = lock_project(project.id)
    check_not_archived(project)
    entries = lock_entries(project.id)
    _check_keeper(project, lock_members([actor.user_id]).get(actor.user_id))
    head = _head(entries)
    if head is None or head.generation != generation or head.status != Status.UNPROVEN:
        raise RotationConflictError("This key is in use by now, so it can't be undone. Roll back to the one before.")
    before = bytes(project.keys.values_list("previous_public_key", flat=True).get(generation=generation))
    _discard(project, head)
    for entry in entries:
        if bytes(entry.public_key) == before and entry.status == Status.RETIRING:
            entry.status, entry.retire_at = Status.ACTIVE, None
            entry.save(update_fields=["status", "retire_at"])
    bump_keyset(project)
    record("project_key.undone", actor=actor.user, subject=label(project), project_id=project.id, generation=generation)


@transaction.atomic
def adopt(
    *,
    project: Project,
    actor: Membership,
    generation: int,
    kid: str,
    self_grant: str,
    statement_signature: bytes = b"",
) -> None:
    """A member pasted the ANY_LLM_KEY of a live generation in their browser: they hold it from now on.

    A key without a statement gets the member's, and counts as proven; then the one before gets its time to retire. One
    that has a statement keeps it, and the signature may be left out.

    Raises RotationError for a generation that is not live, ProjectKeyError where the signature is wrong,
    NotAllowedError where the member's role or projects give them no keys.
    """
    check_kid(kid)
    project = lock_project(project.id)
    check_not_archived(project)
    entries = lock_entries(project.id)
    vault = _check_may_hold(project, lock_members([actor.user_id]).get(actor.user_id))
    entry = _live(entries, generation)
    key = project.keys.get(generation=generation)
    if not bytes(key.statement_signature):
        statement = statements.project_key(
            organization_id(), project.id, generation, bytes(key.public_key), bytes(key.previous_public_key)
        )
        if not statements.is_signed(statement, statement_signature, bytes(vault.ed25519_public_key)):
            raise ProjectKeyError("The project key is not signed by your vault. Unlock it and try again.")
        key.kid, key.statement_signature = kid, statement_signature
        key.signed_by_vault, key.signed_by_account_key_version = vault.id, vault.account_key_version
        key.save(update_fields=["kid", "statement_signature", "signed_by_vault", "signed_by_account_key_version"])
    if entry.status == Status.UNPROVEN:
        entry.status = Status.ACTIVE
        entry.save(update_fields=["status"])
        retire_at = timezone.now() + PROVEN_OVERLAP
        for other in entries:
            if other.status == Status.RETIRING and other.retire_at is None:
                other.retire_at = retire_at
                other.save(update_fields=["retire_at"])
        bump_keyset(project)
    store_self_grant(project=project, generation=generation, vault=vault, envelope=self_grant)
    _note_adopted(project, key, entry)
    record(
        "project_key.adopted", actor=actor.user, subject=label(project), project_id=project.id, generation=generation
    )


@transaction.atomic
def keep_own_grant(*, project: Project, actor: Membership, generation: int, envelope: str) -> None:
    """A member's own wrap of a key that they opened: pins it for them, in place of the grant that a teammate made.

    Raises RotationError for a generation that is not live, NotAllowedError where the member is to hold no keys here.
    """
    project = lock_project(project.id)
    entries = lock_entries(project.id)
    vault = _check_may_hold(project, lock_members([actor.user_id]).get(actor.user_id))
    _live(entries, generation)
    store_self_grant(project=project, generation=generation, vault=vault, envelope=envelope)


@transaction.atomic
def record_shown(*, project: Project, actor: Membership, generation: int) -> None:
    """Puts into the trail that a member showed an ANY_LLM_KEY. Their browser did: the server can't tell whether."""
    vault = _check_may_hold(project, actor)
    if not Grant.objects.filter(project=project, generation=generation, recipient_vault=vault.id).exists():
        raise NotAllowedError("You don't hold this key.")
    record("project_key.shown", actor=actor.user, subject=label(project), project_id=project.id, generation=generation)


def check_overlap(overlap: timedelta) -> None:
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise RotationError("An old key can go on for at most 30 days.")


def may_hold(project: Project, membership: Membership) -> bool:
    """Whether the member's role, or having been added to the project, gives them its keys."""
    return membership.role in HOLDERS_OF_ALL or (
        membership.role in KEY_HOLDERS
        and ProjectMember.objects.filter(project=project, user_id=membership.user_id).exists()
    )


def may_keep(project: Project, membership: Membership) -> bool:
    """Whether a member may change the project's keys: owners and admins, and developers who hold one."""
    vault: Vault | None = getattr(membership.user, "vault", None)
    if vault is None or not may_hold(project, membership):
        return False
    if membership.role in HOLDERS_OF_ALL:
        return True
    return Grant.objects.filter(
        project=project, recipient_vault=vault.id, recipient_account_key_version=vault.account_key_version
    ).exists()


def _check_may_hold(project: Project, membership: Membership | None) -> Vault:
    if membership is None or not may_hold(project, membership):
        raise NotAllowedError("You are not to hold the keys of this project. An owner or admin can add you to it.")
    try:
        return membership.user.vault
    except Vault.DoesNotExist:
        raise NotAllowedError("Your account has no vault yet. Set one up under Account.") from None


def _check_keeper(project: Project, membership: Membership | None) -> Vault:
    vault = _check_may_hold(project, membership)
    assert membership is not None
    if not may_keep(project, membership):
        raise NotAllowedError("You don't hold the keys of this project. Ask an owner or admin to give them to you.")
    return vault


def _head(entries: Sequence[ProjectKeyEntry]) -> ProjectKeyEntry | None:
    return next((entry for entry in entries if entry.status in (Status.ACTIVE, Status.UNPROVEN)), None)


def _active_head(entries: Sequence[ProjectKeyEntry]) -> ProjectKeyEntry:
    head = _head(entries)
    if head is None:
        raise RotationConflictError("The project has no ANY_LLM_KEY. Make one first.")
    if head.status == Status.UNPROVEN:
        raise RotationConflictError("A rotation from the command line is not finished. Undo it, or paste its new key.")
    return head


def _live(entries: Sequence[ProjectKeyEntry], generation: int) -> ProjectKeyEntry:
    for entry in entries:
        if entry.generation == generation and entry.status in ProjectKeyEntry.LIVE:
            return entry
    raise RotationError("This ANY_LLM_KEY is retired. Reload the page.")


def _lock_retiring(
    project: Project, actor: Membership, generation: int
) -> tuple[Project, ProjectKeyEntry, ProjectKeyEntry]:
    """The locked project, its active head, and a generation that still has time."""
    project = lock_project(project.id)
    check_not_archived(project)
    entries = lock_entries(project.id)
    _check_keeper(project, lock_members([actor.user_id]).get(actor.user_id))
    head = _active_head(entries)
    entry = _live(entries, generation)
    if entry.status != Status.RETIRING or (entry.retire_at is not None and entry.retire_at <= timezone.now()):
        raise RotationError("Only a key that is being retired can be extended, retired or rolled back to.")
    return project, head, entry


def _check_resealed(project: Project, resealed: Sequence[ResealedKey], key: NewProjectKey, signer: Vault) -> list[Box]:
    """The boxes to store; RotationConflictError unless every provider key is there once, as it is now."""
    current = {
        provider_key.id: provider_key for provider_key in ProviderKey.objects.filter(project=project, deleted_at=None)
    }
    given = {each.provider_key_id: each.version for each in resealed}
    if len(given) != len(resealed) or given != {found.id: found.version for found in current.values()}:
        raise RotationConflictError("The provider keys were changed meanwhile. Nothing was rotated: start again.")
    boxes = []
    for each in resealed:
        if each.box is None:
            continue
        if each.box.generation != key.generation:
            raise RotationError("A box is for another key. Reload the page and try again.")
        provider_key = current[each.provider_key_id]
        check_box(project.id, key.public_key, provider_key.provider, each.box, signer)
        boxes.append(
            Box(
                provider_key=provider_key,
                generation=key.generation,
                sealed=each.box.sealed,
                signature=each.box.signature,
                signed_by_vault=signer.id,
                signed_by_account_key_version=signer.account_key_version,
            )
        )
    return boxes


def _retire(project: Project, entry: ProjectKeyEntry) -> None:
    """Ends a generation of a locked project, and deletes what only it could open."""
    entry.status = Status.RETIRED
    entry.save(update_fields=["status"])
    _delete_sealed(project, entry.generation)
    # Archived, and nobody can open it any more: there is nothing left to restore.
    ProviderKey.objects.filter(project=project, deleted_at=None, archived_at__isnull=False, boxes=None).update(
        deleted_at=timezone.now()
    )


def _discard(project: Project, head: ProjectKeyEntry) -> None:
    """Takes an unproven head away as if it had not been; its number and key are used up."""
    head.status = Status.RETIRED
    head.save(update_fields=["status"])
    _delete_sealed(project, head.generation)
    project.keys.filter(generation=head.generation).delete()


def _delete_sealed(project: Project, generation: int) -> None:
    Box.objects.filter(provider_key__project=project, generation=generation).delete()
    Grant.objects.filter(project=project, generation=generation).delete()


def _record_retired(project: Project, generation: int, actor: User | None) -> None:
    record("project_key.retired", actor=actor, subject=label(project), project_id=project.id, generation=generation)


def is_required(project: Project) -> bool:
    """Whether somebody lost access to the project's keys and no key was made since."""
    since = project.rotation_required_since
    return since is not None and not project.keys.filter(created_at__gt=since).exists()


def _note_given_up(project: Project, generation: int) -> None:
    """The generation that was given up keeps the demand's reason, should it come back.

    The demand is met when the old key has ended and provider keys are replaced: the checklist looks (apps/members).
    """
    if project.rotation_required_since is not None:
        project.keys.filter(generation=generation).update(given_up_reason=project.rotation_required_reason)


def _note_adopted(project: Project, key: ProjectKey, entry: ProjectKeyEntry) -> None:
    """A key from the command line that was made after a demand arose, and is the head, gives up the one before it."""
    since = project.rotation_required_since
    if since is None or entry.status != Status.ACTIVE or key.created_at <= since:
        return
    previous = project.keys.filter(public_key=bytes(key.previous_public_key)).first()
    if previous is not None:
        _note_given_up(project, previous.generation)
