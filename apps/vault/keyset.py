"""A project's keyset: its live generations as a member's browser needs them to seal, open and rotate."""

import uuid
from collections.abc import Iterable
from typing import Any

from apps.accounts.models import Vault
from apps.directory.models import ProjectKeyEntry
from apps.projects.models import Client, Project, ProjectKey
from apps.vault.models import Grant
from cryptokit.encoding import b64
from tenancy import require_scope

Identity = dict[str, Any]


def identity_of(vault: Vault) -> Identity:
    """A member's public identity as JSON, keys and signature in standard base64, and how to call them."""
    return {
        "vault_id": str(vault.id),
        "akv": vault.account_key_version,
        "x25519_public_key": b64(bytes(vault.x25519_public_key)),
        "ed25519_public_key": b64(bytes(vault.ed25519_public_key)),
        "identity_signature": b64(bytes(vault.identity_signature)),
        "name": vault.user.name,
        "email": vault.user.email,
    }


def keyset(project: Project, vault: Vault | None) -> dict[str, Any]:
    """The live generations, newest first, with `vault`'s own grant to each. docs/protocol.md says how to check them.

    `signer` and `sender` are identities, None where those keys are gone: the account was reset or deleted since, so
    nothing of theirs can be checked.
    """
    entries = {
        entry.generation: entry
        for entry in ProjectKeyEntry.objects.filter(project_id=project.id).order_by("-generation")
    }
    live = [entry for entry in entries.values() if entry.status in ProjectKeyEntry.LIVE]
    keys = {key.generation: key for key in project.keys.filter(generation__in=[entry.generation for entry in live])}
    grants = _own_grants(project, vault)
    identities = _identities(
        [key.signed_by_vault for key in keys.values()] + [grant.sender_vault for grant in grants.values()]
    )
    seen: dict[int, list[dict[str, Any]]] = {}
    for client in Client.objects.filter(project=project, last_generation__in=keys).order_by("name"):
        seen.setdefault(client.last_generation or 0, []).append(
            {"name": client.name, "last_seen_at": client.last_seen_at}
        )

    def signed_by(vault_id: uuid.UUID | None, version: int | None) -> Identity | None:
        found = identities.get(vault_id) if vault_id else None
        return found if found is not None and found["akv"] == version else None

    def generation(entry: ProjectKeyEntry, key: ProjectKey) -> dict[str, Any]:
        signature, grant = bytes(key.statement_signature), grants.get(entry.generation)
        return {
            "generation": entry.generation,
            "public_key": b64(bytes(key.public_key)),
            "kid": key.kid,
            "status": entry.status,
            "via": key.via,
            "created_at": key.created_at,
            "retire_at": entry.retire_at,
            "last_used_at": key.last_used_at,
            "previous_public_key": b64(bytes(key.previous_public_key)),
            "statement_signature": b64(signature) if signature else None,
            "signer": signed_by(key.signed_by_vault, key.signed_by_account_key_version),
            "clients": seen.get(entry.generation, []),
            "grant": grant
            and {
                "envelope": grant.envelope,
                "sender": signed_by(grant.sender_vault, grant.sender_account_key_version),
            },
        }

    return {
        "organization_id": str(require_scope().tenant_id),
        "project_id": str(project.id),
        "keyset_version": project.keyset_version,
        "next_generation": max(entries, default=0) + 1,
        "generations": [generation(entry, keys[entry.generation]) for entry in live],
    }


def _own_grants(project: Project, vault: Vault | None) -> dict[int, Grant]:
    if vault is None:
        return {}
    own = Grant.objects.filter(
        project=project, recipient_vault=vault.id, recipient_account_key_version=vault.account_key_version
    )
    return {grant.generation: grant for grant in own}


def _identities(vault_ids: Iterable[uuid.UUID | None]) -> dict[uuid.UUID, Identity]:
    vaults = Vault.objects.select_related("user").filter(id__in={vault_id for vault_id in vault_ids if vault_id})
    return {vault.id: identity_of(vault) for vault in vaults}
