"""Sums over the ledger: the same as the ledger's own, whatever came when, and made again the same."""

import math
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from random import Random
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.activity.models import DailyUsage
from apps.analytics import rollups, selectors
from apps.analytics.distributions import ACCURACY
from apps.analytics.models import DayRollup, QuarterRollup
from apps.analytics.rollups import Progress
from apps.analytics.selectors import (
    Dimension,
    Granularity,
    Question,
    UnansweredError,
    distributions,
    summed,
    whole,
)
from apps.ledger import retention
from apps.ledger.calls import Ending
from apps.ledger.models import Outbox, PriceStatus, UsageEvent
from apps.ledger.selectors import EventFilter, Totals, page_of_events, totals
from tenancy import tenant_scope
from tests.cast import Workspace
from tests.ledger import facts
from tests.ledger.facts import MAY
from tests.ledger.killing import KilledError, killed_after
from tests.ledger.test_selectors import without_zeros

UTC_ZONE = ZoneInfo("UTC")
INDIA = ZoneInfo("Asia/Kolkata")
COUNTS = {"input_tokens": "10", "output_tokens": "5"}


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
    return sorted([*QuarterRollup.objects.values_list(), *DayRollup.objects.values_list()], key=repr)


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


def test_totals_of_now_are_the_ledgers_however_much_is_summed_up(
    project: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[EventFilter] = []

    def asking(wanted: EventFilter) -> Totals:
        asked.append(wanted)
        return totals(wanted)

    monkeypatch.setattr(selectors, "totals", asking)
    filters = [
        EventFilter(project_ids=(project,)),
        EventFilter(project_ids=(project,), model="gpt-4o", start=MAY, end=MAY + timedelta(days=2)),
        EventFilter(project_ids=(project,), start=MAY + timedelta(hours=5), ending=Ending.OK),
    ]

    def check(*, from_sums: bool) -> None:
        for wanted in filters:
            asked.clear()
            assert without_zeros(selectors.current(wanted, UTC_ZONE)) == without_zeros(totals(wanted))
            assert bool(asked) is not from_sums

    rows = facts.a_mix(project, count=30)
    note(rows)
    check(from_sums=False)
    roll_up()
    check(from_sums=True)
    note(facts.a_mix(project, count=10, seed=2))
    check(from_sums=True)
    # An adjustment of a call that is summed up, and of one that is not yet.
    last = facts.event(project)
    note([last])
    for row in (rows[0], last):
        facts.reprice(row, "0.5")
    check(from_sums=True)
    monkeypatch.setattr(selectors, "MOST_NOTED", 10)
    check(from_sums=False)
    roll_up()
    check(from_sums=True)
    Outbox.objects.create(recount_project_id=project, recount_from=MAY, recount_to=MAY)
    check(from_sums=False)
    # What no sum is by.
    asked.clear()
    wanted = EventFilter(project_ids=(project,), session="order 7")
    assert selectors.current(wanted, UTC_ZONE) == totals(wanted)
    assert asked


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_a_time_without_calls_is_not_looked_through(
    project: uuid.UUID, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    rare = partial(facts.event, project, model="gpt-4o-2024-05-13", session="order 7")
    filters = [
        EventFilter(project_ids=(project,), model="gpt-4o-2024-05-13"),
        EventFilter(model="gpt-4o-2024-05-13", start=MAY, end=MAY + timedelta(days=2)),
        EventFilter(model="gpt-4o-2024-05-13", start=MAY + timedelta(minutes=7), session="order 7"),
        EventFilter(ending=Ending.ERROR, status=PriceStatus.FAILED),
        EventFilter(error_type="Timeout", end=MAY + timedelta(hours=11, minutes=1)),
        EventFilter(model="a model that nobody calls"),
        EventFilter(project_ids=(project,)),
    ]

    def bounds() -> list[tuple[datetime | None, datetime | None]]:
        found = []
        for wanted in filters:
            narrow = selectors.narrowed(wanted, ZoneInfo(zone))
            assert page_of_events(narrow) == page_of_events(wanted)
            found.append((narrow.start, narrow.end))
        return found

    given = [(wanted.start, wanted.end) for wanted in filters]
    at = MAY + timedelta(hours=10, minutes=20)
    rows = [rare(occurred_at=at), *facts.a_mix(project, count=30)]
    note(rows)
    # Without sums nothing is known.
    assert bounds() == given
    roll_up()
    is_days = zone == "UTC"
    first, last = MAY if is_days else MAY + timedelta(hours=10, minutes=15), MAY + timedelta(hours=10, minutes=30)
    tick = timedelta(microseconds=1)
    found = bounds()
    assert found[0] == (first, last + tick)
    assert found[5][0] == found[5][1]
    assert selectors.narrowed(filters[1], ZoneInfo(zone)).project_ids == (project,)
    assert selectors.narrowed(filters[5], ZoneInfo(zone)).project_ids == ()
    assert found[6] == given[6]
    # Of what is noted only, the time is known to the microsecond: before the others, and after them.
    later, sooner = MAY + timedelta(days=3), MAY - timedelta(days=3)
    note([rare(occurred_at=later), rare(occurred_at=sooner)])
    assert bounds()[:2] == [(sooner, later + tick), (MAY if is_days else first, last + tick)]
    # A repriced call has two rows of sums.
    facts.reprice(rows[0], "0.5")
    bounds()
    monkeypatch.setattr(selectors, "MOST_NOTED", 1)
    assert bounds() == given
    roll_up()
    bounds()


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


def test_what_came_and_went_leaves_nothing(project: uuid.UUID) -> None:
    row = facts.event(project, total_duration_ms=1_234.5, time_to_first_token_ms=80.0, tokens_per_second=55.0)
    note([row])
    roll_up()
    facts.make_duplicate(row, uuid.uuid4())
    roll_up()
    [quarter] = QuarterRollup.objects.filter(currency="USD", project_id=project)
    assert (quarter.events, quarter.calls, quarter.input_tokens, quarter.cost) == (1, 0, 0, Decimal(0))
    assert quarter.durations == quarter.first_tokens == quarter.throughputs == []


def test_quantiles_are_within_two_percent(project: uuid.UUID) -> None:
    roll_up()
    random = Random(3)
    values = sorted(math.exp(random.gauss(7, 1.5)) for _ in range(300))
    shuffled = values.copy()
    random.shuffle(shuffled)
    rows = [
        facts.event(project, occurred_at=MAY + timedelta(minutes=7 * number), total_duration_ms=value)
        for number, value in enumerate(shuffled)
    ]
    for start in (0, 100, 200):
        note(rows[start : start + 100])
        roll_up()
    question = Question(EventFilter(project_ids=(project,)), UTC_ZONE)
    found = distributions(question, ["durations"])["durations"].whole
    assert found.count == 300
    for share in (0.0, 0.01, 0.5, 0.95, 0.99, 1.0):
        exact = values[int(share * 299)]
        measured = found.quantile(share)
        assert measured is not None
        assert abs(measured - exact) <= 0.02 * exact
    assert ACCURACY < 0.02
    by_day = Question(question.filter, UTC_ZONE, Granularity.DAY, (Dimension.MODEL,))
    for each in (distributions(by_day, ["first_tokens", "durations"])["durations"].over_time,):
        assert sum(part.count for part in each.values()) == 300
        assert len(each) == 2


def test_days_begin_where_the_organization_is(project: uuid.UUID) -> None:
    """Half past six in the evening of UTC is midnight in India."""
    before = facts.event(project, occurred_at=datetime(2026, 5, 1, 18, 29, 59, tzinfo=UTC))
    after = facts.event(project, occurred_at=datetime(2026, 5, 1, 18, 30, tzinfo=UTC))
    note([before, after])
    roll_up("Asia/Kolkata")
    wanted = EventFilter(project_ids=(project,))
    days = [row.starts_at for row in summed(Question(wanted, INDIA, Granularity.DAY))]
    assert days == [datetime(2026, 5, 1, tzinfo=INDIA), datetime(2026, 5, 2, tzinfo=INDIA)]
    # Asked for in another zone, the same rows are one day: from the quarters.
    assert len(summed(Question(wanted, UTC_ZONE, Granularity.DAY))) == 1
    hours = [row.starts_at for row in summed(Question(wanted, INDIA, Granularity.HOUR))]
    assert hours == [datetime(2026, 5, 1, 23, tzinfo=INDIA), datetime(2026, 5, 2, tzinfo=INDIA)]
    # Another zone of the organization's: all of it is counted again.
    roll_up("UTC")
    assert {row.starts_at for row in DayRollup.objects.filter(project_id=project)} == {MAY}


def test_killed_at_every_statement_everything_is_counted_once(project: uuid.UUID) -> None:
    roll_up()
    note(facts.a_mix(project, count=12))
    kills = 0
    while True:
        try:
            with killed_after(kills):
                assert rollups.roll_up("UTC") is Progress.DONE
            break
        except KilledError:
            kills += 1
    assert kills >= 5
    wanted = EventFilter(project_ids=(project,))
    assert without_zeros(whole(Question(wanted, UTC_ZONE))) == without_zeros(totals(wanted))
    assert not Outbox.objects.exists()


def test_workers_and_a_rebuild_while_calls_come_in(busy: tuple[Workspace, uuid.UUID]) -> None:
    """Threads that store, adjust, sum up and make all sums again, at once."""
    acme, project = busy
    failures: list[BaseException] = []
    stored = threading.Event()

    def thread(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                with tenant_scope(acme.organization):
                    work()
            except BaseException as error:
                failures.append(error)
                raise
            finally:
                connection.close()

        return threading.Thread(target=run)

    def store(seed: int) -> None:
        for number in range(15):
            with transaction.atomic():
                note(facts.a_mix(project, count=3, seed=100 * seed + number))

    def sum_up() -> None:
        while not stored.is_set():
            rollups.roll_up("UTC")

    def rebuild() -> None:
        while not stored.is_set():
            rollups.recount("UTC")

    storing = [thread(partial(store, seed)) for seed in (1, 2)]
    summing = [thread(sum_up), thread(sum_up), thread(rebuild)]
    for each in storing + summing:
        each.start()
    for each in storing:
        each.join(timeout=120)
    stored.set()
    for each in summing:
        each.join(timeout=120)
    assert failures == []
    with tenant_scope(acme.organization):
        roll_up()
        wanted = EventFilter(project_ids=(project,))
        found = whole(Question(wanted, UTC_ZONE))
        assert found.events == 90
        assert without_zeros(found) == without_zeros(totals(wanted))
        grown = state()
        rollups.recount("UTC")
        assert state() == grown


def test_what_retention_deletes_leaves_the_sums(acme: Workspace, by_owner: None) -> None:
    with tenant_scope(acme.organization):
        project, now = uuid.uuid4(), timezone.now()
        note(facts.a_mix(project, count=20, since=now - timedelta(days=60)))
        note(facts.a_mix(project, count=20, since=now - timedelta(days=10), seed=2))
        roll_up()
        late = facts.event(project, occurred_at=now - timedelta(days=59))
        note([late])
        retention.apply_retention(30, batches=10)
        roll_up()
        wanted = EventFilter(project_ids=(project,))
        found = whole(Question(wanted, UTC_ZONE))
        assert found.events == 20
        assert without_zeros(found) == without_zeros(totals(wanted))
        days = DailyUsage.objects.filter(organization=acme.organization)
        assert sum(each.calls for each in days) == whole(Question(EventFilter(), UTC_ZONE)).calls


def test_every_way_into_the_ledger_is_noted(acme: Workspace) -> None:
    """An SDK's event, a batch, a span, and an adjustment that one of them brings."""
    sdk = acme.sdk()
    body = {"id": str(uuid.uuid4()), "provider": "openai", "model": "gpt-4o-mini", "data": COUNTS}
    with tenant_scope(acme.organization):
        roll_up()
        key = str(acme.add_provider_key("mistral", "secret").id)
    one = {**body, "provider_key_id": key}
    assert sdk.client.post("/api/v1/usage-events/", one, "application/json", headers=sdk.bearer).status_code == 201
    two = [{**one, "id": str(uuid.uuid4())}, {**one, "id": str(uuid.uuid4()), "response_id": "r-7"}]
    assert sdk.client.post("/api/v1/usage-events/batch", two, "application/json", headers=sdk.bearer).status_code == 200
    more = [{**one, "id": str(uuid.uuid4()), "response_id": "r-7"}]
    assert (
        sdk.client.post("/api/v1/usage-events/batch", more, "application/json", headers=sdk.bearer).status_code == 200
    )
    with tenant_scope(acme.organization):
        assert Outbox.objects.count() >= 4
        roll_up()
        wanted = EventFilter(project_ids=(acme.project.id,))
        found = whole(Question(wanted, UTC_ZONE))
        assert (found.events, found.duplicates) == (4, 1)
        assert without_zeros(found) == without_zeros(totals(wanted))


def test_questions_that_the_sums_cannot_answer(project: uuid.UUID) -> None:
    with pytest.raises(UnansweredError, match="session"):
        whole(Question(EventFilter(session="s"), UTC_ZONE))
    with pytest.raises(UnansweredError, match="quarters"):
        whole(Question(EventFilter(start=MAY + timedelta(minutes=5)), UTC_ZONE))
