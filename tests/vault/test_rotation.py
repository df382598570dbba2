"""The life of ANY_LLM_KEY: rotation, the time after it, and keys that the command line set."""

import dataclasses
import random
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.audit.models import Entry
from apps.directory import candidates, challenges
from apps.directory.candidates import NotProvenError
from apps.directory.models import ProjectKeyEntry
from apps.directory.services import KeyInUseError
from apps.directory.tokens import NotAuthenticatedError
from apps.organizations.access import NotAllowedError
from apps.organizations.models import Membership
from apps.projects.models import Project, ProjectKey, ProjectMember
from apps.projects.services import (
    NewProjectKey,
    ProjectArchivedError,
    ProjectKeyError,
    archive_project,
    restore_project,
)
from apps.vault import rotation, tasks
from apps.vault.grants import GrantError, RecipientChangedError, delete_grants_of, lock_members, lock_projects
from apps.vault.models import Box, Grant, ProviderKey
from apps.vault.rotation import ResealedKey, Rotation, RotationConflictError, RotationError
from apps.vault.services import (
    KeysetChangedError,
    VaultError,
    archive_provider_key,
    replace_provider_key,
)
from cryptokit import statements
from cryptokit.encoding import b64
from devstack.browser import ProjectKeyPair
from tenancy import tenant_scope
from tests.cast import KeyRing, Member, Workspace
from web.errors import DomainError

HOUR = timedelta(hours=1)


@pytest.fixture
def ring(acme: Workspace) -> Iterator[KeyRing]:
    """A project of Acme with a key and two provider keys, one of them for a local provider."""
    with tenant_scope(acme.organization):
        ring = KeyRing.new(acme, "Assistant")
        ring.add(acme.owner, "openai", "sk-acme")
        ring.add(acme.owner, "ollama", "")
        yield ring


def state(ring: KeyRing) -> Any:
    """Everything that a refused change must leave as it was."""
    return (
        list(ProjectKeyEntry.objects.filter(project_id=ring.project.id).order_by("generation").values()),
        list(ProjectKey.objects.filter(project=ring.project).order_by("generation").values()),
        list(ProviderKey.objects.filter(project=ring.project).order_by("id").values()),
        list(Box.objects.filter(provider_key__project=ring.project).order_by("id").values()),
        list(Grant.objects.filter(project=ring.project).order_by("id").values()),
        Project.objects.values().get(id=ring.project.id),
    )


def rotate(ring: KeyRing, member: Member, draft: Rotation) -> None:
    rotation.rotate(project=ring.project, actor=ring.membership(member), rotation=draft)


def test_a_rotation_seals_everything_again_and_lets_the_old_key_go_on(ring: KeyRing, alice: Member) -> None:
    assert ring.rotate(alice) == 2
    entries = ring.entries
    assert {number: entry.status for number, entry in entries.items()} == {1: "retiring", 2: "active"}
    assert entries[1].retire_at is not None
    assert abs(entries[1].retire_at - timezone.now() - timedelta(hours=72)) < timedelta(minutes=1)
    assert ring.opened(1) == ring.opened(2)
    assert sorted(ring.opened(2).values()) == ["", "sk-acme"]
    key = ProjectKey.objects.get(project=ring.project, generation=2)
    assert bytes(key.previous_public_key) == ring.pairs[1].public
    grant = Grant.objects.get(project=ring.project, generation=2)
    opened = alice.account.open_self_grant(
        ring.workspace.organization.id, ring.project.id, 2, ring.pairs[2].public, grant.envelope
    )
    assert opened == ring.pairs[2].private
    entry = Entry.objects.filter(action="project_key.rotated").get()
    assert (entry.project_id, entry.detail["boxes"], entry.actor) == (ring.project.id, 2, alice.user.email)


def test_both_keys_open_their_own_box_until_the_old_one_ends(ring: KeyRing, alice: Member) -> None:
    ring.rotate(alice)
    for generation in (1, 2):
        sdk = ring.sdk(generation)
        answer = sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer)
        assert sdk.key.open(answer.json()["encrypted_key"]) == "sk-acme"
    ProjectKeyEntry.objects.filter(project_id=ring.project.id, generation=1).update(retire_at=timezone.now() - HOUR)
    old, new = ring.sdk(1), ring.sdk(2)
    assert old.client.get("/api/v1/provider-keys/openai", headers=old.bearer).status_code == 401
    assert new.client.get("/api/v1/provider-keys/openai", headers=new.bearer).status_code == 200
    with pytest.raises(challenges.UnknownKeyError, match="No project found"):
        challenges.issue(ring.pairs[1].public)


def test_a_leaked_key_ends_at_once(ring: KeyRing, alice: Member) -> None:
    ring.rotate(alice, overlap=timedelta(0))
    assert set(ring.entries) == {2}
    assert ring.opened(1) == {}
    assert not Grant.objects.filter(project=ring.project, generation=1).exists()


def changes_of(draft: Rotation, ring: KeyRing, member: Member) -> dict[str, tuple[type[Exception], Rotation]]:
    """Every way in which a rotation can be wrong, and what it must raise."""
    key, first = draft.key, draft.resealed[0]
    assert first.box is not None
    other = ProjectKeyPair()

    def with_key(**fields: Any) -> Rotation:
        return dataclasses.replace(draft, key=dataclasses.replace(key, **fields))

    def with_first(changed: ResealedKey) -> Rotation:
        return dataclasses.replace(draft, resealed=[changed, *draft.resealed[1:]])

    stranger = NewProjectKey(
        generation=key.generation,
        public_key=key.public_key,
        kid=key.kid,
        statement_signature=member.account.sign(
            statements.project_key(ring.workspace.organization.id, ring.project.id, key.generation, key.public_key)
        ),
    )
    return {
        "a box is missing": (RotationConflictError, dataclasses.replace(draft, resealed=draft.resealed[1:])),
        "a box is there twice": (RotationConflictError, dataclasses.replace(draft, resealed=[*draft.resealed, first])),
        "a key nobody has": (
            RotationConflictError,
            dataclasses.replace(
                draft, resealed=[*draft.resealed, ResealedKey(provider_key_id=ring.project.id, version=1)]
            ),
        ),
        "a stale version": (RotationConflictError, with_first(dataclasses.replace(first, version=2))),
        "an older keyset": (
            RotationConflictError,
            dataclasses.replace(draft, keyset_version=draft.keyset_version - 1),
        ),
        "another base": (RotationConflictError, dataclasses.replace(draft, base_generation=2)),
        "a box for the old key": (
            RotationError,
            with_first(dataclasses.replace(first, box=dataclasses.replace(first.box, generation=1))),
        ),
        "an unsigned box": (
            VaultError,
            with_first(dataclasses.replace(first, box=dataclasses.replace(first.box, signature=bytes(64)))),
        ),
        "a box that is none": (
            VaultError,
            with_first(dataclasses.replace(first, box=dataclasses.replace(first.box, sealed="x"))),
        ),
        "a statement without the key before": (ProjectKeyError, dataclasses.replace(draft, key=stranger)),
        "a statement of nobody": (ProjectKeyError, with_key(statement_signature=bytes(64))),
        "a generation in between": (ProjectKeyError, with_key(generation=7)),
        "a label that is none": (ProjectKeyError, with_key(kid="XYZ")),
        "a low-order key": (NotProvenError, with_key(public_key=bytes(32))),
        "no proof": (NotProvenError, dataclasses.replace(draft, solved_challenge="")),
        "the proof of another key": (
            NotProvenError,
            dataclasses.replace(draft, solved_challenge=ring.proof(member, other)),
        ),
        "a grant that is none": (VaultError, dataclasses.replace(draft, self_grant="W1.x")),
        "too long an overlap": (RotationError, dataclasses.replace(draft, overlap=timedelta(days=31))),
        "an overlap below nothing": (RotationError, dataclasses.replace(draft, overlap=-HOUR)),
    }


def test_a_rotation_that_is_wrong_in_anything_changes_nothing(ring: KeyRing, alice: Member) -> None:
    before = state(ring)
    for name, (error, wrong) in changes_of(ring.draft(alice), ring, alice).items():
        with pytest.raises(error), transaction.atomic():
            rotate(ring, alice, wrong)
        assert state(ring) == before, name


def test_another_projects_key_can_not_be_taken(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    draft = ring.draft(alice)
    other = KeyRing(acme, ring.project, {**ring.pairs, 2: acme.key})
    key = other.new_key(alice, 2, acme.key, ring.pairs[1].public)
    boxes = [
        dataclasses.replace(
            each, box=other.box(alice, 2, ProviderKey.objects.get(id=each.provider_key_id).provider, "")
        )
        for each in draft.resealed
    ]
    taken = dataclasses.replace(draft, key=key, solved_challenge=ring.proof(alice, acme.key), resealed=boxes)
    before = state(ring)
    with pytest.raises(KeyInUseError), transaction.atomic():
        rotate(ring, alice, taken)
    assert state(ring) == before


def test_archived_provider_keys_are_carried_over(ring: KeyRing, alice: Member) -> None:
    openai = ProviderKey.objects.get(project=ring.project, provider="openai")
    archive_provider_key(provider_key=openai, expected_version=1, actor=alice.user.vault)
    ring.rotate(alice, overlap=timedelta(0))
    assert ring.opened(2)[str(openai.id)] == "sk-acme"


def test_what_is_left_behind_stays_with_the_old_key_until_that_ends(ring: KeyRing, alice: Member) -> None:
    openai = ProviderKey.objects.get(project=ring.project, provider="openai")
    archived = ring.add(alice, "mistral", "sk-old")
    archive_provider_key(provider_key=archived, expected_version=1, actor=alice.user.vault)
    ring.rotate(alice, drop=[openai.id, archived.id])
    assert ring.opened(1)[str(openai.id)] == "sk-acme"
    sdk = ring.sdk(2)
    missing = sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer)
    assert (missing.status_code, missing.json()["code"]) == (404, "no_provider_key")
    rotation.retire_now(project=ring.project, actor=ring.membership(alice), generation=1)
    openai.refresh_from_db()
    archived.refresh_from_db()
    # The one in use waits for its value; of the archived one nothing is left to restore.
    assert (openai.deleted_at, archived.deleted_at is not None) == (None, True)


def test_teammates_get_the_new_key_by_a_grant_that_opens(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    admin, developer = acme.join("bob", Membership.Role.ADMIN), acme.join("dora", Membership.Role.DEVELOPER)
    ProjectMember.objects.create(project=ring.project, user_id=developer.user.id)
    ring.rotate(alice, recipients=[admin, developer])
    for member in (admin, developer):
        grant = Grant.objects.get(project=ring.project, generation=2, recipient_vault=member.account.vault_id)
        opened = member.account.open_grant_from(
            alice.account.public, acme.organization.id, ring.project.id, 2, ring.pairs[2].public, grant.envelope
        )
        assert opened == ring.pairs[2].private


def test_nobody_gets_the_new_key_who_is_not_to_hold_it(
    ring: KeyRing, acme: Workspace, alice: Member, charlie: Member
) -> None:
    contributor = acme.join("carl", Membership.Role.CONTRIBUTOR)
    developer = acme.join("dora", Membership.Role.DEVELOPER)
    before = state(ring)
    for recipient, error in ((contributor, GrantError), (developer, GrantError), (charlie, RecipientChangedError)):
        with pytest.raises(error), transaction.atomic():
            rotate(ring, alice, ring.draft(alice, recipients=[recipient]))
        assert state(ring) == before


def test_only_those_who_keep_the_key_rotate(ring: KeyRing, acme: Workspace, alice: Member, charlie: Member) -> None:
    developer = acme.join("dora", Membership.Role.DEVELOPER)
    contributor = acme.join("carl", Membership.Role.CONTRIBUTOR)
    before = state(ring)
    for member in (developer, contributor):
        with pytest.raises(NotAllowedError), transaction.atomic():
            rotate(ring, member, ring.draft(member))
    with pytest.raises(NotAllowedError), transaction.atomic():
        rotation.rotate(
            project=ring.project, actor=Membership.objects.get(user=charlie.user), rotation=ring.draft(charlie)
        )
    ProjectMember.objects.create(project=ring.project, user_id=developer.user.id)
    with pytest.raises(NotAllowedError), transaction.atomic():
        rotate(ring, developer, ring.draft(developer))
    assert state(ring) == before
    ring.hold(developer, 1)
    assert ring.rotate(developer) == 2


def test_a_stolen_proof_is_good_for_nothing_else(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    pair, other = ProjectKeyPair(), KeyRing.new(acme, "Other")
    proof = ring.proof(alice, pair)
    candidates.check(proof, public_key=pair.public, project_id=ring.project.id, user_id=alice.user.id)
    for wrong in (
        {"project_id": other.project.id},
        {"user_id": acme.join("bob", Membership.Role.ADMIN).user.id},
        {"public_key": ProjectKeyPair().public},
    ):
        good: dict[str, Any] = {"public_key": pair.public, "project_id": ring.project.id, "user_id": alice.user.id}
        with pytest.raises(NotProvenError):
            candidates.check(proof, **{**good, **wrong})


def test_a_proof_expires(ring: KeyRing, alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = ProjectKeyPair()
    proof = ring.proof(alice, pair)
    later = time.time() + candidates.LIFETIME + 2
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(NotProvenError):
        candidates.check(proof, public_key=pair.public, project_id=ring.project.id, user_id=alice.user.id)


# --- After a rotation ---


def test_an_old_key_gets_more_time(ring: KeyRing, alice: Member) -> None:
    ring.rotate(alice)
    until = rotation.extend(project=ring.project, actor=ring.membership(alice), generation=1, overlap=timedelta(days=7))
    assert ring.entries[1].retire_at == until
    for generation, overlap, error in (
        (2, HOUR, RotationError),
        (1, timedelta(days=31), RotationError),
        (9, HOUR, RotationError),
    ):
        with pytest.raises(error), transaction.atomic():
            rotation.extend(project=ring.project, actor=ring.membership(alice), generation=generation, overlap=overlap)
    assert ring.entries[1].retire_at == until


def test_an_old_key_is_retired_early_and_for_good(ring: KeyRing, alice: Member) -> None:
    ring.rotate(alice)
    actor = ring.membership(alice)
    rotation.retire_now(project=ring.project, actor=actor, generation=1)
    assert set(ring.entries) == {2}
    assert ring.opened(1) == {}
    assert not Grant.objects.filter(project=ring.project, generation=1).exists()
    for generation in (1, 2):
        with pytest.raises(RotationError), transaction.atomic():
            rotation.retire_now(project=ring.project, actor=actor, generation=generation)
    with pytest.raises(RotationError), transaction.atomic():
        rotation.roll_back(project=ring.project, actor=actor, generation=1, overlap=HOUR)


def test_rolling_back_makes_the_old_key_the_head(ring: KeyRing, alice: Member) -> None:
    ring.rotate(alice)
    ring.add(alice, "mistral", "sk-added-meanwhile")
    rotation.roll_back(project=ring.project, actor=ring.membership(alice), generation=1, overlap=HOUR)
    assert {number: entry.status for number, entry in ring.entries.items()} == {1: "active", 2: "retiring"}
    assert ring.entries[1].retire_at is None
    assert "sk-added-meanwhile" in ring.opened(1).values()
    # Numbers and keys are never used twice.
    assert ring.rotate(alice) == 3
    assert bytes(ProjectKey.objects.get(project=ring.project, generation=3).previous_public_key) == ring.pairs[1].public


def test_rolling_back_is_refused_where_the_old_key_does_not_open_a_value(ring: KeyRing, alice: Member) -> None:
    ring.rotate(alice)
    Box.objects.filter(provider_key__project=ring.project, provider_key__provider="openai", generation=1).delete()
    before = state(ring)
    with pytest.raises(RotationError, match="openai"), transaction.atomic():
        rotation.roll_back(project=ring.project, actor=ring.membership(alice), generation=1, overlap=HOUR)
    assert state(ring) == before


def test_a_key_whose_time_is_over_can_not_come_back(ring: KeyRing, alice: Member) -> None:
    ring.rotate(alice)
    ProjectKeyEntry.objects.filter(project_id=ring.project.id, generation=1).update(retire_at=timezone.now())
    actor = ring.membership(alice)
    with pytest.raises(RotationError), transaction.atomic():
        rotation.roll_back(project=ring.project, actor=actor, generation=1, overlap=HOUR)
    with pytest.raises(RotationError), transaction.atomic():
        rotation.extend(project=ring.project, actor=actor, generation=1, overlap=HOUR)


def test_a_demand_to_rotate_outlives_the_rotation_and_comes_back_with_the_old_key(ring: KeyRing, alice: Member) -> None:
    def demand() -> tuple[bool, str]:
        project = Project.objects.get(id=ring.project.id)
        return project.rotation_required_since is not None, project.rotation_required_reason

    Project.objects.filter(id=ring.project.id).update(
        rotation_required_since=timezone.now(), rotation_required_reason="Bob left."
    )
    ring.rotate(alice)
    # The old key still opens everything, and what it opened may have been copied.
    assert demand() == (True, "Bob left.")
    Project.objects.filter(id=ring.project.id).update(rotation_required_since=None, rotation_required_reason="")
    rotation.roll_back(project=ring.project, actor=ring.membership(alice), generation=1, overlap=HOUR)
    assert demand() == (True, "Bob left.")


def test_due_keys_are_retired_by_the_clock(ring: KeyRing, alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[Any] = []
    monkeypatch.setattr(tasks.retire_due_of_organization, "delay", lambda **kwargs: queued.append(kwargs))
    ring.rotate(alice)
    assert tasks.retire_due_project_keys() == 0
    ProjectKeyEntry.objects.filter(project_id=ring.project.id, generation=1).update(retire_at=timezone.now() - HOUR)
    # What is queued may be lost: until it ran, the same is found again.
    assert [tasks.retire_due_project_keys(), tasks.retire_due_project_keys()] == [1, 1]
    assert queued[0] == {"organization_id": str(ring.workspace.organization.id)}
    assert tasks.retire_due_of_organization(**queued[0]) == 1
    assert tasks.retire_due_of_organization(**queued[1]) == 0
    assert tasks.retire_due_project_keys() == 0
    assert set(ring.entries) == {2}
    assert ring.opened(1) == {}
    assert not Grant.objects.filter(project=ring.project, generation=1).exists()
    assert Entry.objects.filter(action="project_key.retired", actor="").count() == 1


def test_retiring_that_is_killed_half_way_is_done_again(
    ring: KeyRing, alice: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring.rotate(alice)
    ProjectKeyEntry.objects.filter(project_id=ring.project.id, generation=1).update(retire_at=timezone.now() - HOUR)
    before = state(ring)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rotation, "_record_retired", killed)
        with pytest.raises(KeyboardInterrupt), transaction.atomic():
            rotation.retire_due(ring.project.id)
    assert state(ring) == before
    assert rotation.retire_due(ring.project.id) == 1


def test_an_archived_projects_keys_rest(ring: KeyRing, alice: Member) -> None:
    ring.rotate(alice)
    sdk = ring.sdk(2)
    archive_project(project_id=ring.project.id, actor=alice.user)
    assert sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer).status_code == 401
    with pytest.raises(challenges.UnknownKeyError):
        challenges.issue(ring.pairs[2].public)
    actor = ring.membership(alice)
    for refused in (
        lambda: ring.rotate(alice),
        lambda: rotation.extend(project=ring.project, actor=actor, generation=1, overlap=HOUR),
        lambda: rotation.roll_back(project=ring.project, actor=actor, generation=1, overlap=HOUR),
        lambda: rotation.set_key_from_cli(project=ring.project, public_key=ProjectKeyPair().public, actor=None),
    ):
        with pytest.raises(ProjectArchivedError), transaction.atomic():
            refused()
    # Its clock goes on meanwhile.
    ProjectKeyEntry.objects.filter(project_id=ring.project.id, generation=1).update(retire_at=timezone.now() - HOUR)
    assert rotation.retire_due(ring.project.id) == 1
    restore_project(project_id=ring.project.id, actor=alice.user)
    assert sdk.client.get("/api/v1/provider-keys/openai", headers=sdk.bearer).status_code == 200
    assert {number: entry.status for number, entry in ring.entries.items()} == {2: "active"}


# --- Keys from the command line ---


def set_from_cli(ring: KeyRing) -> int:
    pair = ProjectKeyPair()
    made = rotation.set_key_from_cli(project=ring.project, public_key=pair.public, actor=None)
    ring.pairs[made.generation] = pair
    return made.generation


def adopt(ring: KeyRing, member: Member, generation: int, **changes: Any) -> None:
    key = ProjectKey.objects.get(project=ring.project, generation=generation)
    statement = statements.project_key(
        ring.workspace.organization.id,
        ring.project.id,
        generation,
        bytes(key.public_key),
        bytes(key.previous_public_key),
    )
    given: dict[str, Any] = {
        "kid": ring.pairs[generation].kid,
        "self_grant": ring.self_grant(member, generation),
        "statement_signature": member.account.sign(statement),
    }
    rotation.adopt(project=ring.project, actor=ring.membership(member), generation=generation, **{**given, **changes})


def test_a_key_from_the_command_line_waits_to_be_used(ring: KeyRing) -> None:
    assert set_from_cli(ring) == 2
    entries = ring.entries
    assert {number: entry.status for number, entry in entries.items()} == {1: "retiring", 2: "unproven"}
    # Answering "n" at the prompt prints no key: the old one has to go on without end.
    assert entries[1].retire_at is None
    key = ProjectKey.objects.get(project=ring.project, generation=2)
    assert (key.via, bytes(key.statement_signature)) == ("cli", b"")
    assert ring.sdk(1).client.get("/api/v1/provider-keys/openai", headers=ring.sdk(1).bearer).status_code == 200


def test_using_it_proves_it_and_starts_the_clock_of_the_old_key(ring: KeyRing) -> None:
    set_from_cli(ring)
    challenges.redeem(ring.sdk(2).solved_challenge())
    entries = ring.entries
    assert {number: entry.status for number, entry in entries.items()} == {1: "retiring", 2: "active"}
    assert entries[1].retire_at is not None
    assert abs(entries[1].retire_at - timezone.now() - timedelta(hours=72)) < timedelta(minutes=1)


def test_undo_brings_the_old_key_back(ring: KeyRing, alice: Member) -> None:
    set_from_cli(ring)
    riddle = ring.pairs[2].open(challenges.issue(ring.pairs[2].public))
    rotation.undo_cli_key(project=ring.project, actor=ring.membership(alice), generation=2)
    assert {number: entry.status for number, entry in ring.entries.items()} == {1: "active"}
    assert not ProjectKey.objects.filter(project=ring.project, generation=2).exists()
    with pytest.raises(NotAuthenticatedError):
        challenges.redeem(riddle)
    # Neither its number nor the key itself is used again.
    with pytest.raises(KeyInUseError), transaction.atomic():
        rotation.set_key_from_cli(project=ring.project, public_key=ring.pairs[2].public, actor=None)
    assert ring.rotate(alice) == 3


def test_what_was_used_can_not_be_undone(ring: KeyRing, alice: Member) -> None:
    set_from_cli(ring)
    challenges.redeem(ring.sdk(2).solved_challenge())
    before = state(ring)
    with pytest.raises(RotationConflictError), transaction.atomic():
        rotation.undo_cli_key(project=ring.project, actor=ring.membership(alice), generation=2)
    assert state(ring) == before


def test_a_second_run_discards_the_key_that_was_never_used(ring: KeyRing) -> None:
    set_from_cli(ring)
    openai = ProviderKey.objects.get(project=ring.project, provider="openai")
    Box.objects.create(provider_key=openai, generation=2, sealed=ring.pairs[2].seal("sk-acme"))
    assert set_from_cli(ring) == 3
    assert {number: entry.status for number, entry in ring.entries.items()} == {1: "retiring", 3: "unproven"}
    assert ring.opened(2) == {}
    key = ProjectKey.objects.get(project=ring.project, generation=3)
    assert bytes(key.previous_public_key) == ring.pairs[1].public


def test_undoing_the_second_run_leads_back_to_the_first_key(ring: KeyRing, alice: Member) -> None:
    set_from_cli(ring)
    set_from_cli(ring)
    rotation.undo_cli_key(project=ring.project, actor=ring.membership(alice), generation=3)
    assert {number: entry.status for number, entry in ring.entries.items()} == {1: "active"}


def test_nothing_is_rotated_on_top_of_an_unfinished_rotation(ring: KeyRing, alice: Member) -> None:
    set_from_cli(ring)
    actor = ring.membership(alice)
    before = state(ring)
    draft = ring.draft(alice, drop=list(ProviderKey.objects.values_list("id", flat=True)))
    for refused in (
        lambda: rotate(ring, alice, draft),
        lambda: rotation.roll_back(project=ring.project, actor=actor, generation=1, overlap=HOUR),
        lambda: rotation.retire_now(project=ring.project, actor=actor, generation=1),
        lambda: rotation.extend(project=ring.project, actor=actor, generation=1, overlap=HOUR),
    ):
        with pytest.raises(RotationConflictError), transaction.atomic():
            refused()
        assert state(ring) == before


def test_adopting_signs_for_the_key_and_starts_the_clock(ring: KeyRing, alice: Member) -> None:
    Project.objects.filter(id=ring.project.id).update(
        rotation_required_since=timezone.now() - HOUR, rotation_required_reason="Bob left."
    )
    set_from_cli(ring)
    ProjectKey.objects.filter(project=ring.project, generation=2).update(created_at=timezone.now())
    adopt(ring, alice, 2)
    assert {number: entry.status for number, entry in ring.entries.items()} == {1: "retiring", 2: "active"}
    assert ring.entries[1].retire_at is not None
    key = ProjectKey.objects.get(project=ring.project, generation=2)
    assert (key.kid, key.signed_by_vault) == (ring.pairs[2].kid, alice.account.vault_id)
    assert Grant.objects.filter(project=ring.project, generation=2, recipient_vault=alice.account.vault_id).exists()
    # The key before it was given up for a reason, which comes back with it.
    assert ProjectKey.objects.get(project=ring.project, generation=1).given_up_reason == "Bob left."


def test_adopting_after_grants_were_lost_changes_nothing_of_the_key(ring: KeyRing, alice: Member) -> None:
    Grant.objects.filter(project=ring.project).delete()
    key = ProjectKey.objects.values().get(project=ring.project, generation=1)
    adopt(ring, alice, 1, statement_signature=b"")
    assert ProjectKey.objects.values().get(project=ring.project, generation=1) == key
    assert Grant.objects.get(project=ring.project).recipient_vault == alice.account.vault_id


def test_a_key_is_not_adopted_by_those_who_are_not_to_hold_it(
    ring: KeyRing, acme: Workspace, alice: Member, charlie: Member
) -> None:
    set_from_cli(ring)
    contributor = acme.join("carl", Membership.Role.CONTRIBUTOR)
    before = state(ring)
    with pytest.raises(NotAllowedError), transaction.atomic():
        adopt(ring, contributor, 2)
    for wrong, error in (
        ({"statement_signature": bytes(64)}, ProjectKeyError),
        ({"statement_signature": b""}, ProjectKeyError),
        ({"kid": "x"}, ProjectKeyError),
        ({"self_grant": "W1.x"}, VaultError),
    ):
        with pytest.raises(error), transaction.atomic():
            adopt(ring, alice, 2, **wrong)
    with pytest.raises(RotationError), transaction.atomic():
        rotation.keep_own_grant(
            project=ring.project, actor=ring.membership(alice), generation=9, envelope=ring.self_grant(alice, 1)
        )
    assert state(ring) == before


def test_the_first_key_can_come_from_the_command_line_and_be_undone(acme: Workspace, alice: Member) -> None:
    with tenant_scope(acme.organization):
        ring = KeyRing(acme, Project.objects.create(name="Keyless"))
        set_from_cli(ring)
        assert ring.entries[1].status == "unproven"
        rotation.undo_cli_key(project=ring.project, actor=ring.membership(alice), generation=1)
        assert ring.entries == {}
        pair = ring.pairs[2] = ProjectKeyPair()
        made = rotation.create_key(
            project=ring.project,
            key=ring.new_key(alice, 2, pair),
            solved_challenge=ring.proof(alice, pair),
            self_grant=ring.self_grant(alice, 2),
            signer=alice.user.vault,
        )
        assert (made.generation, set(ring.entries)) == (2, {2})


# --- Any sequence of changes ---


@pytest.mark.parametrize("seed", range(12))
def test_every_live_key_opens_what_it_should_whatever_happened(ring: KeyRing, alice: Member, seed: int) -> None:
    """A model of which generation opens which value, driven through random changes beside the real thing."""
    chance = random.Random(seed)
    signer, actor = alice.user.vault, ring.membership(alice)
    expected: dict[int, dict[str, str]] = {1: ring.opened(1)}
    numbers = iter(range(1_000))

    def current(archived: bool) -> list[ProviderKey]:
        found = ProviderKey.objects.filter(project=ring.project, deleted_at=None, archived_at__isnull=not archived)
        return list(found.order_by("id"))

    def add() -> None:
        value = f"sk-{next(numbers)}"
        made = ring.add(alice, f"provider-{next(numbers)}", value)
        for opens in expected.values():
            opens[str(made.id)] = value

    def replace() -> None:
        key, value = chance.choice(current(False)), f"sk-{next(numbers)}"
        boxes = ring.boxes(alice, key.provider, value)
        replace_provider_key(provider_key=key, expected_version=key.version, boxes=boxes, signer=signer)
        for opens in expected.values():
            opens[str(key.id)] = value

    def archive() -> None:
        key = chance.choice(current(False))
        archive_provider_key(provider_key=key, expected_version=key.version, actor=signer)

    def rotate_() -> None:
        overlap = chance.choice([timedelta(0), HOUR, timedelta(hours=72)])
        head, known = ring.head, expected[ring.head]
        missing = [key.id for key in current(False) + current(True) if str(key.id) not in known]
        made = ring.rotate(alice, overlap=overlap, drop=missing)
        expected[made] = dict(known)
        if not overlap:
            del expected[head]

    def retiring() -> int | None:
        found = [number for number, entry in ring.entries.items() if entry.status == "retiring"]
        return chance.choice(found) if found else None

    def extend() -> None:
        if (generation := retiring()) is not None:
            rotation.extend(project=ring.project, actor=actor, generation=generation, overlap=2 * HOUR)

    def roll_back() -> None:
        if (generation := retiring()) is not None:
            rotation.roll_back(project=ring.project, actor=actor, generation=generation, overlap=HOUR)

    def retire() -> None:
        if (generation := retiring()) is not None:
            ProjectKeyEntry.objects.filter(project_id=ring.project.id, generation=generation).update(
                retire_at=timezone.now() - HOUR
            )
            assert rotation.retire_due(ring.project.id) == 1
            del expected[generation]

    def cli() -> None:
        generation = set_from_cli(ring)
        if chance.random() < 0.5:
            rotation.undo_cli_key(project=ring.project, actor=actor, generation=generation)
        else:
            adopt(ring, alice, generation)
            # As the real command line: everything is sealed again, under the statement of nobody.
            for provider_key_id, value in expected[before].items():
                Box.objects.create(
                    provider_key_id=provider_key_id, generation=generation, sealed=ring.pairs[generation].seal(value)
                )
            expected[generation] = dict(expected[before])

    for _ in range(14):
        before = ring.head
        action = chance.choice([add, add, replace, archive, rotate_, rotate_, extend, roll_back, retire, cli])
        if action in (replace, archive) and not current(False):
            continue
        action()
        assert set(ring.entries) == set(expected)
        assert [entry.status for entry in ring.entries.values()].count("active") == 1
        for generation, opens in expected.items():
            assert ring.opened(generation) == opens, (action.__name__, generation)


# --- At the same time ---


def at_once(workspace: Workspace, *actions: Any) -> list[Exception | None]:
    """Runs each action in a thread of its own, in the organization's scope; what each raised."""
    barrier = threading.Barrier(len(actions))
    raised: list[Exception | None] = [None] * len(actions)

    def run(index: int, action: Any) -> None:
        try:
            with tenant_scope(workspace.organization):
                barrier.wait(10)
                action()
        except DomainError as error:
            raised[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return raised


def test_of_two_rotations_at_once_one_wins_and_nothing_is_lost(committed: tuple[Workspace, Workspace]) -> None:
    acme, _ = committed
    alice = acme.owner
    with tenant_scope(acme.organization):
        ring = KeyRing.new(acme, "Two rotations")
        ring.add(alice, "openai", "sk-acme")
        drafts = [ring.draft(alice), ring.draft(alice)]
        actor = ring.membership(alice)

    def rotating(draft: Rotation) -> Any:
        return lambda: rotation.rotate(project=ring.project, actor=actor, rotation=draft)

    raised = at_once(acme, *map(rotating, drafts))
    assert sorted(type(error).__name__ for error in raised) == ["NoneType", "RotationConflictError"]
    with tenant_scope(acme.organization):
        assert set(ring.entries) == {1, 2}
        won = drafts[raised.index(None)]
        assert bytes(ring.entries[2].public_key) == won.key.public_key
        assert list(ring.opened(1).values()) == ["sk-acme"]
        assert Box.objects.filter(provider_key__project=ring.project, generation=2).count() == 1


def test_a_value_replaced_during_a_rotation_is_not_lost(committed: tuple[Workspace, Workspace]) -> None:
    acme, _ = committed
    alice = acme.owner
    with tenant_scope(acme.organization):
        ring = KeyRing.new(acme, "Replaced meanwhile")
        key = ring.add(alice, "openai", "sk-old")
        draft, actor = ring.draft(alice), ring.membership(alice)
        boxes = [ring.box(alice, 1, "openai", "sk-new")]

    raised = at_once(
        acme,
        lambda: rotation.rotate(project=ring.project, actor=actor, rotation=draft),
        lambda: replace_provider_key(provider_key=key, expected_version=1, boxes=boxes, signer=alice.user.vault),
    )
    with tenant_scope(acme.organization):
        if raised[0] is None:
            assert isinstance(raised[1], KeysetChangedError)
            assert {value for generation in (1, 2) for value in ring.opened(generation).values()} == {"sk-old"}
        else:
            assert (type(raised[0]), raised[1]) == (RotationConflictError, None)
            assert (set(ring.entries), list(ring.opened(1).values())) == ({1}, ["sk-new"])


def test_a_member_removed_during_a_rotation_does_not_keep_the_new_key(committed: tuple[Workspace, Workspace]) -> None:
    acme, _ = committed
    alice = acme.owner
    bob = acme.join("bob", Membership.Role.ADMIN)
    with tenant_scope(acme.organization):
        ring = KeyRing.new(acme, "Removed meanwhile")
        ring.hold(bob, 1)
        draft, actor = ring.draft(alice, recipients=[bob]), ring.membership(alice)

    def remove() -> None:
        with transaction.atomic():
            projects = lock_projects()
            members = lock_members([alice.user.id, bob.user.id])
            delete_grants_of(user=bob.user, actor=alice.user, reason="Bob was removed.", projects=projects)
            members[bob.user.id].delete()

    raised = at_once(acme, lambda: rotation.rotate(project=ring.project, actor=actor, rotation=draft), remove)
    assert raised[1] is None
    with tenant_scope(acme.organization):
        assert not Grant.objects.filter(project=ring.project, recipient_vault=bob.account.vault_id).exists()
        if raised[0] is None:
            # The rotation came first and included Bob: the demand to rotate is there all the same.
            assert Project.objects.get(id=ring.project.id).rotation_required_since is not None
        else:
            assert isinstance(raised[0], RecipientChangedError | RotationConflictError)
            assert set(ring.entries) == {1}


def test_undo_and_first_use_at_once_end_in_one_head(committed: tuple[Workspace, Workspace]) -> None:
    acme, _ = committed
    with tenant_scope(acme.organization):
        ring = KeyRing.new(acme, "Undo or use")
        set_from_cli(ring)
        riddle, actor = ring.sdk(2).solved_challenge(), ring.membership(acme.owner)
    raised = at_once(
        acme,
        lambda: rotation.undo_cli_key(project=ring.project, actor=actor, generation=2),
        lambda: challenges.redeem(riddle),
    )
    with tenant_scope(acme.organization):
        statuses = {number: entry.status for number, entry in ring.entries.items()}
    if raised[0] is None:
        assert statuses == {1: "active"}
    else:
        assert isinstance(raised[0], RotationConflictError)
        assert statuses == {1: "retiring", 2: "active"}


def test_public_keys_are_admitted_before_they_are_stored(ring: KeyRing) -> None:
    for wrong in (bytes(32), b"x", b64(bytes(32)).encode()):
        with pytest.raises(ProjectKeyError), transaction.atomic():
            rotation.set_key_from_cli(project=ring.project, public_key=wrong, actor=None)
    assert set(ring.entries) == {1}
