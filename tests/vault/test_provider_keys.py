"""Provider keys as the server takes them: signed boxes, for generations that exist, replaced without a race."""

import dataclasses
from typing import Any

import pytest

from apps.directory.services import KeyInUseError
from apps.organizations.services import OrganizationError, create_organization
from apps.projects.services import NewProjectKey, ProjectError, ProjectKeyError, add_first_key, create_project
from apps.vault.models import Box, Grant, ProviderKey
from apps.vault.services import (
    ProviderKeyChangedError,
    ProviderKeyExistsError,
    VaultError,
    add_provider_key,
    replace_provider_key,
    store_self_grant,
)
from cryptokit import statements
from cryptokit.encoding import b64
from devstack.browser import ProjectKeyPair
from tenancy import tenant_scope
from tests.cast import Member, Workspace


def test_a_provider_key_is_stored_sealed(acme: Workspace) -> None:
    acme.add_provider_key("openai", "sk-acme")
    with tenant_scope(acme.organization):
        box = Box.objects.get()
        assert acme.key.open(box.sealed) == "sk-acme"
        assert "sk-acme" not in str(Box.objects.values().get())


def test_a_project_has_one_current_key_a_provider(acme: Workspace) -> None:
    first = acme.add_provider_key("openai", "sk-acme")
    with pytest.raises(ProviderKeyExistsError):
        acme.add_provider_key("openai", "sk-other")
    with tenant_scope(acme.organization):
        ProviderKey.objects.filter(id=first.id).update(archived_at="2026-01-01T00:00Z")
    assert acme.add_provider_key("openai", "sk-new").id != first.id


def test_boxes_that_are_not_what_they_say_are_refused(acme: Workspace, charlie: Member) -> None:
    good = acme.signed_box("openai", "sk-acme")
    wrong: list[dict[str, Any]] = [
        {"signature": bytes(64)},
        {"signature": acme.signed_box("anthropic", "sk-acme").signature},
        {"sealed": acme.signed_box("openai", "sk-acme").sealed},
        {"sealed": good.sealed + "\n"},
        {"sealed": b64(b"too short")},
        {"sealed": b64(bytes(9_000))},
        {"generation": 2},
    ]
    with tenant_scope(acme.organization):
        signer = acme.owner.user.vault
        for change in wrong:
            box = dataclasses.replace(good, **change)
            with pytest.raises(VaultError):
                add_provider_key(project=acme.project, provider="openai", boxes=[box], signer=signer)
        with pytest.raises(VaultError):
            add_provider_key(project=acme.project, provider="openai", boxes=[good], signer=charlie.user.vault)
        for provider in ("", "Open AI", "../x", "a" * 65, "x\0"):
            with pytest.raises(VaultError):
                add_provider_key(project=acme.project, provider=provider, boxes=[good], signer=signer)
        assert not ProviderKey.objects.exists()


def test_of_two_replacements_of_one_version_one_wins(acme: Workspace) -> None:
    provider_key = acme.add_provider_key("openai", "sk-old")
    signer = acme.owner.user.vault
    with tenant_scope(acme.organization):
        boxes = [acme.signed_box("openai", "sk-new")]
        replaced = replace_provider_key(provider_key=provider_key, expected_version=1, boxes=boxes, signer=signer)
        assert (replaced.version, replaced.updated_at is not None) == (2, True)
        with pytest.raises(ProviderKeyChangedError):
            replace_provider_key(
                provider_key=provider_key,
                expected_version=1,
                boxes=[acme.signed_box("openai", "sk-late")],
                signer=signer,
            )
        assert [acme.key.open(box.sealed) for box in Box.objects.all()] == ["sk-new"]


def test_a_projects_key_is_signed_new_and_first(acme: Workspace, charlie: Member) -> None:
    with tenant_scope(acme.organization):
        project = create_project(name="staging")
        pair = ProjectKeyPair()

        def made(key: ProjectKeyPair, **changes: Any) -> NewProjectKey:
            signature = acme.owner.account.sign(statements.project_key(acme.organization.id, project.id, 1, key.public))
            new = NewProjectKey(generation=1, public_key=key.public, kid=key.kid, statement_signature=signature)
            return dataclasses.replace(new, **changes)

        signer = acme.owner.user.vault
        for key in (
            made(pair, public_key=bytes(32)),
            made(pair, kid="XYZ"),
            made(pair, generation=2),
            made(pair, statement_signature=bytes(64)),
        ):
            with pytest.raises(ProjectKeyError):
                add_first_key(project=project, key=key, signer=signer)
        with pytest.raises(ProjectKeyError):
            add_first_key(project=project, key=made(pair), signer=charlie.user.vault)
        with pytest.raises(KeyInUseError):
            add_first_key(project=project, key=made(acme.key), signer=signer)
        add_first_key(project=project, key=made(pair), signer=signer)
        with pytest.raises(KeyInUseError):
            add_first_key(project=project, key=made(ProjectKeyPair()), signer=signer)


def test_a_self_grant_is_kept_once(acme: Workspace) -> None:
    vault = acme.owner.user.vault
    with tenant_scope(acme.organization):
        for _ in range(2):
            envelope = acme.owner.account.self_grant(acme.organization.id, acme.project.id, 1, acme.key)
            store_self_grant(project=acme.project, generation=1, vault=vault, envelope=envelope)
        assert Grant.objects.get().envelope == envelope
        with pytest.raises(VaultError):
            store_self_grant(project=acme.project, generation=1, vault=vault, envelope=b64(acme.key.private))


def test_names_are_names(alice: Member, acme: Workspace) -> None:
    for name in ("", "  ", "x" * 256, "a\0b"):
        with pytest.raises(OrganizationError):
            create_organization(name=name, owner=alice.user)
        with tenant_scope(acme.organization), pytest.raises(ProjectError):
            create_project(name=name)
