"""Ingest tokens: made, shown once, counted, revoked; and who may."""

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser

from apps.audit.models import Entry
from apps.directory import ingest_tokens
from apps.directory.ingest_tokens import MOST_TOKENS, IngestTokenError
from apps.directory.models import IngestToken
from apps.organizations.models import Membership
from apps.projects.services import archive_project, create_project, delete_project, restore_project
from apps.usage.services import make_ingest_token
from apps.vault.services import store_self_grant
from tenancy import tenant_scope
from tests.cast import Member, Workspace

Role = Membership.Role
TEXT = re.compile(r"alpi_[A-Za-z0-9_-]{43}")


def path(workspace: Workspace, end: str = "") -> str:
    return workspace.url(f"projects/{workspace.project.id}/ingest-tokens/{end}")


def make(browser: Browser, workspace: Workspace, name: str = "collector") -> Any:
    return browser.post(path(workspace, "add"), {"name": name})


def test_the_text_is_shown_once_and_only_its_digest_is_kept(acme: Workspace, alice: Member) -> None:
    browser = alice.browser()
    answer = make(browser, acme)
    assert answer.status_code == 200
    assert "no-store" in answer["Cache-Control"]
    [text] = set(TEXT.findall(answer.content.decode()))
    token = IngestToken.objects.get(project_id=acme.project.id)
    assert bytes(token.digest) == hashlib.sha256(text.encode()).digest()
    assert (token.name, token.ending, token.organization_id) == ("collector", text[-4:], acme.organization.id)
    assert token.created_by == alice.user.id
    page = browser.get(path(acme)).content.decode()
    assert "collector" in page
    assert f"…{text[-4:]}" in page
    assert not TEXT.search(page)
    with tenant_scope(acme.organization):
        entry = Entry.objects.get(action="ingest_token.created")
        assert (entry.actor_id, entry.detail) == (alice.user.id, {"token": "collector"})
    # Nowhere in the database but as its digest.
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM directory_ingesttoken t")
        assert text not in str(cursor.fetchall())


def test_the_page_has_the_lines_to_report_with(acme: Workspace, alice: Member) -> None:
    answer = make(alice.browser(), acme).content.decode()
    plain = re.sub("<[^>]+>", "", answer)
    [text] = set(TEXT.findall(answer))
    assert "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=" in plain
    assert "/v1/traces" in plain
    assert f"OTEL_EXPORTER_OTLP_TRACES_HEADERS=authorization=Bearer%20{text}" in plain


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 101, "a\0b"])
def test_names_that_are_none_are_refused(acme: Workspace, alice: Member, name: str) -> None:
    assert make(alice.browser(), acme, name).status_code == 422
    assert not IngestToken.objects.filter(project_id=acme.project.id).exists()
    with pytest.raises(IngestTokenError):
        ingest_tokens.issue(
            organization_id=acme.organization.id, project_id=acme.project.id, name=name, user_id=alice.user.id
        )


def test_a_name_is_given_once(acme: Workspace, alice: Member) -> None:
    browser = alice.browser()
    make(browser, acme)
    again = make(browser, acme, " collector ")
    assert again.status_code == 422
    assert b"already" in again.content
    [token] = ingest_tokens.live_tokens(acme.project.id)
    browser.post(path(acme, f"{token.id}/revoke"))
    assert make(browser, acme).status_code == 200


def test_a_project_has_so_many(acme: Workspace, alice: Member) -> None:
    with tenant_scope(acme.organization):
        for number in range(MOST_TOKENS):
            make_ingest_token(project=acme.project, name=f"token {number}", actor=alice.user)
        with pytest.raises(IngestTokenError, match="at most"):
            make_ingest_token(project=acme.project, name="one more", actor=alice.user)
        other = create_project(name="Other")
        make_ingest_token(project=other, name="elsewhere", actor=alice.user)
    browser = alice.browser()
    assert make(browser, acme).status_code == 422
    assert b"Revoke one that nothing uses" in browser.get(path(acme)).content


def test_revoking_ends_a_token(acme: Workspace, alice: Member) -> None:
    browser = alice.browser()
    make(browser, acme)
    [token] = ingest_tokens.live_tokens(acme.project.id)
    assert browser.post(path(acme, f"{token.id}/revoke")).status_code == 302
    assert ingest_tokens.live_tokens(acme.project.id) == []
    assert IngestToken.objects.get(id=token.id).revoked_at is not None
    assert browser.post(path(acme, f"{token.id}/revoke")).status_code == 404
    with tenant_scope(acme.organization):
        assert Entry.objects.filter(action="ingest_token.revoked").count() == 1


def test_another_projects_token_is_not_found(acme: Workspace, globex: Workspace, alice: Member) -> None:
    make(alice.browser(), acme)
    [token] = ingest_tokens.live_tokens(acme.project.id)
    theirs = globex.owner.browser()
    assert theirs.post(path(acme, f"{token.id}/revoke")).status_code == 404
    assert theirs.post(path(globex, f"{token.id}/revoke")).status_code == 404
    assert ingest_tokens.live_tokens(acme.project.id) == [token]


@pytest.mark.parametrize(
    ("role", "holds", "status"),
    [
        (Role.ADMIN, False, 200),
        (Role.DEVELOPER, True, 200),
        (Role.DEVELOPER, False, 403),
        (Role.CONTRIBUTOR, False, 403),
        (Role.VIEWER, False, 403),
    ],
)
def test_who_makes_tokens(acme: Workspace, role: Membership.Role, holds: bool, status: int) -> None:
    member = acme.join("dora", role)
    if holds:
        envelope = member.account.self_grant(acme.organization.id, acme.project.id, 1, acme.key)
        with tenant_scope(acme.organization):
            store_self_grant(project=acme.project, generation=1, vault=member.user.vault, envelope=envelope)
    browser = member.browser()
    page = browser.get(path(acme))
    assert page.status_code == 200
    assert (b'name="name"' in page.content) is (status == 200)
    assert make(browser, acme).status_code == status
    assert IngestToken.objects.filter(project_id=acme.project.id).exists() is (status == 200)


def test_an_archived_project_gets_none_and_a_deleted_one_has_none(acme: Workspace, alice: Member) -> None:
    with tenant_scope(acme.organization):
        make_ingest_token(project=acme.project, name="before", actor=alice.user)
        archive_project(project_id=acme.project.id, actor=alice.user)
    browser = alice.browser()
    assert make(browser, acme).status_code == 422
    with tenant_scope(acme.organization):
        restore_project(project_id=acme.project.id, actor=alice.user)
        assert len(ingest_tokens.live_tokens(acme.project.id)) == 1
        archive_project(project_id=acme.project.id, actor=alice.user)
        delete_project(project_id=acme.project.id, actor=alice.user)
    assert ingest_tokens.live_tokens(acme.project.id) == []


@pytest.mark.xdist_group("committed")
def test_the_limit_holds_at_once(committed: tuple[Workspace, Workspace]) -> None:
    acme = committed[0]
    with tenant_scope(acme.organization):
        project = create_project(name="Crowded with tokens")
        for number in range(MOST_TOKENS - 1):
            make_ingest_token(project=project, name=f"token {number}", actor=acme.owner.user)

    def one(number: int) -> bool:
        try:
            with tenant_scope(acme.organization):
                make_ingest_token(project=project, name=f"late {number}", actor=acme.owner.user)
        except IngestTokenError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(one, range(4))) == [False, False, False, True]
    assert len(ingest_tokens.live_tokens(project.id)) == MOST_TOKENS
