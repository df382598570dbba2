"""What changes projects and their keys. Callers are in the organization's scope."""

import re
import uuid
from dataclasses import dataclass

from django.db import transaction
from django.shortcuts import get_object_or_404

from apps.accounts.models import Vault
from apps.directory.models import ProjectKeyEntry
from apps.directory.services import register_key
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


def create_project(*, name: str, description: str = "") -> Project:
    name = name.strip()
    if not name or len(name) > 255 or len(description) > 1024 or "\0" in name + description:
        raise ProjectError("Give the project a name of at most 255 and a description of at most 1024 characters.")
    return Project.objects.create(name=name, description=description)


def lock_project(project_id: uuid.UUID) -> Project:
    """The project's row, locked until the transaction ends.

    Every change of a project's keys, boxes and grants begins with it. Locks are taken in this order: the project, the
    directory's entries for it, then the rest. Http404 when there is none, or it was deleted for good.
    """
    return get_object_or_404(Project.objects.select_for_update(), id=project_id, deleted_at=None)


def bump_keyset(project: Project) -> None:
    """Counts a change of a locked project's keys or boxes: a rotation that was prepared before has to start again."""
    project.keyset_version += 1
    project.save(update_fields=["keyset_version"])


@transaction.atomic
def add_first_key(*, project: Project, key: NewProjectKey, signer: Vault) -> ProjectKey:
    """The first generation of a project's key, made by `signer`'s browser, active at once.

    Raises ProjectKeyError where the key or the signature is not what it should be, KeyInUseError where the key
    or the generation is taken.
    """
    organization_id = require_scope().tenant_id
    assert organization_id is not None
    check_key(organization_id=organization_id, project_id=project.id, key=key, signer=signer)
    register_key(
        public_key=key.public_key,
        organization_id=organization_id,
        project_id=project.id,
        generation=key.generation,
        status=ProjectKeyEntry.Status.ACTIVE,
    )
    return ProjectKey.objects.create(
        project=project,
        generation=key.generation,
        public_key=key.public_key,
        kid=key.kid,
        via=ProjectKey.Via.BROWSER,
        statement_signature=key.statement_signature,
        signed_by_vault=signer.id,
        signed_by_account_key_version=signer.account_key_version,
    )


def check_key(*, organization_id: uuid.UUID, project_id: uuid.UUID, key: NewProjectKey, signer: Vault) -> None:
    """ProjectKeyError unless the key can be admitted and `signer` signed its statement."""
    try:
        admit_public_key(b64(key.public_key))
    except InvalidPublicKeyError as error:
        raise ProjectKeyError(f"The project key {error}.") from error
    if not KID.fullmatch(key.kid) or key.generation != 1:
        raise ProjectKeyError("The first key of a project is generation 1, with a label of eight hex digits.")
    statement = statements.project_key(organization_id, project_id, key.generation, key.public_key)
    if not statements.is_signed(statement, key.statement_signature, bytes(signer.ed25519_public_key)):
        raise ProjectKeyError("The project key is not signed by your vault. Unlock it and try again.")
