"""Sums over the ledger: the same as the ledger's own, whatever came when, and made again the same."""

import math
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from apps.analytics import rollups
from apps.analytics.distributions import ACCURACY
from apps.analytics.models import Rollup
from apps.analytics.rollups import Progress
from apps.analytics.selectors import Dimension, Granularity, Question, distributions, summed, whole
from apps.ledger.models import Outbox, UsageEvent
from apps.ledger.selectors import EventFilter, totals
from tenancy import tenant_scope
from tests.cast import Workspace
from tests.ledger import facts
from tests.ledger.facts import MAY
from tests.ledger.test_selectors import without_zeros

UTC_ZONE = ZoneInfo("UTC")
INDIA = ZoneInfo("Asia/Kolkata")


@pytest.fixture
def project(acme: Workspace) -> Iterator[uuid.UUID]:
    with tenant_scope(acme.organization):
        yield uuid.uuid4()


def note(rows: list[UsageEvent]) -> None:
    """As what stores events does."""
    Outbox.objects.create(events=[row.id for row in rows])


def roll_up(zone: str = "UTC") -> None:
    while rollups.roll_up(zone) is Progress.MORE:
        pass


def state() -> list[tuple[object, ...]]:
    return sorted(Rollup.objects.values_list(), key=repr)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns"])
def test_sums_are_those_of_the_ledger(project: uuid.UUID, zone: str) -> None:
    note(facts.a_mix(project, count=60))
    roll_up(zone)
    wanted = EventFilter(project_ids=(project,))
    assert without_zeros(whole(Question(wanted, ZoneInfo(zone)))) == without_zeros(totals(wanted))
    for granularity in Granularity:
        rows = summed(Question(wanted, ZoneInfo(zone), granularity))
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            assert row.starts_at is not None
            end = following.starts_at if following else None
            alone = EventFilter(project_ids=(project,), start=row.starts_at, end=end)
            assert without_zeros(row.totals) == without_zeros(totals(alone)), granularity


def test_counting_in_steps_is_counting_at_once(project: uuid.UUID) -> None:
    roll_up()
    rows = facts.a_mix(project, count=40)
    Random(7).shuffle(rows)
    for start in range(0, 40, 7):
        note(rows[start : start + 7])
        roll_up()
    stepwise = state()
    assert rollups.recount("UTC") is Progress.DONE
    assert state() == stepwise
    assert not Outbox.objects.exists()
