"""What changes the vault. Callers are in the organization's scope."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from apps.accounts.models import User, Vault
from apps.audit.services import record
from apps.projects.models import Project
from apps.projects.services import bump_keyset, check_not_archived, lock_project
from apps.vault.models import Box, Grant, ProviderKey
from apps.vault.selectors import live_keys
from cryptokit import sealed_box, statements
from cryptokit.encoding import b64_decode
from cryptokit.envelopes import WRAPPED_KEY
from web.errors import DomainError

PROVIDER = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
# A sealed provider key of 8 KiB.
LONGEST_BOX = 8 * 1024 + sealed_box.OVERHEAD


class VaultError(DomainError):
    status = 422
    code = "invalid_provider_key"


class KeysetChangedError(VaultError):
    """The boxes are not one for each live generation of the project's key: it was rotated since they were sealed."""

    status = 409
    code = "keyset_changed"

    def __init__(self) -> None:
        super().__init__(
            "The project's ANY_LLM_KEY was rotated meanwhile. Try again: it is sealed for the new one then."
        )


class ProviderKeyExistsError(DomainError):
    status = 409
    code = "provider_key_exists"


class ProviderKeyChangedError(DomainError):
    status = 409
    code = "provider_key_changed"


class ProviderKeyIncompleteError(DomainError):
    status = 409
    code = "provider_key_incomplete"


class NoGrantError(DomainError):
    status = 403
    code = "no_grant"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBox:
    """A provider key sealed in the browser for one generation (`sealed` in base64, empty for a local provider), and the
    member's signature over the provider-key statement."""

    generation: int
    sealed: str
    signature: bytes


def require_vault(user: User) -> Vault:
    """The person's vault; VaultError for one who has not set it up."""
    try:
        return user.vault
    except Vault.DoesNotExist:
        raise VaultError("Your account has no vault yet. Set one up under Account.") from None


@transaction.atomic
def add_provider_key(*, project: Project, provider: str, boxes: Sequence[SignedBox], signer: Vault) -> ProviderKey:
    """Stores a provider's key as boxes, one for each of the project's live generations.

    Raises VaultError where a box or signature is malformed, KeysetChangedError where a generation has no box or a box
    no live generation, ProviderKeyExistsError where the project has a key for the provider.
    """
    if not PROVIDER.fullmatch(provider):
        raise VaultError("A provider's name is lower-case letters, digits, and . _ - (at most 64).")
    project = _change_keyset(project.id)
    check_boxes(project=project, provider=provider, boxes=boxes, signer=signer)
    try:
        with transaction.atomic():
            provider_key = ProviderKey.objects.create(project=project, provider=provider, added_by=signer.user_id)
    except IntegrityError as error:
        raise _exists(provider) from error
    _store_boxes(provider_key, boxes, signer)
    _record("added", provider_key, signer)
    return provider_key


@transaction.atomic
def replace_provider_key(
    *, provider_key: ProviderKey, expected_version: int, boxes: Sequence[SignedBox], signer: Vault
) -> ProviderKey:
    """A new value in place of the old one, whose boxes are deleted.

    Raises VaultError and KeysetChangedError as adding does, ProviderKeyChangedError when somebody else replaced or
    archived it since `expected_version` was read.
    """
    provider_key = _lock(provider_key, expected_version)
    if provider_key.archived_at is not None:
        raise _changed(provider_key)
    check_boxes(project=provider_key.project, provider=provider_key.provider, boxes=boxes, signer=signer)
    provider_key.boxes.all().delete()
    _store_boxes(provider_key, boxes, signer)
    _save(provider_key, replaced_by=signer.user_id, updated_at=Now())
    _record("replaced", provider_key, signer)
    return provider_key


@transaction.atomic
def archive_provider_key(*, provider_key: ProviderKey, expected_version: int, actor: Vault) -> ProviderKey:
    """Hands it out no more, from the next request on. Its boxes stay, so that it can be restored.

    Raises ProviderKeyChangedError when it is not as it was at `expected_version`.
    """
    provider_key = _lock(provider_key, expected_version)
    if provider_key.archived_at is not None:
        raise _changed(provider_key)
    _save(provider_key, archived_at=Now())
    _record("archived", provider_key, actor)
    return provider_key


@transaction.atomic
def restore_provider_key(*, provider_key: ProviderKey, expected_version: int, actor: Vault) -> ProviderKey:
    """Hands an archived one out again.

    Raises ProviderKeyExistsError when another took its place, ProviderKeyIncompleteError when a rotation left it
    behind, ProviderKeyChangedError when it is not as it was at `expected_version`.
    """
    provider_key = _lock(provider_key, expected_version)
    if provider_key.archived_at is None:
        raise _changed(provider_key)
    sealed_for = set(provider_key.boxes.values_list("generation", flat=True))
    if not live_keys(provider_key.project_id).keys() <= sealed_for:
        raise ProviderKeyIncompleteError(
            f"The archived key for {provider_key.provider} isn't sealed for the present ANY_LLM_KEY. Add it again."
        )
    try:
        with transaction.atomic():
            _save(provider_key, archived_at=None)
    except IntegrityError as error:
        raise _exists(provider_key.provider) from error
    _record("restored", provider_key, actor)
    return provider_key


@transaction.atomic
def delete_provider_key(*, provider_key: ProviderKey, expected_version: int, actor: Vault) -> ProviderKey:
    """Deletes its boxes: nobody can open it again. The row stays, because usage refers to it.

    Raises ProviderKeyChangedError when it is not as it was at `expected_version`.
    """
    provider_key = _lock(provider_key, expected_version)
    provider_key.boxes.all().delete()
    # What is deleted is archived too: one condition says what counts.
    _save(provider_key, archived_at=provider_key.archived_at or Now(), deleted_at=Now())
    _record("deleted", provider_key, actor)
    return provider_key


@transaction.atomic
def release_box(*, provider_key: ProviderKey, vault: Vault) -> Box:
    """The box of the newest generation that `vault` holds a grant for, after the trail says that it was fetched.

    NoGrantError when it holds none, ProviderKeyChangedError when there is no box any more.
    """
    granted = Grant.objects.filter(
        project=provider_key.project_id,
        generation__in=live_keys(provider_key.project_id).keys(),
        recipient_vault=vault.id,
        recipient_account_key_version=vault.account_key_version,
    ).values_list("generation", flat=True)
    if not granted:
        raise NoGrantError(
            "You don't hold this project's keys, so nobody but those who do can reveal this one. Ask an owner or admin."
        )
    box = provider_key.boxes.filter(generation__in=list(granted)).order_by("-generation").first()
    if box is None:
        raise _changed(provider_key)
    _record("revealed", provider_key, vault)
    return box


def _change_keyset(project_id: uuid.UUID) -> Project:
    """The project, locked and its keyset's version counted on; ProjectArchivedError where nothing may change."""
    project = lock_project(project_id)
    check_not_archived(project)
    bump_keyset(project)
    return project


def _lock(provider_key: ProviderKey, expected_version: int) -> ProviderKey:
    """The row as it is now, locked; ProviderKeyChangedError unless it is at `expected_version` and not deleted."""
    project = _change_keyset(provider_key.project_id)
    current = ProviderKey.objects.select_for_update().get(id=provider_key.id)
    if current.version != expected_version or current.deleted_at is not None:
        raise _changed(current)
    current.project = project
    return current


def _save(provider_key: ProviderKey, **fields: object) -> None:
    for name, value in fields.items():
        setattr(provider_key, name, value)
    provider_key.version += 1
    provider_key.save(update_fields=["version", *fields])
    provider_key.refresh_from_db(fields=list(fields))


def _changed(provider_key: ProviderKey) -> ProviderKeyChangedError:
    return ProviderKeyChangedError(
        f"The key for {provider_key.provider} was changed meanwhile. Look at what it is now, then try again."
    )


def _exists(provider: str) -> ProviderKeyExistsError:
    return ProviderKeyExistsError(f"The project has a key for {provider}. Replace that one instead.")


def _record(what: str, provider_key: ProviderKey, actor: Vault) -> None:
    project = provider_key.project
    record(
        f"provider_key.{what}",
        actor=actor.user,
        subject=f"{project.name} ({project.environment})",
        project_id=project.id,
        provider=provider_key.provider,
    )


def _store_boxes(provider_key: ProviderKey, boxes: Sequence[SignedBox], signer: Vault) -> None:
    Box.objects.bulk_create(
        Box(
            provider_key=provider_key,
            generation=box.generation,
            sealed=box.sealed,
            signature=box.signature,
            signed_by_vault=signer.id,
            signed_by_account_key_version=signer.account_key_version,
        )
        for box in boxes
    )


def check_boxes(*, project: Project, provider: str, boxes: Sequence[SignedBox], signer: Vault) -> None:
    """Raises VaultError unless each box is well-formed and signed by `signer`, KeysetChangedError unless they are one
    for each live generation. The project is locked: it stays so until they are stored."""
    public_keys = live_keys(project.id)
    if sorted(box.generation for box in boxes) != sorted(public_keys) or not boxes:
        raise KeysetChangedError
    for box in boxes:
        check_box(project.id, public_keys[box.generation], provider, box, signer)


def check_box(project_id: uuid.UUID, public_key: bytes, provider: str, box: SignedBox, signer: Vault) -> None:
    """VaultError unless the box is well-formed, and signed by `signer` for this key of the project."""
    try:
        raw = b64_decode(box.sealed)
    except ValueError as error:
        raise VaultError("A box must be standard base64 with padding.") from error
    if raw and not sealed_box.OVERHEAD <= len(raw) <= LONGEST_BOX:
        raise VaultError("A box holds a provider key of at most 8 KiB.")
    statement = statements.provider_key(project_id, box.generation, public_key, provider, raw)
    if not statements.is_signed(statement, box.signature, bytes(signer.ed25519_public_key)):
        raise VaultError("The box is not signed by your vault. Unlock it and try again.")


def store_self_grant(*, project: Project, generation: int, vault: Vault, envelope: str) -> Grant:
    """A member's own wrap of a project's private key; replaces the one they had for this generation."""
    if not WRAPPED_KEY.fullmatch(envelope):
        raise VaultError("The grant is malformed. Reload the page and try again.")
    grant, _ = Grant.objects.update_or_create(
        project=project,
        generation=generation,
        recipient_vault=vault.id,
        recipient_account_key_version=vault.account_key_version,
        defaults={
            "sender_vault": vault.id,
            "sender_account_key_version": vault.account_key_version,
            "envelope": envelope,
        },
    )
    return grant
