"""Projects and their pages: made, changed, put away, brought back, deleted; and the clients that use them."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client as Browser
from django.utils import timezone

from apps.audit.models import Entry
from apps.directory.models import ProjectKeyEntry
from apps.organizations.models import Membership
from apps.projects import clients
from apps.projects.clients import MOST_CLIENTS, ClientError, ClientExistsError, client_name
from apps.projects.models import Client, Project
from apps.projects.selectors import overview, siblings
from apps.projects.services import (
    ProjectError,
    ProjectExistsError,
    archive_project,
    create_project,
    delete_project,
    restore_project,
)
from apps.vault import rotation
from apps.vault.models import Box, Grant, ProviderKey
from devstack.browser import ProjectKeyPair
from tenancy import tenant_scope
from tenancy.sql import Statement
from tests.cast import KeyRing, Member, Workspace


def test_a_name_has_each_environment_once(acme: Workspace, alice: Member) -> None:
    with tenant_scope(acme.organization):
        first = create_project(name=" Assistant ", environment="staging", actor=alice.user)
        assert first.name == "Assistant"
        with pytest.raises(ProjectExistsError):
            create_project(name="Assistant", environment="staging")
        create_project(name="Assistant", environment="production")
        with pytest.raises(ProjectError):
            create_project(name="Assistant", environment="moon")
        archive_project(project_id=first.id, actor=alice.user)
        create_project(name="Assistant", environment="staging")
        with pytest.raises(ProjectExistsError), transaction.atomic():
            restore_project(project_id=first.id, actor=alice.user)
        assert Project.objects.get(id=first.id).archived_at is not None
        assert ProjectKeyEntry.objects.filter(project_id=first.id, is_suspended=False).count() == 0


def test_environments_stand_side_by_side(acme: Workspace) -> None:
    with tenant_scope(acme.organization):
        production = create_project(name="Assistant", environment="production")
        development = create_project(name="Assistant", environment="development")
        [group] = [group for group in overview() if group.name == "Assistant"]
        assert [each.project.id for each in group.environments] == [development.id, production.id]
        assert [place for place, environment in group.places if environment is None] == ["staging"]
        assert [place.project and place.project.id for place in siblings(production)] == [
            development.id,
            None,
            production.id,
        ]


def test_archiving_and_restoring_twice_is_once(acme: Workspace, alice: Member) -> None:
    with tenant_scope(acme.organization):
        ring = KeyRing.new(acme, "Assistant")
        for _ in range(2):
            archive_project(project_id=ring.project.id, actor=alice.user)
        for _ in range(2):
            restore_project(project_id=ring.project.id, actor=alice.user)
        actions = Entry.objects.filter(project_id=ring.project.id).values_list("action", flat=True)
        assert sorted(actions) == ["project.archived", "project.created", "project.restored"]


def test_deleting_takes_what_opens_anything_and_leaves_the_names(acme: Workspace, alice: Member) -> None:
    with tenant_scope(acme.organization):
        ring = KeyRing.new(acme, "Assistant")
        ring.add(alice, "openai", "sk-acme")
        ring.rotate(alice)
        with pytest.raises(ProjectError):
            delete_project(project_id=ring.project.id, actor=alice.user)
        archive_project(project_id=ring.project.id, actor=alice.user)
        delete_project(project_id=ring.project.id, actor=alice.user)
        assert ring.entries == {}
        assert not Box.objects.filter(provider_key__project=ring.project).exists()
        assert not Grant.objects.filter(project=ring.project).exists()
        assert ProviderKey.objects.get(project=ring.project).deleted_at is not None
        assert Project.objects.get(id=ring.project.id).name == "Assistant"
        assert "Assistant" not in {group.name for group in [*overview(), *overview(archived=True)]}
        # The name is free again, the keys are not.
        create_project(name="Assistant")
        assert ProjectKeyEntry.objects.filter(project_id=ring.project.id, status="retired").count() == 2


# --- Clients ---


def test_clients_are_registered_by_hand_renamed_and_removed(acme: Workspace, alice: Member) -> None:
    with tenant_scope(acme.organization):
        first = clients.add_client(project=acme.project, name=" worker ", actor=alice.user)
        second = clients.add_client(project=acme.project, name="web", actor=alice.user)
        assert (first.name, first.is_default, second.is_default) == ("worker", True, False)
        with pytest.raises(ClientExistsError):
            clients.add_client(project=acme.project, name="web", actor=alice.user)
        with pytest.raises(ClientExistsError):
            clients.rename_client(project=acme.project, client_id=second.id, name="worker", actor=alice.user)
        clients.rename_client(project=acme.project, client_id=second.id, name="site", actor=alice.user)
        clients.make_default(project=acme.project, client_id=second.id, actor=alice.user)
        assert [each.name for each in Client.objects.filter(is_default=True)] == ["site"]
        clients.remove_client(project=acme.project, client_id=first.id, actor=alice.user)
        assert [each.name for each in Client.objects.all()] == ["site"]
        for name in ("", "  ", "a\0b", "a\nb", "x" * 256):
            with pytest.raises(ClientError):
                clients.add_client(project=acme.project, name=name, actor=alice.user)


def test_a_project_has_room_for_so_many_clients(acme: Workspace, alice: Member) -> None:
    with tenant_scope(acme.organization):
        Client.objects.bulk_create(Client(project=acme.project, name=f"client-{n}") for n in range(MOST_CLIENTS))
        with pytest.raises(ClientError):
            clients.add_client(project=acme.project, name="one more", actor=alice.user)


@pytest.mark.parametrize(
    ("text", "name"), [(" web ", "web"), ("", None), ("a\tb", None), ("x" * 300, "x" * 255), ("Köln", "Köln")]
)
def test_names_of_clients_are_names(text: str, name: str | None) -> None:
    assert client_name(text) == name


def fetch(ring: KeyRing, client: str | None, generation: int = 1) -> Any:
    sdk = ring.sdk(generation)
    headers = sdk.bearer if client is None else {**sdk.bearer, "AnyLLM-Client-Name": client}
    return sdk.client.get("/api/v1/provider-keys/openai", headers=headers)


@pytest.fixture
def ring(acme: Workspace) -> KeyRing:
    with tenant_scope(acme.organization):
        ring = KeyRing.new(acme, "Assistant")
        ring.add(acme.owner, "openai", "sk-acme")
        return ring


def test_a_program_that_names_itself_is_registered(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    assert fetch(ring, "  worker ").status_code == 200
    with tenant_scope(acme.organization):
        seen = Client.objects.get(project=ring.project)
        assert (seen.name, seen.last_generation, seen.is_default) == ("worker", 1, False)
        assert seen.last_seen_at is not None
        ring.rotate(alice)
    # Within the minute nothing is written.
    fetch(ring, "worker", 2)
    with tenant_scope(acme.organization):
        assert Client.objects.get(project=ring.project).last_seen_at == seen.last_seen_at
        Client.objects.update(last_seen_at=timezone.now() - timedelta(minutes=2))
    fetch(ring, "worker", 2)
    with tenant_scope(acme.organization):
        assert Client.objects.get(project=ring.project).last_generation == 2


def test_names_that_are_none_register_nothing(ring: KeyRing, acme: Workspace) -> None:
    for name in (None, "", "   ", "a\tb"):
        assert fetch(ring, name).status_code == 200
    with tenant_scope(acme.organization):
        assert not Client.objects.filter(project=ring.project).exists()


def test_a_program_that_makes_up_names_fills_no_table(ring: KeyRing, acme: Workspace) -> None:
    with tenant_scope(acme.organization):
        Client.objects.bulk_create(Client(project=ring.project, name=f"run-{n}") for n in range(MOST_CLIENTS - 1))
    for name in ("last", "too many", "too many"):
        assert fetch(ring, name).status_code == 200
    with tenant_scope(acme.organization):
        assert Client.objects.filter(project=ring.project).count() == MOST_CLIENTS
        assert not Client.objects.filter(name="too many").exists()


def test_a_fetch_that_is_not_due_costs_one_statement(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(ring, "worker")
    statements: list[Statement] = []
    execute = Statement._execute

    def counted(statement: Statement, *args: Any) -> Any:
        statements.append(statement)
        return execute(statement, *args)

    monkeypatch.setattr(Statement, "_execute", counted)
    assert fetch(ring, "worker").status_code == 200
    assert len(statements) == 1


def test_each_generation_says_when_it_was_used(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    fetch(ring, None)
    with tenant_scope(acme.organization):
        ring.rotate(alice)
    fetch(ring, None, 2)
    with tenant_scope(acme.organization):
        used = dict(ring.project.keys.values_list("generation", "last_used_at"))
        assert used[1] is not None
        assert used[2] is not None


# --- Pages ---


def test_pages_show_what_there_is(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    browser = alice.browser()
    overview_page = browser.get(acme.url())
    assert overview_page.status_code == 200
    assert b"Assistant" in overview_page.content
    for path in ("", "key/", "clients/", "settings/"):
        page = browser.get(acme.url(f"projects/{ring.project.id}/{path}"))
        assert page.status_code == 200, path
        assert b"Assistant" in page.content
    assert browser.get(acme.url("projects/new/?name=Assistant&environment=staging")).status_code == 200
    assert browser.get(acme.url("projects/archived/")).status_code == 200


def test_an_empty_organization_is_told_what_to_do(globex: Workspace, charlie: Member) -> None:
    with tenant_scope(globex.organization):
        archive_project(project_id=globex.project.id, actor=charlie.user)
    assert b"Make your first project" in charlie.browser().get(globex.url()).content
    viewer = globex.join("vera", Membership.Role.VIEWER).browser()
    assert b"An owner or admin" in viewer.get(globex.url()).content


def test_a_project_is_made_on_its_page(acme: Workspace, alice: Member) -> None:
    browser, url = alice.browser(), acme.url("projects/new/")
    sent = {"name": "Billing", "environment": "staging", "description": "Invoices."}
    made = browser.post(url, sent)
    with tenant_scope(acme.organization):
        project = Project.objects.get(name="Billing")
    assert (made.status_code, made["Location"]) == (302, acme.url(f"projects/{project.id}/key/"))
    again = browser.post(url, sent)
    assert again.status_code == 422
    assert b"already" in again.content
    assert browser.post(url, {**sent, "name": ""}).status_code == 422
    assert browser.post(url, {**sent, "environment": "moon"}).status_code == 422


def test_a_project_is_changed_put_away_brought_back_and_deleted(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    browser, base = alice.browser(), acme.url(f"projects/{ring.project.id}/")
    changed = {"name": "Helper", "environment": "staging", "description": "Answers."}
    assert browser.post(f"{base}settings/", changed).status_code == 302
    assert browser.post(f"{base}archive").status_code == 302
    assert b"This project is archived" in browser.get(f"{base}settings/").content
    assert browser.post(f"{base}restore").status_code == 302
    assert browser.post(f"{base}delete", {"name": "Helper"}).status_code == 422
    browser.post(f"{base}archive")
    browser.post(f"{base}delete", {"name": "Assistant"})
    assert browser.get(f"{base}settings/").status_code == 200
    assert browser.post(f"{base}delete", {"name": "Helper"})["Location"] == acme.url()
    assert browser.get(f"{base}settings/").status_code == 404


def test_clients_are_kept_on_their_page(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    browser, base = alice.browser(), acme.url(f"projects/{ring.project.id}/clients/")
    assert browser.post(f"{base}add", {"name": "worker"}).status_code == 302
    assert browser.post(f"{base}add", {"name": "worker"}).status_code == 422
    with tenant_scope(acme.organization):
        client = Client.objects.get(project=ring.project)
    assert browser.post(f"{base}{client.id}/rename", {"name": "site"}).status_code == 302
    assert browser.post(f"{base}{client.id}/default").status_code == 302
    assert b"site" in browser.get(base).content
    assert browser.post(f"{base}{client.id}/remove").status_code == 302
    assert browser.post(f"{base}{client.id}/remove").status_code == 404


POSTS = ["settings/", "archive", "restore", "delete", "clients/add"]


@pytest.mark.parametrize("path", POSTS)
def test_pages_know_who_asks(ring: KeyRing, acme: Workspace, charlie: Member, path: str) -> None:
    url = acme.url(f"projects/{ring.project.id}/{path}")
    with tenant_scope(acme.organization):
        before = Project.objects.values().get(id=ring.project.id)
    body = {"name": "Taken", "environment": "staging", "description": ""}
    assert Browser().post(url, body).status_code == 302
    assert charlie.browser().post(url, body).status_code == 404
    for role in (Membership.Role.VIEWER, Membership.Role.CONTRIBUTOR):
        assert acme.join("dora", role).browser().post(url, body).status_code == 403
    with tenant_scope(acme.organization):
        assert Project.objects.values().get(id=ring.project.id) == before
        assert not Client.objects.filter(project=ring.project).exists()


def test_the_overview_names_what_has_to_be_done(ring: KeyRing, acme: Workspace, alice: Member) -> None:
    browser = alice.browser()
    with tenant_scope(acme.organization):
        rotation.set_key_from_cli(project=ring.project, public_key=ProjectKeyPair().public, actor=alice.user)
    assert b"A rotation from the command line is not finished" in browser.get(acme.url()).content
    with tenant_scope(acme.organization):
        Project.objects.filter(id=ring.project.id).update(
            rotation_required_since=timezone.now(), rotation_required_reason="Bob left."
        )
    assert b"Bob left." in browser.get(acme.url()).content
