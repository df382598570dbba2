"""Whatever is reported in whatever order, split into batches, sent twice or cut short; whatever is re-priced, taken back
or priced by itself meanwhile: after each step the totals are the sum of the rows to the last digit, and in the end they
do not depend on the way."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import count
from typing import Any, NamedTuple
from unittest import mock

from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.directory.callers import Reporter
from apps.ledger import repricing as repricings
from apps.ledger.calls import Call, Ending, SpanParent
from apps.ledger.ingestion import Batch, store_related
from apps.ledger.models import METER_COLUMNS, Adjustment, PriceStatus, Repricing, UsageEvent
from apps.ledger.repricing import (
    RepricingError,
    kept,
    price_unpriced,
    request_preview,
    reverse,
    run,
    start,
    unfinished,
    work_out,
)
from apps.ledger.selectors import EventFilter, totals
from apps.ledger.services import store_usage_event, store_usage_events
from apps.ledger.standing import Standing, standing_of, standings
from apps.ledger.verifying import Report, verify
from apps.pricing import agreements
from apps.pricing.dated import NoAgreementError
from apps.pricing.feeds.base import Rate
from apps.pricing.meters import Meter
from apps.pricing.selectors import forget_terms
from apps.projects.services import create_project
from tenancy import TenantRef, tenant_scope
from tenancy.ids import uuid7
from tests.cast import Workspace
from tests.ledger.killing import KilledError, killed_after

START = datetime(2026, 9, 21, 12, tzinfo=UTC)
MODELS = (
    ("openai", "gpt-4o-mini"),
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "gpt-of-tomorrow"),
    ("openai", "gpt-of-tomorrow"),
    ("", ""),
)
# Has a price only in the end.
LATE_MODEL = "gpt-of-next-week"
ENOUGH = {Meter.INPUT: 1_200, Meter.OUTPUT: 100}
SCOPES = ("any-llm", "opentelemetry.instrumentation.genai.openai", "com.anthropic.sdk.python", "langchain")
ALL = 1_000

Told = Call | SpanParent


# --- What is reported ---


def event_id(trace: int, span: int) -> uuid.UUID:
    return uuid.UUID(int=(trace + 1) << 64 | (span + 1))


@st.composite
def quantities(draw: st.DrawFn) -> dict[Meter, int]:
    wholes = draw(st.sampled_from([(1_200, 100), (1_450, 70), (1_200, None), (None, None)]))
    meters = {
        meter: count for meter, count in zip((Meter.INPUT, Meter.OUTPUT), wholes, strict=True) if count is not None
    }
    for part, counts in ((Meter.CACHE_READ, (1_000, 7)), (Meter.CACHE_WRITE, (150,)), (Meter.REASONING, (33,))):
        if draw(st.booleans()) and meters:
            meters[part] = draw(st.sampled_from(counts))
    return meters


@st.composite
def reports(draw: st.DrawFn) -> list[Told]:
    """Spans of a few traces, each below an earlier one, or a later one, or none; some of them no calls. And events."""
    found: list[Told] = []
    for trace in range(draw(st.integers(1, 3))):
        for span in range(draw(st.integers(2, 5))):
            parent = draw(st.none() | st.integers(0, 5))
            above = None if parent is None or parent == span else event_id(trace, parent)
            if above is not None and draw(st.integers(0, 3)) == 0:
                found.append(SpanParent(event_id(trace, span), above))
                continue
            scope = draw(st.sampled_from(SCOPES))
            found.append(
                Call(
                    **draw(described(event_id(trace, span))),
                    source="any-llm" if scope == "any-llm" else "semconv",
                    total_duration_ms=draw(st.sampled_from([100.0, 110.0, 500.0])),
                    parent_event_id=above,
                    scope=scope,
                    instance=draw(st.sampled_from(["", "pod"])),
                )
            )
    found += [Call(**draw(described(event_id(9, number))), source="json") for number in range(draw(st.integers(0, 3)))]
    for number, model in enumerate((LATE_MODEL, "gpt-of-tomorrow")):
        said: dict[str, Any] = {"provider": "openai", "model": model, "started_at": START}
        found.append(Call(event_id=event_id(8, number), source="json", meters=ENOUGH, **said))
    return found


@st.composite
def described(draw: st.DrawFn, of: uuid.UUID) -> dict[str, Any]:
    """What spans and events say alike."""
    provider, model = draw(st.sampled_from(MODELS))
    return {
        "event_id": of,
        "provider": provider,
        "model": model,
        "meters": draw(quantities()),
        "ending": draw(st.sampled_from([Ending.OK, Ending.OK, Ending.ERROR])),
        "service_tier": draw(st.sampled_from(["", "", "flex"])),
        "started_at": START + timedelta(milliseconds=draw(st.sampled_from([0, 0, 5, 50]))),
        "response_id": draw(st.sampled_from(["", "", "r1", "r2"])),
    }


# --- What is done ---


# Every how many statements the process dies that does it: at each place, should it be 1. None: it lives.
Kills = int | None


class Deliver(NamedTuple):
    """A request for the spans among these reports, and one, or one each, for the events."""

    places: Sequence[int]
    one_by_one: bool
    kills: Kills


class Reprice(NamedTuple):
    """A preview and its start, if none is running; a worker is at it next, or later."""

    status: PriceStatus | None
    kills: Kills
    later: bool


class Reverse(NamedTuple):
    """Takes back a re-pricing of those that can be, the platform's own among them, or has it taken back later."""

    which: int
    kills: Kills
    later: bool


class Work(NamedTuple):
    """A worker goes on with whatever is unfinished."""

    kills: Kills


class Automatic(NamedTuple):
    """The platform prices what has no price."""

    kills: Kills


class SetPrice(NamedTuple):
    model: str
    unit_price: str


class Withdraw(NamedTuple):
    model: str


class SetDiscount(NamedTuple):
    multiplier: str


Move = Deliver | Reprice | Work | Reverse | Automatic
Agreement = SetPrice | Withdraw | SetDiscount

PRICED = st.sampled_from(["gpt-of-tomorrow", "gpt-of-tomorrow", "gpt-of-tomorrow", "gpt-4o-mini"])
AGREEMENTS = (
    st.builds(SetPrice, PRICED, st.sampled_from(["2", "0.333333", "7", "0"]))
    | st.builds(SetPrice, PRICED, st.sampled_from(["3", "1.5", "0.000001"]))
    | st.builds(Withdraw, PRICED)
    | st.builds(SetDiscount, st.sampled_from(["0.85", "0.1234567"]))
)
KILLS = st.sampled_from([None, None, None, 2, 3])
LATER = st.sampled_from([False, False, True])
REPRICE = st.builds(Reprice, st.sampled_from([None, None, PriceStatus.UNPRICED]), KILLS, LATER)
REVERSE = st.builds(Reverse, st.integers(0, 3), KILLS, LATER)
MOVES = REPRICE | REPRICE | REVERSE | st.builds(Automatic, KILLS) | st.builds(Work, KILLS)


@dataclass
class Story:
    """`told` and `agreed` are the same on each of the `ways`; the agreements also come in the same order. `last_kills` are
    those of what comes at the end of each."""

    told: list[Told]
    agreed: list[Agreement]
    ways: list[list[Move | None]]
    last_kills: Kills

    def moves(self, way: int) -> Iterator[Move | Agreement]:
        agreed = iter(self.agreed)
        for move in self.ways[way]:
            yield next(agreed) if move is None else move


@st.composite
def stories(draw: st.DrawFn, *, is_priced: bool) -> Story:
    """Of nothing but reports, or of prices and re-pricing, too."""
    told = draw(reports())
    agreed = draw(st.lists(AGREEMENTS, min_size=2, max_size=4)) if is_priced else []
    others = st.lists(MOVES, min_size=3, max_size=7) if is_priced else st.just([])
    return Story(told, agreed, [draw(ways(len(told), len(agreed), others)) for _ in range(2)], draw(KILLS))


@st.composite
def ways(draw: st.DrawFn, reports: int, agreements: int, others: st.SearchStrategy[list[Any]]) -> list[Move | None]:
    """All reports, some again, among other moves; None is the next agreement."""
    order = draw(st.permutations(range(reports)))
    order += draw(st.lists(st.integers(0, reports - 1), max_size=3))
    moves: list[Move | None] = [None] * agreements
    while order:
        size = draw(st.integers(1, len(order)))
        moves.append(Deliver(list(dict.fromkeys(order[:size])), draw(st.booleans()), draw(KILLS)))
        order = order[size:]
    return draw(st.permutations([*moves, *draw(others)]))


# --- The ledger to which it is done ---

SUMMED = ("calls", "unpriced", "cost", *METER_COLUMNS.values())
SUMS = f"""
    SELECT {", ".join(f"sum({name})" for name in SUMMED)}
      FROM (SELECT (price_status <> 'duplicate')::int AS calls, (price_status = 'unpriced')::int AS unpriced, cost,
                   {", ".join(f"CASE WHEN price_status <> 'duplicate' THEN {name} END AS {name}" for name in SUMMED[3:])}
              FROM ledger_usageevent WHERE project_id = %s
             UNION ALL
            SELECT {", ".join(SUMMED)} FROM ledger_adjustment WHERE project_id = %s) AS rows
"""


class Ledger:
    """A new project of Acme, in whose scope this is used."""

    def __init__(self, acme: Workspace, told: Sequence[Told]) -> None:
        self.acme, self.told = acme, told
        self.project_id = create_project(name=f"totals-{uuid.uuid4().hex[:8]}").id
        tenant = TenantRef(acme.organization.id, acme.organization.schema_name)
        self.reporter = Reporter(self.project_id, tenant, ingest_token_id=uuid.uuid4())
        self.filter = EventFilter(project_ids=(self.project_id,))

    def do(self, move: Move | Agreement) -> None:
        match move:
            case Deliver(places, one_by_one, kills):
                sent = [self.told[place] for place in places]
                through(partial(self.deliver, sent, one_by_one=one_by_one), kills)
            case Reprice(status, kills, later):
                self.reprice(status, kills, later=later)
            case Reverse(which, kills, later):
                can_be = Repricing.objects.filter(status__in=[Repricing.Status.DONE, Repricing.Status.STOPPED])
                if found := list(can_be.order_by("id")):
                    self.reverse(found[which % len(found)], kills, later=later)
            case Work(kills):
                self.work(kills)
            case Automatic(kills):
                self.price_unpriced(kills)
            case _:
                self.agree(move)

    def deliver(self, sent: Sequence[Told], *, one_by_one: bool) -> None:
        calls = [each for each in sent if isinstance(each, Call)]
        spans = [call for call in calls if call.source != "json"]
        events = [call for call in calls if call.source == "json"]
        store_related(Batch(self.reporter, spans, [each for each in sent if isinstance(each, SpanParent)]))
        if one_by_one:
            for event in events:
                store_usage_event(self.reporter, event)
        elif events:
            store_usage_events(self.reporter, events)

    def reprice(self, status: PriceStatus | None = None, kills: Kills = None, *, later: bool = False) -> Repricing:
        wanted = EventFilter(project_ids=(self.project_id,), status=status)
        made = request_preview(wanted, reason="A better price.", author_id=self.acme.owner.user.id)
        through(partial(work_out, made), kills)
        with suppress(RepricingError):
            start(made)
        if not later:
            self.work(kills)
        made.refresh_from_db()
        return made

    def reverse(self, made: Repricing, kills: Kills = None, *, later: bool = False) -> None:
        reverse(made, reason="It was wrong.", author_id=self.acme.owner.user.id)
        if not later:
            self.work(kills)

    def work(self, kills: Kills = None) -> None:
        for each in unfinished():
            through(partial(run, each.pk, batches=ALL), kills)

    def price_unpriced(self, kills: Kills = None) -> Repricing | None:
        """What it did, where it did something."""
        run_id = uuid7()

        def price() -> None:
            repricings.fresh_prices()
            _, cursor = price_unpriced(run_id)
            while cursor:
                _, cursor = price_unpriced(run_id, cursor)

        through(price, kills)
        return Repricing.objects.filter(pk=run_id).first()

    def agree(self, agreement: Agreement) -> None:
        who: dict[str, Any] = {"organization_id": self.acme.organization.id, "provider": "openai"}
        said: dict[str, Any] = {
            "author_id": self.acme.owner.user.id,
            "note": "The contract.",
            "start": START - timedelta(days=365),
        }
        match agreement:
            case SetPrice(model, unit_price):
                rate = Rate(Decimal(unit_price), 1_000_000, 0, "USD")
                agreements.set_override(**who, **said, model=model, prices={Meter.INPUT: rate, Meter.OUTPUT: rate})
            case Withdraw(model):
                with suppress(NoAgreementError):
                    agreements.withdraw_override(**who, model=model, start=said["start"])
            case SetDiscount(multiplier):
                agreements.set_discount(**who, **said, multiplier=Decimal(multiplier))
        # As after the commit, which is not to come.
        forget_terms(self.acme.organization.id)

    # What it comes to, three ways, and what has to be so at any time.

    def check(self) -> None:
        sums, chains = self.sums(), self.chains()
        assert sums == self.rows(chains)
        assert sums == self.totals()
        assert [*verify(Report())] == []
        for event, chain in chains.items():
            check_history(event, chain)
        for each in Repricing.objects.all():
            assert each.events_changed == sum(
                one.repricing_id == each.pk and one.kind == Adjustment.Kind.REPRICE
                for chain in chains.values()
                for one in chain
            )

    def sums(self) -> dict[str, Any]:
        """As reports add up: events that count, and all adjustments."""
        with connection.cursor() as cursor:
            cursor.execute(SUMS, [self.project_id, self.project_id])
            return {name: value or 0 for name, value in zip(SUMMED, cursor.fetchone(), strict=True)}

    def chains(self) -> dict[UsageEvent, list[Adjustment]]:
        events = {event.id: event for event in UsageEvent.objects.filter(project_id=self.project_id)}
        chains: dict[UsageEvent, list[Adjustment]] = {event: [] for event in events.values()}
        for each in Adjustment.objects.filter(event_id__in=events).order_by("event_id", "revision"):
            chains[events[each.event_id]].append(each)
        return chains

    def rows(self, chains: Mapping[UsageEvent, Sequence[Adjustment]]) -> dict[str, Any]:
        """The same from what each row stands at."""
        found = [standing_of(event, chain) for event, chain in chains.items()]
        total: dict[str, Any] = {
            "calls": sum(one.price.status != PriceStatus.DUPLICATE for one in found),
            "unpriced": sum(one.price.status == PriceStatus.UNPRICED for one in found),
            "cost": sum((one.price.cost for one in found if one.price.cost is not None), Decimal()),
        }
        return total | {name: sum(one.meters.get(meter, 0) for one in found) for meter, name in METER_COLUMNS.items()}

    def totals(self) -> dict[str, Any]:
        """The same as pages show it."""
        found = totals(self.filter)
        assert found.costs.keys() <= {"USD"}
        total = {"calls": found.calls, "unpriced": found.unpriced, "cost": found.costs.get("USD", Decimal())}
        return total | {name: found.meters.get(meter, 0) for meter, name in METER_COLUMNS.items()}

    def duplicates(self) -> dict[uuid.UUID, tuple[uuid.UUID | None, str]]:
        """Which rows don't count, which count for them, and by which rule."""
        found = {row.event.event_id: row for row in standings(UsageEvent.objects.filter(project_id=self.project_id))}
        left_out = {one: row for one, row in found.items() if row.price.status == PriceStatus.DUPLICATE}
        assert not left_out.keys() & {row.same_call_as for row in left_out.values()}
        return {one: (row.same_call_as, row.price.reason) for one, row in left_out.items()}


def check_history(event: UsageEvent, chain: Sequence[Adjustment]) -> None:
    """A reversal restores what was before exactly its re-pricing, and stays until somebody asks again."""
    for place, change in enumerate(chain):
        before = chain[place - 1] if place else None
        if change.kind == Adjustment.Kind.REPRICE:
            # So it can be taken back, whoever did it.
            assert change.repricing_id is not None
            assert change.author_id is not None or before is None or before.kind != Adjustment.Kind.REVERSAL
        elif change.kind == Adjustment.Kind.REVERSAL:
            assert before is not None
            assert (before.kind, before.repricing_id) == (Adjustment.Kind.REPRICE, change.repricing_id)
            assert counted(standing_of(event, chain[: place + 1])) == counted(standing_of(event, chain[: place - 1]))


def counted(row: Standing) -> tuple[Any, ...]:
    return row.price.status, row.price.reason, row.price.cost, row.meters


def through(act: Callable[[], object], kills: Kills) -> None:
    """Does it, begun again for each time its process dies: so many statements later each time, until it is through."""
    for statements in count(0, kills) if kills else ():
        with suppress(KilledError), killed_after(statements):
            act()
            return
    act()


@contextmanager
def undone() -> Iterator[None]:
    """A part of the test's own transaction that is rolled back, so that examples know nothing of each other."""
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]  # missing in the stubs
    with block:
        yield
        transaction.set_rollback(True)
    forget_terms()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories(is_priced=False))
def test_order_batches_repeats_and_crashes_change_neither_a_total_nor_what_counts(
    acme: Workspace, story: Story
) -> None:
    found = []
    for way in range(len(story.ways)):
        with undone(), tenant_scope(acme.organization):
            ledger = Ledger(acme, story.told)
            for move in story.moves(way):
                ledger.do(move)
                assert ledger.sums() == ledger.rows(ledger.chains())
            ledger.check()
            found.append((ledger.sums(), ledger.duplicates()))
    assert found[0] == found[1]


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=stories(is_priced=True))
def test_nor_does_any_repricing_on_the_way(acme: Workspace, story: Story) -> None:
    found = []
    for way in range(len(story.ways)):
        with undone(), tenant_scope(acme.organization), mock.patch.object(repricings, "BATCH", 4):
            ledger = Ledger(acme, story.told)
            for move in story.moves(way):
                ledger.do(move)
                ledger.check()
            ledger.work()
            before = ledger.sums()
            ledger.agree(SetPrice(LATE_MODEL, "0.7"))
            # The platform prices by itself what waited for that, and somebody has it taken back.
            automatic = ledger.price_unpriced(story.last_kills)
            assert automatic is not None
            ledger.check()
            ledger.reverse(automatic, story.last_kills)
            # Then somebody prices it, takes that back, too, and the platform leaves it alone.
            ledger.reverse(ledger.reprice(kills=story.last_kills))
            assert ledger.price_unpriced() is None
            ledger.check()
            assert ledger.sums() == before
            # One that another came after can't be taken back as far as that goes.
            first = ledger.reprice()
            ledger.agree(SetPrice(LATE_MODEL, "0.9"))
            ledger.reprice()
            ledger.reverse(first)
            assert kept(first) >= 1
            ledger.reprice()
            ledger.check()
            found.append((ledger.sums(), ledger.duplicates()))
    assert found[0] == found[1]
