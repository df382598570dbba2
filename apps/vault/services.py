"""What changes the vault. Callers are in the organization's scope."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from apps.accounts.models import Vault
from apps.projects.models import Project
from apps.vault.models import Box, Grant, ProviderKey
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


class ProviderKeyExistsError(DomainError):
    status = 409
    code = "provider_key_exists"


class ProviderKeyChangedError(DomainError):
    status = 409
    code = "provider_key_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedBox:
    """A provider key sealed in the browser for one generation (`sealed` in base64, empty for a local provider), and the
    member's signature over the provider-key statement."""

    generation: int
    sealed: str
    signature: bytes


@transaction.atomic
def add_provider_key(*, project: Project, provider: str, boxes: Sequence[SignedBox], signer: Vault) -> ProviderKey:
    """Stores a provider's key as boxes, one for each of the project's live generations.

    Raises VaultError where a box or signature is malformed, ProviderKeyExistsError where the project has a key
    for the provider.
    """
    if not PROVIDER.fullmatch(provider):
        raise VaultError("A provider's name is lower-case letters, digits, and . _ - (at most 64).")
    check_boxes(project=project, provider=provider, boxes=boxes, signer=signer)
    try:
        with transaction.atomic():
            provider_key = ProviderKey.objects.create(project=project, provider=provider)
    except IntegrityError as error:
        raise ProviderKeyExistsError(f"The project has a key for {provider}. Replace it instead.") from error
    _store_boxes(provider_key, boxes, signer)
    return provider_key


@transaction.atomic
def replace_provider_key(
    *, provider_key: ProviderKey, expected_version: int, boxes: Sequence[SignedBox], signer: Vault
) -> ProviderKey:
    """A new value in place of the old one, whose boxes are deleted.

    Raises VaultError where a box or signature is malformed, ProviderKeyChangedError when somebody else replaced or
    archived it since `expected_version` was read.
    """
    check_boxes(project=provider_key.project, provider=provider_key.provider, boxes=boxes, signer=signer)
    replaced = ProviderKey.objects.filter(id=provider_key.id, version=expected_version, archived_at=None).update(
        version=expected_version + 1, updated_at=Now()
    )
    if not replaced:
        raise ProviderKeyChangedError(
            f"The key for {provider_key.provider} was changed meanwhile. Reload the page and try again."
        )
    Box.objects.filter(provider_key=provider_key).delete()
    _store_boxes(provider_key, boxes, signer)
    provider_key.refresh_from_db()
    return provider_key


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
    """VaultError unless each box is well-formed, for a generation that exists, and signed by `signer`."""
    public_keys = dict(project.keys.values_list("generation", "public_key"))
    for box in boxes:
        try:
            raw = b64_decode(box.sealed)
        except ValueError as error:
            raise VaultError("A box must be standard base64 with padding.") from error
        if raw and not sealed_box.OVERHEAD <= len(raw) <= LONGEST_BOX:
            raise VaultError("A box holds a provider key of at most 8 KiB.")
        if box.generation not in public_keys:
            raise VaultError("The project's key was rotated meanwhile. Reload the page and try again.")
        public_key = bytes(public_keys[box.generation])
        statement = statements.provider_key(project.id, box.generation, public_key, provider, raw)
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
