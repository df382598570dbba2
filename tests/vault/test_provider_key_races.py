"""Two members change one provider key, or one project's keys, in the same moment: one of them wins, and nothing is lost."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection, transaction

from apps.directory.models import ProjectKeyEntry
from apps.directory.services import register_key
from apps.projects.models import Project, ProjectKey
from apps.projects.services import bump_keyset, create_project, lock_project
from apps.vault import services
from apps.vault.models import Box, ProviderKey
from apps.vault.services import (
    KeysetChangedError,
    ProviderKeyChangedError,
    ProviderKeyExistsError,
    SignedBox,
)
from cryptokit import statements
from cryptokit.encoding import b64_decode
from devstack.browser import ProjectKeyPair
from tenancy import tenant_scope
from tests.cast import Workspace
from web.errors import DomainError

Action = Callable[[], object]


@pytest.fixture
def workspace(committed: tuple[Workspace, Workspace]) -> Workspace:
    """A project of its own in Acme, committed."""
    acme, _ = committed
    key = ProjectKeyPair()
    with tenant_scope(acme.organization):
        project = create_project(name=f"race {key.kid}")
        made = Workspace(acme.owner, acme.organization, project, key)
        made.add_key(project, key)
    return made


def race(workspace: Workspace, *actions: Action) -> list[DomainError | None]:
    """Runs them at once, each in a thread with a connection of its own; what each was refused with."""
    barrier = threading.Barrier(len(actions))
    refusals: list[DomainError | None] = [None] * len(actions)

    def run(index: int, action: Action) -> None:
        try:
            barrier.wait(30)
            with tenant_scope(workspace.organization):
                action()
        except DomainError as error:
            refusals[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return refusals


def boxes_of(provider_key: ProviderKey) -> list[Box]:
    return list(Box.objects.filter(provider_key=provider_key).order_by("generation"))


def test_of_two_who_add_one_wins(workspace: Workspace) -> None:
    signer = workspace.owner.user.vault

    def add(value: str) -> Action:
        boxes = [workspace.signed_box("openai", value)]
        return lambda: services.add_provider_key(
            project=workspace.project, provider="openai", boxes=boxes, signer=signer
        )

    refusals = race(workspace, add("sk-one"), add("sk-two"))
    assert sorted(type(refusal).__name__ for refusal in refusals) == ["NoneType", "ProviderKeyExistsError"]
    winner = "sk-one" if refusals[0] is None else "sk-two"
    assert isinstance(refusals[winner == "sk-one"], ProviderKeyExistsError)
    with tenant_scope(workspace.organization):
        [box] = boxes_of(ProviderKey.objects.get(project=workspace.project))
        assert workspace.key.open(box.sealed) == winner


def test_replacing_against_archiving(workspace: Workspace) -> None:
    signer, provider_key = workspace.owner.user.vault, workspace.add_provider_key("openai", "sk-old")
    boxes = [workspace.signed_box("openai", "sk-new")]
    refusals = race(
        workspace,
        lambda: services.replace_provider_key(
            provider_key=provider_key, expected_version=1, boxes=boxes, signer=signer
        ),
        lambda: services.archive_provider_key(provider_key=provider_key, expected_version=1, actor=signer),
    )
    lost = [refusal for refusal in refusals if refusal is not None]
    assert [type(refusal) for refusal in lost] == [ProviderKeyChangedError]
    with tenant_scope(workspace.organization):
        now = ProviderKey.objects.get(id=provider_key.id)
        [box] = boxes_of(now)
        is_replaced = refusals[0] is None
        assert (now.version, now.archived_at is None) == (2, is_replaced)
        assert workspace.key.open(box.sealed) == ("sk-new" if is_replaced else "sk-old")


def test_deleting_against_restoring(workspace: Workspace) -> None:
    actor, provider_key = workspace.owner.user.vault, workspace.add_provider_key("openai", "sk-old")
    with tenant_scope(workspace.organization):
        services.archive_provider_key(provider_key=provider_key, expected_version=1, actor=actor)
    refusals = race(
        workspace,
        lambda: services.delete_provider_key(provider_key=provider_key, expected_version=2, actor=actor),
        lambda: services.restore_provider_key(provider_key=provider_key, expected_version=2, actor=actor),
    )
    assert sorted(type(refusal).__name__ for refusal in refusals) == ["NoneType", "ProviderKeyChangedError"]
    with tenant_scope(workspace.organization):
        now = ProviderKey.objects.get(id=provider_key.id)
        is_deleted = refusals[0] is None
        assert (now.deleted_at is not None, now.archived_at is not None) == (is_deleted, is_deleted)
        assert len(boxes_of(now)) == (0 if is_deleted else 1)


def test_a_value_that_was_sealed_before_a_new_generation_is_not_stored_for_the_old_one_alone(
    workspace: Workspace,
) -> None:
    """Whichever of adding and a new generation comes first, no provider key lacks a box for a live key unnoticed."""
    signer, new_key = workspace.owner.user.vault, ProjectKeyPair()
    boxes = [workspace.signed_box("openai", "sk-value")]
    with tenant_scope(workspace.organization):
        # As a rotation does it: the project's row first.
        project = lock_project_and_add(workspace, new_key)
        with pytest.raises(KeysetChangedError) as refused:
            services.add_provider_key(project=project, provider="openai", boxes=boxes, signer=signer)
        assert refused.value.status == 409
        both = [*boxes, sealed_for(workspace, new_key, 2, "openai", "sk-value")]
        stored = services.add_provider_key(project=project, provider="openai", boxes=both, signer=signer)
        assert [box.generation for box in boxes_of(stored)] == [1, 2]
        assert new_key.open(boxes_of(stored)[1].sealed) == "sk-value"


def lock_project_and_add(workspace: Workspace, key: ProjectKeyPair) -> Project:
    with transaction.atomic():
        project = lock_project(workspace.project.id)
        ProjectKeyEntry.objects.filter(project_id=project.id).update(status=ProjectKeyEntry.Status.RETIRING)
        register_key(
            public_key=key.public,
            organization_id=workspace.organization.id,
            project_id=project.id,
            generation=2,
            status=ProjectKeyEntry.Status.ACTIVE,
        )
        ProjectKey.objects.create(
            project=project, generation=2, public_key=key.public, kid=key.kid, via=ProjectKey.Via.BROWSER
        )
        bump_keyset(project)
    return project


def sealed_for(workspace: Workspace, key: ProjectKeyPair, generation: int, provider: str, value: str) -> SignedBox:
    sealed = key.seal(value)
    statement = statements.provider_key(workspace.project.id, generation, key.public, provider, b64_decode(sealed))
    return SignedBox(generation=generation, sealed=sealed, signature=workspace.owner.account.sign(statement))
