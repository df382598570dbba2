"""Reads of the vault. Callers are in the organization's scope."""

import hashlib
import uuid
from collections.abc import Iterable
from datetime import datetime

import msgspec
from django.http import Http404

from apps.accounts.models import User, Vault
from apps.directory.models import ProjectKeyEntry
from apps.projects.models import Project
from apps.vault.models import Box, Grant, ProviderKey
from cryptokit.encoding import b64, b64_decode


class ProviderKeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A provider key as pages show it. People are named as they are called now, empty where they are gone."""

    id: uuid.UUID
    provider: str
    version: int
    added_by: str
    added_at: datetime
    replaced_by: str
    replaced_at: datetime | None
    last_used_at: datetime | None
    archived_at: datetime | None
    # Which generations of ANY_LLM_KEY it can be opened with.
    generations: list[int]
    # Sealed as empty: for a provider that runs on the customer's own machines and asks for no key.
    is_empty: bool


class BoxSeal(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser needs to check who sealed a box: not the box, but its digest.

    The digest is of the box that is handed out, so an exchanged box shows. Signatures and digests in standard base64.
    """

    provider_key: uuid.UUID
    generation: int
    digest: str
    signature: str
    signed_by_vault: uuid.UUID | None
    signed_by_account_key_version: int | None


def live_keys(project_id: uuid.UUID) -> dict[int, bytes]:
    """The public keys of the project's live generations."""
    entries = ProjectKeyEntry.objects.filter(project_id=project_id, status__in=ProjectKeyEntry.LIVE)
    return {entry.generation: bytes(entry.public_key) for entry in entries}


def access_provider_key(project_id: uuid.UUID, provider_key_id: uuid.UUID) -> ProviderKey:
    """A provider key of the project, archived ones included; Http404 when there is none, or it was deleted for good."""
    found = (
        ProviderKey.objects.select_related("project")
        .filter(id=provider_key_id, project_id=project_id, project__deleted_at=None, deleted_at=None)
        .first()
    )
    if found is None:
        raise Http404
    return found


def provider_keys(project: Project) -> list[ProviderKeyRow]:
    """The project's provider keys by name, archived ones last, without those that were deleted for good."""
    keys = list(
        ProviderKey.objects.filter(project=project, deleted_at=None)
        .prefetch_related("boxes")
        .order_by("provider", "created_at")
    )
    names = people({key.added_by for key in keys} | {key.replaced_by for key in keys})
    rows = [_row(key, names) for key in keys]
    return sorted(rows, key=lambda row: row.archived_at is not None)


def _row(key: ProviderKey, names: dict[uuid.UUID | None, str]) -> ProviderKeyRow:
    boxes = list(key.boxes.all())
    return ProviderKeyRow(
        id=key.id,
        provider=key.provider,
        version=key.version,
        added_by=names.get(key.added_by, ""),
        added_at=key.created_at,
        replaced_by=names.get(key.replaced_by, ""),
        replaced_at=key.updated_at,
        last_used_at=key.last_used_at,
        archived_at=key.archived_at,
        generations=sorted(box.generation for box in boxes),
        is_empty=bool(boxes) and not any(box.sealed for box in boxes),
    )


def people(ids: Iterable[uuid.UUID | None]) -> dict[uuid.UUID | None, str]:
    """What to call these people: their name, else their address."""
    found = User.objects.filter(id__in=[user_id for user_id in ids if user_id])
    return {user.id: user.name or user.email for user in found}


def box_seals(project: Project) -> list[BoxSeal]:
    """Of all boxes that could be handed out: those of current provider keys, for live generations."""
    boxes = Box.objects.filter(
        provider_key__project=project, provider_key__archived_at=None, generation__in=live_keys(project.id).keys()
    )
    return [
        BoxSeal(
            provider_key=box.provider_key_id,
            generation=box.generation,
            digest=b64(hashlib.sha256(b64_decode(box.sealed)).digest()),
            signature=b64(bytes(box.signature)),
            signed_by_vault=box.signed_by_vault,
            signed_by_account_key_version=box.signed_by_account_key_version,
        )
        for box in boxes.order_by("provider_key_id", "-generation")
    ]


def signers(seals: Iterable[BoxSeal]) -> list[Vault]:
    """The vaults that signed them, with their people, as far as they are still there."""
    ids = {seal.signed_by_vault for seal in seals if seal.signed_by_vault}
    return list(Vault.objects.select_related("user").filter(id__in=ids))


def holds_grant(project: Project, vault: Vault) -> bool:
    """Whether this member was given the key of one of the project's live generations."""
    return Grant.objects.filter(
        project=project,
        generation__in=live_keys(project.id).keys(),
        recipient_vault=vault.id,
        recipient_account_key_version=vault.account_key_version,
    ).exists()
