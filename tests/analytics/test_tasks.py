"""When sums are made: what asks for it, and what it costs while nothing happens."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.activity import services
from apps.activity.models import Activity, DailyUsage
from apps.activity.services import changed_organizations, note_change, note_summed
from apps.analytics import tasks
from apps.analytics.models import RollupState
from apps.ledger.models import Outbox
from apps.organizations.models import Organization
from tenancy import tenant_scope
from tests.cast import Workspace
from tests.ledger import facts


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "_noted", {})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The organizations that a task was asked for."""
    found: list[str] = []

    def apply_async(args: Any = None, kwargs: Any = None, **_: Any) -> None:
        found.append(kwargs["organization_id"])

    monkeypatch.setattr(tasks.roll_up, "apply_async", apply_async)
    monkeypatch.setattr(tasks.sweep_organization, "delay", lambda organization_id: found.append(organization_id))
    return found


def test_a_change_is_noted_once_a_second(acme: Workspace) -> None:
    with CaptureQueriesContext(connection):
        note_change(acme.organization.id)
        first = Activity.objects.get(pk=acme.organization.id).changed_at
        note_change(acme.organization.id)
    assert Activity.objects.get(pk=acme.organization.id).changed_at == first


def test_a_note_that_fails_fails_nothing_else(acme: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise DatabaseError

    monkeypatch.setattr(services._NOTE, "fetch_all", broken)
    note_change(acme.organization.id)
    assert not Activity.objects.filter(pk=acme.organization.id).exists()


def test_it_is_looked_at_until_nothing_can_have_been_missed(acme: Workspace) -> None:
    """A process says nothing for a second after it has said that something changed."""
    note_change(acme.organization.id)
    changed = Activity.objects.get(pk=acme.organization.id).changed_at
    assert changed_organizations() == [acme.organization.id]
    note_summed(acme.organization.id, changed + timedelta(seconds=1.9))
    assert changed_organizations() == [acme.organization.id]
    note_summed(acme.organization.id, changed + timedelta(seconds=2))
    assert changed_organizations() == []
    # A worker that was slow does not take it back.
    note_summed(acme.organization.id, changed)
    assert changed_organizations() == []


def test_the_tick_asks_for_active_organizations_with_one_query(acme: Workspace, asked: list[str]) -> None:
    now = timezone.now()
    quiet = [Organization.objects.create(name=f"Quiet {n}", schema_name=f"t_quiet{n:04}") for n in range(100)]
    Activity.objects.bulk_create(
        Activity(organization_id=each.pk, changed_at=now - timedelta(days=1), summed_at=now) for each in quiet
    )
    suspended = Organization.objects.create(name="S", schema_name="t_s", status=Organization.Status.SUSPENDED)
    Activity.objects.create(organization_id=suspended.pk, changed_at=now)
    Activity.objects.create(organization_id=uuid.uuid4(), changed_at=now)
    note_change(acme.organization.id)
    with CaptureQueriesContext(connection) as queries:
        assert tasks.roll_up_changed() == 1
    assert asked == [str(acme.organization.id)]
    assert len(queries) == 1


def test_the_task_sums_up_and_says_until_when(acme: Workspace) -> None:
    with tenant_scope(acme.organization):
        row = facts.event(acme.project.id)
        Outbox.objects.create(events=[row.id])
    note_change(acme.organization.id)
    started = timezone.now()
    assert tasks.roll_up(organization_id=str(acme.organization.id)) == "done"
    summed = Activity.objects.get(pk=acme.organization.id).summed_at
    assert summed is not None
    assert summed >= started
    day = DailyUsage.objects.get(organization=acme.organization, day=row.occurred_at.date())
    assert (day.calls, day.cost, day.currency) == (1, row.cost, "USD")


def test_the_sweep_finds_what_nobody_said(acme: Workspace, asked: list[str]) -> None:
    with tenant_scope(acme.organization):
        tasks.roll_up(organization_id=str(acme.organization.id))
        assert RollupState.objects.exists()
    tasks.sweep()
    assert str(acme.organization.id) in asked
    asked.clear()
    tasks.sweep_organization(organization_id=str(acme.organization.id))
    assert asked == []
    with tenant_scope(acme.organization):
        Outbox.objects.create(events=[])
    tasks.sweep_organization(organization_id=str(acme.organization.id))
    assert asked == [str(acme.organization.id)]
