"""What changes projects and their keys. Callers are in the organization's scope."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone

from apps.accounts.models import User, Vault
from apps.audit.services import record
from apps.directory import ingest_tokens
from apps.directory.models import ProjectKeyEntry
from apps.directory.services import KeyInUseError, lock_entries, register_key, retire_key, set_suspended
from apps.projects.models import Project, ProjectKey
from cryptokit import statements
from cryptokit.encoding import b64
from cryptokit.public_keys import InvalidPublicKeyError, admit_public_key
from tenancy import require_scope
from web.errors import DomainError

KID = re.compile(r"[0-9a-f]{8}")


class ProjectError(DomainError):
    status = 422
    code = "invalid_project"


class ProjectExistsError(DomainError):
    status = 409
    code = "project_exists"


class ProjectArchivedError(DomainError):
    status = 409
    code = "project_archived"


class ProjectKeyError(DomainError):
    status = 422
    code = "invalid_project_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProjectKey:
    """What a member's browser made for a new generation: the public half, its label, their signature over it."""

    generation: int
    public_key: bytes
    kid: str
    statement_signature: bytes


def create_project(
    *,
    name: str,
    environment: str = Project.Environment.PRODUCTION,
    description: str = "",
    actor: User | None = None,
) -> Project:
    """A project without keys. Raises ProjectError, and ProjectExistsError where the name has this environment."""
    check_project(name, environment, description)
    try:
        with transaction.atomic():
            project = Project.objects.create(
                name=name.strip(), environment=environment, description=description.strip()
            )
            record("project.created", actor=actor, subject=label(project), project_id=project.id)
    except IntegrityError as error:
        raise _exists(name, environment) from error
    return project


@transaction.atomic
def change_project(*, project_id: uuid.UUID, name: str, environment: str, description: str, actor: User) -> Project:
    """Renames, describes or moves a project to another environment; errors as when it is created."""
    check_project(name, environment, description)
    project = lock_project(project_id)
    project.name, project.environment, project.description = name.strip(), environment, description.strip()
    project.updated_at = timezone.now()
    try:
        with transaction.atomic():
            project.save(update_fields=["name", "environment", "description", "updated_at"])
    except IntegrityError as error:
        raise _exists(name, environment) from error
    record("project.changed", actor=actor, subject=label(project), project_id=project.id)
    return project


@transaction.atomic
def archive_project(*, project_id: uuid.UUID, actor: User) -> Project:
    """Puts a project away: its keys open nothing from the next request on. Nothing is deleted; again does nothing."""
    project = lock_project(project_id)
    if project.archived_at is None:
        project.archived_at = timezone.now()
        project.save(update_fields=["archived_at"])
        set_suspended(project.id, True)
        bump_keyset(project)
        record("project.archived", actor=actor, subject=label(project), project_id=project.id)
    return project


@transaction.atomic
def restore_project(*, project_id: uuid.UUID, actor: User) -> Project:
    """Brings a project back as it would be had it not been archived: a key that was retiring went on doing so.

    Raises ProjectExistsError when another took its name and environment.
    """
    project = lock_project(project_id)
    if project.archived_at is not None:
        project.archived_at = None
        try:
            with transaction.atomic():
                project.save(update_fields=["archived_at"])
        except IntegrityError as error:
            raise _exists(project.name, project.environment) from error
        set_suspended(project.id, False)
        bump_keyset(project)
        record("project.restored", actor=actor, subject=label(project), project_id=project.id)
    return project


@transaction.atomic
def delete_project(*, project_id: uuid.UUID, actor: User) -> None:
    """Deletes what an archived project keeps: grants, boxes, clients. Its keys are retired for good.

    The row stays, with the names of its provider keys: usage and the trail refer to them. Raises ProjectError while it
    is not archived.
    """
    project = lock_project(project_id)
    if project.archived_at is None:
        raise ProjectError("Archive the project before you delete it.")
    for entry in lock_entries(project.id):
        retire_key(project_id=project.id, generation=entry.generation)
    ingest_tokens.revoke_all(project.id)
    project.grants.all().delete()
    for provider_key in project.provider_keys.filter(deleted_at=None):
        provider_key.boxes.all().delete()
        provider_key.archived_at = provider_key.archived_at or timezone.now()
        provider_key.deleted_at = timezone.now()
        provider_key.save(update_fields=["archived_at", "deleted_at"])
    project.clients.all().delete()
    project.members.all().delete()
    project.deleted_at = timezone.now()
    project.save(update_fields=["deleted_at"])
    record("project.deleted", actor=actor, subject=label(project), project_id=project.id)


def check_project(name: str, environment: str, description: str) -> None:
    name = name.strip()
    if not name or len(name) > 255 or len(description) > 1024 or "\0" in name + description:
        raise ProjectError("Give the project a name of at most 255 and a description of at most 1024 characters.")
    if environment not in Project.Environment.values:
        raise ProjectError("A project's environment is development, staging or production.")


def label(project: Project) -> str:
    """How the trail calls a project."""
    return f"{project.name} ({project.environment})"


def _exists(name: str, environment: str) -> "ProjectExistsError":
    return ProjectExistsError(f"There is a project {name.strip()} for {environment} already. Choose another name.")


def lock_project(project_id: uuid.UUID) -> Project:
    """The project's row, locked until the transaction ends; rows that refer to it can still be added.

    Every change of a project's keys, boxes and grants begins with it. Locks are taken in this order: the project, the
    directory's entries for it, memberships, then the rest. Http404 when there is none, or it was deleted for good.
    """
    return get_object_or_404(Project.objects.select_for_update(no_key=True), id=project_id, deleted_at=None)


def bump_keyset(project: Project) -> None:
    """Counts a change of a locked project's keys or boxes: a rotation that was prepared before has to start again."""
    project.keyset_version += 1
    project.save(update_fields=["keyset_version"])


@transaction.atomic
def add_first_key(*, project: Project, key: NewProjectKey, signer: Vault) -> ProjectKey:
    """The key of a project that has none, made by `signer`'s browser, active at once.

    Raises ProjectKeyError where the key or the signature is not what it should be, KeyInUseError where the project has
    a key already, or the key is or was another project's.
    """
    project = lock_project(project.id)
    check_not_archived(project)
    entries = lock_entries(project.id)
    if any(entry.status in ProjectKeyEntry.LIVE for entry in entries):
        raise KeyInUseError("The project has an ANY_LLM_KEY already. Rotate it instead.")
    check_key(project_id=project.id, key=key, generation=next_generation(entries), signer=signer)
    made = add_generation(project=project, key=key, signer=signer)
    bump_keyset(project)
    return made


def next_generation(entries: Sequence[ProjectKeyEntry]) -> int:
    """Numbers are never used twice, so there are gaps where a key was undone."""
    return max((entry.generation for entry in entries), default=0) + 1


def add_generation(*, project: Project, key: NewProjectKey, signer: Vault, previous: bytes = b"") -> ProjectKey:
    """Enters a checked key as the active head of a locked project that has no other head; KeyInUseError when any
    project has or had it."""
    register_key(
        public_key=key.public_key,
        organization_id=organization_id(),
        project_id=project.id,
        generation=key.generation,
        status=ProjectKeyEntry.Status.ACTIVE,
    )
    return ProjectKey.objects.create(
        project=project,
        generation=key.generation,
        public_key=key.public_key,
        previous_public_key=previous,
        kid=key.kid,
        via=ProjectKey.Via.BROWSER,
        statement_signature=key.statement_signature,
        signed_by_vault=signer.id,
        signed_by_account_key_version=signer.account_key_version,
    )


def check_key(
    *, project_id: uuid.UUID, key: NewProjectKey, generation: int, signer: Vault, previous: bytes = b""
) -> None:
    """ProjectKeyError unless the key can be admitted as this generation and `signer` signed its statement."""
    admit(key.public_key)
    check_kid(key.kid)
    if key.generation != generation:
        raise ProjectKeyError(f"The project's next key is generation {generation}. Reload the page and try again.")
    statement = statements.project_key(organization_id(), project_id, key.generation, key.public_key, previous)
    if not statements.is_signed(statement, key.statement_signature, bytes(signer.ed25519_public_key)):
        raise ProjectKeyError("The project key is not signed by your vault. Unlock it and try again.")


def admit(public_key: bytes) -> None:
    try:
        admit_public_key(b64(public_key))
    except InvalidPublicKeyError as error:
        raise ProjectKeyError(f"The project key {error}.") from error


def check_kid(kid: str) -> None:
    if not KID.fullmatch(kid):
        raise ProjectKeyError("A key's label is eight hex digits.")


def check_not_archived(project: Project) -> None:
    if project.archived_at is not None:
        raise ProjectArchivedError("The project is archived. Restore it first.")


def organization_id() -> uuid.UUID:
    """Of the organization whose scope the caller is in."""
    found = require_scope().tenant_id
    assert found is not None
    return found
