"""How long usage is kept, and what a project keeps of labels."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client as Browser
from django.utils import formats, timezone

from apps.audit.models import Entry
from apps.ledger.selectors import oldest_call
from apps.organizations.models import Membership, Organization
from apps.projects.models import Project
from apps.projects.services import create_project
from tenancy import tenant_scope
from tests.cast import Member, Workspace
from tests.usage.events import add_event
from tests.usage.test_ledger import text_of


def kept(acme: Workspace) -> int | None:
    return Organization.objects.get(pk=acme.organization.pk).usage_retention_days


def change(browser: Browser, acme: Workspace, **sent: Any) -> Any:
    return browser.post(acme.url("settings/usage/"), {"keep": "days", "days": "400", **sent})


def test_an_owner_changes_how_long_calls_are_kept(acme: Workspace, alice: Member) -> None:
    browser = alice.just_signed_in()
    assert "Calls are kept for good." in text_of(browser.get(acme.url("settings/")))
    assert change(browser, acme).status_code == 302
    assert kept(acme) == 400
    assert "Calls are kept for 400 days." in text_of(browser.get(acme.url("settings/")))
    assert change(browser, acme, keep="good").status_code == 302
    assert kept(acme) is None
    change(browser, acme, keep="good")
    with tenant_scope(acme.organization):
        entries = Entry.objects.filter(action="organization.retention_changed").order_by("id")
        assert [entry.detail["kept"] for entry in entries] == ["for 400 days", "for good"]


def test_they_say_who_they_are_first(acme: Workspace, alice: Member) -> None:
    answer = change(alice.browser(), acme)
    assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/accounts/reauthenticate/")
    assert kept(acme) is None


@pytest.mark.parametrize("days", ["", "0", "29", "-1", "3661", "soon"])
def test_days_that_are_none_are_refused(acme: Workspace, alice: Member, days: str) -> None:
    answer = change(alice.just_signed_in(), acme, days=days)
    assert answer.status_code == 422
    assert b'aria-invalid="true"' in answer.content
    assert kept(acme) is None


def test_only_owners_change_it(acme: Workspace) -> None:
    for role in set(Membership.Role) - {Membership.Role.OWNER}:
        browser = acme.join(f"{role}", role).just_signed_in()
        page = browser.get(acme.url("settings/usage/"))
        assert page.status_code == 200
        assert b"<textarea" not in page.content
        assert b'name="days"' not in page.content
        assert change(browser, acme).status_code == 403
    assert kept(acme) is None


def test_the_oldest_call_of_all_projects_is_named(acme: Workspace, alice: Member) -> None:
    browser, now = alice.browser(), timezone.now()
    assert "Oldest call none yet" in text_of(browser.get(acme.url("settings/usage/")))
    with tenant_scope(acme.organization):
        other = create_project(name="another")
        for project, days in [(acme.project, 3), (other, 40), (other, 20)]:
            add_event(project, at=now - timedelta(days=days))
        assert oldest_call() == now - timedelta(days=40)
    shown = text_of(browser.get(acme.url("settings/usage/")))
    assert f"Oldest call {formats.date_format(now - timedelta(days=40), 'j F Y, H:i')}" in shown


def test_a_project_keeps_labels_or_fingerprints(acme: Workspace, alice: Member) -> None:
    browser, url = alice.browser(), acme.url(f"projects/{acme.project.id}/labels")

    def hides() -> bool:
        with tenant_scope(acme.organization):
            return Project.objects.get(id=acme.project.id).hides_labels

    assert not hides()
    for sent, expected in [("fingerprints", True), ("fingerprints", True), ("neither", True), ("as-sent", False)]:
        assert browser.post(url, {"labels": sent}).status_code == 302
        assert hides() is expected
    with tenant_scope(acme.organization):
        entries = Entry.objects.filter(action="project.labels_changed").order_by("id")
        assert [entry.detail["kept"] for entry in entries] == ["only fingerprints", "labels as they are sent"]
