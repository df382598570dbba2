"""What the pages of provider keys call. docs/protocol.md has what is signed."""

import uuid

import msgspec
from django.http import HttpResponse
from django.views.decorators.http import require_GET, require_POST

from apps.accounts.reauthentication import require_recent
from apps.ledger.selectors import recent_clients
from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import HOLDERS_OF_ALL, Ability
from apps.projects.models import Project
from apps.projects.selectors import access_project
from apps.vault import selectors, services
from apps.vault.keyset import identity_of
from apps.vault.services import NoGrantError, SignedBox, VaultError, require_vault
from cryptokit.encoding import b64_decode
from web.api import json_response, read_json


class NewBox(msgspec.Struct):
    """`sealed` and `signature` in standard base64; `sealed` is empty for a local provider."""

    generation: int
    sealed: str
    signature: str

    def signed_box(self) -> SignedBox:
        try:
            signature = b64_decode(self.signature)
        except ValueError as error:
            raise VaultError("A signature must be standard base64 with padding.") from error
        return SignedBox(generation=self.generation, sealed=self.sealed, signature=signature)


class NewProviderKey(msgspec.Struct):
    provider: str
    boxes: list[NewBox]


class NewValue(msgspec.Struct):
    expected_version: int
    boxes: list[NewBox]


class Expected(msgspec.Struct):
    expected_version: int


class Deletion(msgspec.Struct):
    """`provider` is what the person typed to confirm."""

    expected_version: int
    provider: str


@require_GET
@organization_view(Ability.VIEW)
def listing(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """GET …/provider-keys — `{"provider_keys": [ProviderKeyRow]}`."""
    return _rows(access_project(project_id))


@require_GET
@organization_view(Ability.VIEW)
def seals(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """GET …/provider-keys/seals — `{"seals": [BoxSeal], "signers": [identity]}`, to check who sealed what."""
    found = selectors.box_seals(access_project(project_id))
    return json_response({"seals": found, "signers": [identity_of(vault) for vault in selectors.signers(found)]})


@require_POST
@organization_view(Ability.SEAL)
def add(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/provider-keys/add NewProviderKey — 201 with the new list."""
    body = read_json(request, NewProviderKey)
    project = access_project(project_id)
    boxes = [box.signed_box() for box in body.boxes]
    services.add_provider_key(project=project, provider=body.provider, boxes=boxes, signer=require_vault(request.user))
    return _rows(project, status=201)


@require_POST
@organization_view(Ability.SEAL)
def replace(request: MemberRequest, project_id: uuid.UUID, provider_key_id: uuid.UUID) -> HttpResponse:
    """POST …/provider-keys/<id>/replace NewValue — the new list."""
    body = read_json(request, NewValue)
    provider_key = selectors.access_provider_key(project_id, provider_key_id)
    boxes = [box.signed_box() for box in body.boxes]
    services.replace_provider_key(
        provider_key=provider_key,
        expected_version=body.expected_version,
        boxes=boxes,
        signer=require_vault(request.user),
    )
    return _rows(provider_key.project)


@require_POST
@organization_view(Ability.KEEP)
def archive(request: MemberRequest, project_id: uuid.UUID, provider_key_id: uuid.UUID) -> HttpResponse:
    """POST …/provider-keys/<id>/archive Expected — the new list."""
    body = read_json(request, Expected)
    provider_key = selectors.access_provider_key(project_id, provider_key_id)
    _check_keeps(request, provider_key.project)
    services.archive_provider_key(
        provider_key=provider_key, expected_version=body.expected_version, actor=require_vault(request.user)
    )
    return _rows(provider_key.project)


@require_POST
@organization_view(Ability.KEEP)
def restore(request: MemberRequest, project_id: uuid.UUID, provider_key_id: uuid.UUID) -> HttpResponse:
    """POST …/provider-keys/<id>/restore Expected — the new list."""
    body = read_json(request, Expected)
    provider_key = selectors.access_provider_key(project_id, provider_key_id)
    _check_keeps(request, provider_key.project)
    services.restore_provider_key(
        provider_key=provider_key, expected_version=body.expected_version, actor=require_vault(request.user)
    )
    return _rows(provider_key.project)


@require_POST
@organization_view(Ability.KEEP)
def delete(request: MemberRequest, project_id: uuid.UUID, provider_key_id: uuid.UUID) -> HttpResponse:
    """POST …/provider-keys/<id>/delete Deletion — the new list."""
    body = read_json(request, Deletion)
    provider_key = selectors.access_provider_key(project_id, provider_key_id)
    _check_keeps(request, provider_key.project)
    if body.provider != provider_key.provider:
        raise VaultError(f"Type {provider_key.provider} to delete its key.")
    require_recent(request)
    services.delete_provider_key(
        provider_key=provider_key, expected_version=body.expected_version, actor=require_vault(request.user)
    )
    return _rows(provider_key.project)


@require_POST
@organization_view(Ability.KEEP)
def reveal(request: MemberRequest, project_id: uuid.UUID, provider_key_id: uuid.UUID) -> HttpResponse:
    """POST …/provider-keys/<id>/reveal — `{"generation", "sealed", "version"}`, once the trail has it.

    The server sees that the box was fetched, not that it was opened.
    """
    require_recent(request)
    provider_key = selectors.access_provider_key(project_id, provider_key_id)
    box = services.release_box(provider_key=provider_key, vault=require_vault(request.user))
    return json_response({"generation": box.generation, "sealed": box.sealed, "version": provider_key.version})


@require_GET
@organization_view(Ability.VIEW)
def clients(request: MemberRequest, project_id: uuid.UUID, provider_key_id: uuid.UUID) -> HttpResponse:
    """GET …/provider-keys/<id>/clients — `{"clients": [{"name", "last_used_at"}]}`, who used it lately."""
    provider_key = selectors.access_provider_key(project_id, provider_key_id)
    found = recent_clients(project_id=project_id, provider_key_id=provider_key.id)
    return json_response({"clients": [{"name": name, "last_used_at": when} for name, when in found]})


def _rows(project: Project, status: int = 200) -> HttpResponse:
    return json_response({"provider_keys": selectors.provider_keys(project)}, status=status)


def _check_keeps(request: MemberRequest, project: Project) -> None:
    """Developers keep the projects whose keys they hold; owners and admins keep all."""
    if request.membership.role not in HOLDERS_OF_ALL and not selectors.holds_grant(
        project, require_vault(request.user)
    ):
        raise NoGrantError("You don't hold this project's keys. Ask an owner or admin.")
