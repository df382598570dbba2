"""The page of a project's ANY_LLM_KEY, and what its module calls. docs/protocol.md has what is signed and wrapped."""

import uuid
from datetime import timedelta

import msgspec
from django.http import HttpResponse
from django.views.decorators.http import require_GET, require_POST

from apps.accounts.reauthentication import require_recent
from apps.directory import candidates
from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import ABILITIES, Ability
from apps.projects.pages import render_project_page
from apps.projects.selectors import access_project
from apps.projects.services import NewProjectKey, ProjectKeyError, admit
from apps.vault import rotation
from apps.vault.grants import SealedGrant, recipients
from apps.vault.keyset import identity_of, keyset
from apps.vault.models import Box, ProviderKey
from apps.vault.rotation import ResealedKey, Rotation, RotationError
from apps.vault.services import SignedBox, require_vault
from cryptokit.encoding import b64_decode
from web.api import json_response, read_json

# Boxes of 200 provider keys at their longest, and grants for as many members.
ROTATION_LIMIT = 4 * 1024 * 1024


class Candidate(msgspec.Struct):
    public_key: str


class NewKey(msgspec.Struct):
    """A key made in the browser; `public_key` and `statement_signature` in standard base64."""

    generation: int
    public_key: str
    kid: str
    statement_signature: str
    solved_challenge: str

    def new_project_key(self) -> NewProjectKey:
        return NewProjectKey(
            generation=self.generation,
            public_key=_bytes(self.public_key),
            kid=self.kid,
            statement_signature=_bytes(self.statement_signature),
        )


class FirstKey(NewKey):
    self_grant: str


class NewBox(msgspec.Struct):
    provider_key_id: uuid.UUID
    version: int
    sealed: str
    signature: str


class Dropped(msgspec.Struct):
    provider_key_id: uuid.UUID
    version: int


class NewGrant(msgspec.Struct):
    vault_id: uuid.UUID
    akv: int
    envelope: str


class RotationBody(msgspec.Struct):
    base_generation: int
    keyset_version: int
    new: NewKey
    boxes: list[NewBox]
    drop: list[Dropped]
    grants: list[NewGrant]
    self_grant: str
    overlap_seconds: int


class Generation(msgspec.Struct):
    generation: int


class Timed(msgspec.Struct):
    generation: int
    overlap_seconds: int


class OwnGrant(msgspec.Struct):
    generation: int
    envelope: str


class Adoption(msgspec.Struct):
    """`statement_signature` is empty for a key that has a statement."""

    generation: int
    kid: str
    statement_signature: str
    self_grant: str


@require_GET
@organization_view(Ability.VIEW)
def key_page(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """GET …/key/ — the generations and what can be done with them. The module fills it from the keyset."""
    project = access_project(project_id)
    membership = request.membership
    base = f"/o/{request.organization.id}/projects/{project.id}/"
    page = {
        "keyset": f"{base}keyset",
        "project": project.name,
        "environment": project.get_environment_display(),
        "isArchived": project.archived_at is not None,
        "mayCreate": Ability.MANAGE in ABILITIES[membership.role] and rotation.may_hold(project, membership),
        "mayHold": rotation.may_hold(project, membership),
        "mayKeep": rotation.may_keep(project, membership),
        "rotationRequired": rotation.is_required(project),
        "members": f"/o/{request.organization.id}/members/",
    }
    return render_project_page(request, "projects/key.html", project, {"page": page})


@require_GET
@organization_view(Ability.VIEW)
def keyset_view(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """GET …/keyset — what a browser needs to seal, open and rotate (apps/vault/keyset.py has the shape)."""
    return json_response(keyset(access_project(project_id), getattr(request.user, "vault", None)))


@require_GET
@organization_view(Ability.KEEP)
def rotation_view(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """GET …/rotation — what a rotation starts from: `{"keyset", "provider_keys": [{"id", "provider", "version",
    "is_archived", "sealed"}], "recipients": [identity]}`.

    `sealed` is the head's box, else null; recipients are the other members that are to hold the keys.
    """
    project = access_project(project_id)
    vault = require_vault(request.user)
    found = keyset(project, vault)
    head = next((each["generation"] for each in found["generations"] if each["status"] != "retiring"), 0)
    boxes = dict(
        Box.objects.filter(provider_key__project=project, generation=head).values_list("provider_key_id", "sealed")
    )
    current = ProviderKey.objects.filter(project=project, deleted_at=None).order_by("provider", "created_at")
    return json_response(
        {
            "keyset": found,
            "provider_keys": [
                {
                    "id": each.id,
                    "provider": each.provider,
                    "version": each.version,
                    "is_archived": each.archived_at is not None,
                    "sealed": boxes.get(each.id),
                }
                for each in current
            ],
            "recipients": [
                identity_of(member.user.vault) for member in recipients(project) if member.user_id != request.user.id
            ],
        }
    )


@require_POST
@organization_view(Ability.KEEP)
def candidate(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/keys/candidate Candidate — `{"encrypted_challenge"}`, which only the key's holder can read."""
    public_key = _public_key(read_json(request, Candidate).public_key)
    project = access_project(project_id)
    challenge = candidates.issue(public_key=public_key, project_id=project.id, user_id=request.user.id)
    return json_response({"encrypted_challenge": challenge})


@require_POST
@organization_view(Ability.MANAGE)
def create(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/keys FirstKey — 201 `{"generation"}`."""
    body = read_json(request, FirstKey)
    made = rotation.create_key(
        project=access_project(project_id),
        key=body.new_project_key(),
        solved_challenge=body.solved_challenge,
        self_grant=body.self_grant,
        signer=require_vault(request.user),
    )
    return json_response({"generation": made.generation}, status=201)


@require_POST
@organization_view(Ability.KEEP)
def rotate(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/rotate RotationBody — 201 `{"generation"}`; 409 when anything changed since it was read."""
    body = read_json(request, RotationBody, limit=ROTATION_LIMIT)
    require_recent(request)
    project = access_project(project_id)
    key = body.new.new_project_key()
    boxes = [
        ResealedKey(
            provider_key_id=each.provider_key_id,
            version=each.version,
            box=SignedBox(generation=key.generation, sealed=each.sealed, signature=_bytes(each.signature)),
        )
        for each in body.boxes
    ]
    dropped = [ResealedKey(provider_key_id=each.provider_key_id, version=each.version) for each in body.drop]
    grants = [
        SealedGrant(
            project_id=project.id,
            generation=key.generation,
            recipient_vault=grant.vault_id,
            recipient_account_key_version=grant.akv,
            envelope=grant.envelope,
        )
        for grant in body.grants
    ]
    made = rotation.rotate(
        project=project,
        actor=request.membership,
        rotation=Rotation(
            base_generation=body.base_generation,
            keyset_version=body.keyset_version,
            key=key,
            solved_challenge=body.new.solved_challenge,
            resealed=[*boxes, *dropped],
            self_grant=body.self_grant,
            grants=grants,
            overlap=_overlap(body.overlap_seconds),
        ),
    )
    return json_response({"generation": made.generation}, status=201)


@require_POST
@organization_view(Ability.KEEP)
def extend(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/keys/extend Timed — `{"retire_at"}`."""
    body = read_json(request, Timed)
    require_recent(request)
    retire_at = rotation.extend(
        project=access_project(project_id),
        actor=request.membership,
        generation=body.generation,
        overlap=_overlap(body.overlap_seconds),
    )
    return json_response({"retire_at": retire_at})


@require_POST
@organization_view(Ability.KEEP)
def retire(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/keys/retire Generation."""
    body = read_json(request, Generation)
    require_recent(request)
    rotation.retire_now(project=access_project(project_id), actor=request.membership, generation=body.generation)
    return json_response({})


@require_POST
@organization_view(Ability.KEEP)
def roll_back(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/keys/roll-back Timed — `generation` is the head again, the present head retires after the overlap."""
    body = read_json(request, Timed)
    require_recent(request)
    rotation.roll_back(
        project=access_project(project_id),
        actor=request.membership,
        generation=body.generation,
        overlap=_overlap(body.overlap_seconds),
    )
    return json_response({})


@require_POST
@organization_view(Ability.KEEP)
def undo(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/keys/undo Generation — takes back a key that the command line set and nobody used."""
    body = read_json(request, Generation)
    require_recent(request)
    rotation.undo_cli_key(project=access_project(project_id), actor=request.membership, generation=body.generation)
    return json_response({})


@require_POST
@organization_view(Ability.KEEP)
def adopt(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/keys/adopt Adoption — after the member pasted the ANY_LLM_KEY of a live generation."""
    body = read_json(request, Adoption)
    require_recent(request)
    rotation.adopt(
        project=access_project(project_id),
        actor=request.membership,
        generation=body.generation,
        kid=body.kid,
        self_grant=body.self_grant,
        statement_signature=_bytes(body.statement_signature),
    )
    return json_response({})


@require_POST
@organization_view(Ability.KEEP)
def shown(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/keys/shown Generation — before the browser shows an ANY_LLM_KEY again."""
    body = read_json(request, Generation)
    require_recent(request)
    rotation.record_shown(project=access_project(project_id), actor=request.membership, generation=body.generation)
    return json_response({})


@require_POST
@organization_view(Ability.KEEP)
def own_grant(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/grants/self OwnGrant — what a browser makes of a teammate's grant once it opened it."""
    body = read_json(request, OwnGrant)
    rotation.keep_own_grant(
        project=access_project(project_id),
        actor=request.membership,
        generation=body.generation,
        envelope=body.envelope,
    )
    return json_response({})


def _public_key(text: str) -> bytes:
    public_key = _bytes(text)
    admit(public_key)
    return public_key


def _bytes(text: str) -> bytes:
    try:
        return b64_decode(text)
    except ValueError as error:
        raise ProjectKeyError("Keys and signatures must be standard base64 with padding.") from error


def _overlap(seconds: int) -> timedelta:
    if not 0 <= seconds <= rotation.LONGEST_OVERLAP.total_seconds():
        raise RotationError("An old key can go on for at most 30 days.")
    return timedelta(seconds=seconds)
