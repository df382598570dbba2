"""Retention: what is too old goes, in batches, with its adjustments and an entry in the trail; nothing else does."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import ProgrammingError, transaction
from django.utils import timezone

from apps.audit.models import Entry
from apps.audit.selectors import words
from apps.ledger import retention, tasks
from apps.ledger.columns import exact
from apps.ledger.models import Adjustment, SpanLink, UsageEvent
from apps.ledger.selectors import EventFilter, stream, totals
from apps.ledger.verifying import Report, verify
from apps.organizations import selectors as organizations
from apps.organizations.models import Organization
from tenancy import tenant_scope
from tenancy.ids import uuid7
from tenancy.roles import as_owner
from tests.cast import Workspace
from tests.ledger import facts

DAY = timedelta(days=1)


@pytest.fixture
def project(acme: Workspace, by_owner: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[uuid.UUID]:
    """A project of Acme's, in its scope, with batches of ten. Its rows are made by the owner: what the tests' own
    transaction does is not seen by another connection."""
    monkeypatch.setattr(retention, "BATCH", 10)
    with tenant_scope(acme.organization):
        yield uuid.uuid4()


def test_what_is_too_old_goes_with_its_adjustments_and_the_trail_says_what_left(project: uuid.UUID) -> None:
    now, other = timezone.now(), uuid.uuid4()
    facts.a_mix(project, count=25, since=now - 60 * DAY)
    facts.a_mix(other, count=5, since=now - 60 * DAY, seed=3)
    kept = [row.id for row in facts.a_mix(project, count=20, since=now - 10 * DAY, seed=2)]
    before, ends = totals(EventFilter()), totals(EventFilter(start=now - 30 * DAY))
    assert not retention.apply_retention(30, batches=100)
    assert [row.event.id for row in stream(EventFilter())] == kept
    assert totals(EventFilter()) == ends
    assert set(Adjustment.objects.values_list("event_id", flat=True)) <= set(kept)
    assert Adjustment.objects.count() == ends.adjustments > 0
    entries = list(Entry.objects.filter(action="usage.deleted").order_by("id"))
    own = [entry for entry in entries if entry.project_id == project]
    assert [(entry.actor_id, entry.detail["events"]) for entry in own] == [(None, 10), (None, 10), (None, 5)]
    assert [entry.detail["last"] for entry in own] == sorted(entry.detail["last"] for entry in own)
    assert sum(entry.detail["events"] for entry in entries) == 30
    assert sum(entry.detail["adjustments"] for entry in entries) == before.adjustments - ends.adjustments
    left = sum(Decimal(entry.detail["costs"].get("USD", "0")) for entry in entries) or Decimal(0)
    assert exact(left) == exact(before.costs["USD"] - ends.costs["USD"])


def test_oldest_first_and_no_more_than_asked(project: uuid.UUID) -> None:
    now = timezone.now()
    rows = [facts.event(project, occurred_at=now - 60 * DAY + number * timedelta(minutes=1)) for number in range(25)]
    assert retention.apply_retention(30, batches=2)
    assert set(UsageEvent.objects.values_list("id", flat=True)) == {row.id for row in rows[20:]}
    assert not retention.apply_retention(30, batches=2)
    assert UsageEvent.objects.count() == 0
    assert not retention.apply_retention(30, batches=2)
    assert Entry.objects.filter(action="usage.deleted").count() == 3


def test_for_good_is_for_good(project: uuid.UUID) -> None:
    facts.event(project, occurred_at=timezone.now() - 10_000 * DAY)
    assert not retention.apply_retention(None, batches=100)
    assert UsageEvent.objects.count() == 1


def test_a_batch_that_fails_leaves_all_of_it(project: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    facts.reprice(facts.event(project), "0.5")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the trail is full")

    monkeypatch.setattr(retention, "record", fail)
    with pytest.raises(RuntimeError, match="trail"), transaction.atomic():
        retention.apply_retention(1, batches=1)
    assert (UsageEvent.objects.count(), Adjustment.objects.count()) == (1, 1)


def test_the_trail_has_words_for_it(project: uuid.UUID) -> None:
    facts.event(project)
    retention.apply_retention(1, batches=1)
    entry = Entry.objects.get(action="usage.deleted")
    assert "".join(part.text for part in words(entry)).startswith("deleted 1 calls from before 2")


def test_the_runtime_role_can_change_and_delete_nothing(committed: tuple[Workspace, Workspace]) -> None:
    with tenant_scope(committed[0].organization):
        project = uuid.uuid4()
        facts.event(project)
        for attempt in (
            lambda: UsageEvent.objects.filter(project_id=project).delete(),
            lambda: UsageEvent.objects.filter(project_id=project).update(cost=0),
            lambda: Adjustment.objects.filter(project_id=project).update(cost=0),
        ):
            with pytest.raises(ProgrammingError, match="permission denied"):
                attempt()
        with as_owner():
            UsageEvent.objects.filter(project_id=project).delete()


def test_the_task_of_an_organization_does_it_as_the_owner_and_goes_on_in_another(
    committed: tuple[Workspace, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    organization, project = committed[0].organization, uuid.uuid4()
    monkeypatch.setattr(retention, "BATCH", 2)
    monkeypatch.setattr(tasks, "MOST_BATCHES", 2)
    following: list[str] = []
    monkeypatch.setattr(tasks.tidy_organization, "delay", lambda organization_id: following.append(organization_id))
    old = timezone.now() - 3_000 * DAY
    with tenant_scope(organization):
        rows = [facts.event(project, occurred_at=old) for _ in range(5)]
        facts.reprice(rows[0], "0.5")
        young = SpanLink.objects.create(project_id=project, event_id=uuid.uuid4(), parent_event_id=uuid.uuid4())
        moment = int((timezone.now() - retention.LINKS_KEPT).timestamp() * 1_000) - 1_000
        SpanLink.objects.create(
            id=uuid.UUID(int=(moment << 80) | (uuid7().int & ((1 << 80) - 1))),
            project_id=project, event_id=uuid.uuid4(), parent_event_id=uuid.uuid4(),
        )  # fmt: skip
    Organization.objects.filter(pk=organization.pk).update(usage_retention_days=2_000)
    try:
        tasks.tidy_organization(organization_id=str(organization.pk))
        assert following == [str(organization.pk)]
        with tenant_scope(organization):
            assert UsageEvent.objects.filter(project_id=project).count() == 1
            assert list(SpanLink.objects.filter(project_id=project)) == [young]
        tasks.tidy_organization(organization_id=following.pop())
        assert following == []
        with tenant_scope(organization):
            assert UsageEvent.objects.filter(project_id=project).count() == 0
            assert Adjustment.objects.filter(project_id=project).count() == 0
            entries = Entry.objects.filter(action="usage.deleted", project_id=project)
            assert sorted(entry.detail["events"] for entry in entries) == [1, 2, 2]
            assert list(verify(Report())) == []
    finally:
        Organization.objects.filter(pk=organization.pk).update(usage_retention_days=None)
        with tenant_scope(organization):
            SpanLink.objects.filter(project_id=project).delete()
            with as_owner():
                Entry.objects.filter(action="usage.deleted", project_id=project).delete()


def test_every_ready_organization_is_asked(acme: Workspace, globex: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(tasks.tidy_organization, "delay", lambda organization_id: asked.append(organization_id))
    monkeypatch.setattr(organizations, "CHUNK", 1)
    Organization.objects.filter(pk=globex.organization.pk).update(status=Organization.Status.SUSPENDED)
    assert tasks.tidy() == len(asked)
    assert str(acme.organization.pk) in asked
    assert str(globex.organization.pk) not in asked
