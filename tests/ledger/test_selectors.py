"""Reading the ledger: which events a filter means, pages that miss and repeat nothing, sums equal to the rows'."""

import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.ledger.calls import Ending
from apps.ledger.columns import COLUMNS
from apps.ledger.models import Adjustment, PriceStatus, UsageEvent
from apps.ledger.selectors import BadCursorError, EventFilter, Totals, explain, page_of_events, stream, totals
from apps.ledger.selectors.explanations import FLAGS
from apps.ledger.standing import Standing
from apps.pricing.meters import Meter
from tenancy import tenant_scope
from tests.cast import Workspace
from tests.ledger import facts
from tests.ledger.facts import MAY

HOUR = timedelta(hours=1)


@pytest.fixture
def project(acme: Workspace) -> Iterator[uuid.UUID]:
    """A project of Acme's, in Acme's scope. The ledger asks no more of a project than its id."""
    with tenant_scope(acme.organization):
        yield uuid.uuid4()


def of(*projects: uuid.UUID, **choices: Any) -> EventFilter:
    return EventFilter(project_ids=projects, **choices)


def counted(rows: list[Standing]) -> Totals:
    """The totals, from the rows one by one."""
    statuses = Counter(row.price.status for row in rows)
    meters: dict[Meter, int] = {}
    costs: dict[str, Decimal] = {}
    tokens = unpriced = 0
    for row in rows:
        own = row.meters.get(Meter.INPUT, 0) + row.meters.get(Meter.OUTPUT, 0)
        tokens += own
        unpriced += own if row.price.status == PriceStatus.UNPRICED else 0
        for meter, quantity in row.meters.items():
            meters[meter] = meters.get(meter, 0) + quantity
        if row.price.cost is not None:
            costs[row.price.currency] = costs.get(row.price.currency, Decimal(0)) + row.price.cost
    return Totals(
        events=len(rows),
        calls=len(rows) - statuses[PriceStatus.DUPLICATE],
        failed=statuses[PriceStatus.FAILED],
        unpriced=statuses[PriceStatus.UNPRICED],
        duplicates=statuses[PriceStatus.DUPLICATE],
        meters=meters,
        tokens=tokens,
        unpriced_tokens=unpriced,
        costs=costs,
        adjustments=sum(row.revision for row in rows),
        adjusted_costs={},
    )


def without_zeros(sums: Totals) -> Totals:
    meters = {meter: quantity for meter, quantity in sums.meters.items() if quantity}
    costs = {currency: cost for currency, cost in sums.costs.items() if cost}
    return replace(sums, meters=meters, costs=costs, adjusted_costs={})


class TestFilter:
    def test_goes_through_json(self) -> None:
        wanted = EventFilter(
            project_ids=(uuid.uuid4(), uuid.uuid4()),
            start=MAY,
            end=MAY + HOUR,
            provider="openai",
            client_name="",
            status=PriceStatus.UNPRICED,
            ending=Ending.CANCELLED,
            event_id=uuid.uuid4(),
        )
        encoded = msgspec.json.decode(msgspec.json.encode(wanted.to_json()))
        assert {"from", "to", "client_name"} < set(encoded)
        assert EventFilter.from_json(encoded) == wanted
        assert EventFilter.from_json({}) == EventFilter()

    @pytest.mark.parametrize(
        "data", [{"from": "2026-05-01T00:00:00"}, {"status": "free"}, {"since": "2026"}, {"event_id": "1"}, [1]]
    )
    def test_refuses_what_it_does_not_know(self, data: Any) -> None:
        with pytest.raises(msgspec.ValidationError):
            EventFilter.from_json(data)

    def test_needs_a_time_zone(self) -> None:
        with pytest.raises(ValueError, match="to needs a time zone"):
            EventFilter(end=datetime(2026, 5, 1))  # noqa: DTZ001

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("provider", "anthropic"), ("model", "gpt-4o"), ("operation", "embeddings"), ("client_name", "batch-3"),
            ("provider_key_id", uuid.uuid4()), ("session", "s1"), ("user_label", "ada"), ("source", "langfuse"),
            ("event_id", uuid.uuid4()), ("ending", Ending.CANCELLED),
        ],
    )  # fmt: skip
    def test_finds_by_each_dimension(self, project: uuid.UUID, name: str, value: Any) -> None:
        facts.event(project)
        found = facts.event(project, **{name: value})
        wanted = of(project, **{name: value})
        assert [row.event.id for row in page_of_events(wanted).rows] == [found.id]
        assert [row.event.id for row in stream(wanted)] == [found.id]
        assert totals(wanted).events == 1

    def test_names_that_are_not_given_are_a_value_too(self, project: uuid.UUID) -> None:
        nameless = facts.event(project)
        facts.event(project, client_name="batch-3")
        assert [row.event.id for row in page_of_events(of(project, client_name="")).rows] == [nameless.id]

    def test_times_are_half_open(self, project: uuid.UUID) -> None:
        rows = [facts.event(project, occurred_at=MAY + number * HOUR) for number in range(4)]
        wanted = of(project, start=MAY + HOUR, end=MAY + 3 * HOUR)
        assert [row.event.id for row in stream(wanted)] == [rows[1].id, rows[2].id]
        assert totals(wanted).events == 2

    def test_status_is_the_one_of_now(self, project: uuid.UUID) -> None:
        unknown = facts.event(project, model="gpt-of-tomorrow")
        found_out = facts.event(project, model="gpt-of-tomorrow")
        facts.reprice(found_out, "0.5")
        twice = facts.event(project)
        facts.make_duplicate(twice, unknown.event_id)
        assert [row.event.id for row in stream(of(project, status=PriceStatus.UNPRICED))] == [unknown.id]
        assert [row.event.id for row in stream(of(project, status=PriceStatus.PRICED))] == [found_out.id]
        assert [row.event.id for row in stream(of(project, status=PriceStatus.DUPLICATE))] == [twice.id]
        assert totals(of(project, status=PriceStatus.PRICED)).costs == {"USD": Decimal("0.5")}

    def test_projects_none_means_all_and_empty_none(self, project: uuid.UUID) -> None:
        other = uuid.uuid4()
        facts.event(project)
        facts.event(other)
        assert {row.event.project_id for row in stream(EventFilter())} >= {project, other}
        assert {row.event.project_id for row in stream(of(project))} == {project}
        assert list(stream(of())) == page_of_events(of()).rows == []
        assert totals(of()).events == 0

    def test_another_organization_has_events_of_its_own(self, project: uuid.UUID, globex: Workspace) -> None:
        facts.event(project)
        with tenant_scope(globex.organization):
            assert list(stream(of(project))) == []
            assert totals(of(project)).events == 0


class TestPages:
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
    def test_forth_and_back_every_row_once_newest_first(self, project: uuid.UUID, limit: int) -> None:
        other = uuid.uuid4()
        # Three at each moment, so that pages end in the middle of one.
        made = [facts.event((project, other)[n % 2], occurred_at=MAY + (n // 3) * HOUR) for n in range(14)]
        expected = [row.id for row in sorted(made, key=lambda row: (row.occurred_at, row.id), reverse=True)]
        wanted, pages, cursor = of(project, other), [], ""
        while True:
            page = page_of_events(wanted, limit=limit, cursor=cursor)
            pages.append([row.event.id for row in page.rows])
            if page.next_cursor is None:
                break
            cursor = page.next_cursor
        assert [row_id for page_ids in pages for row_id in page_ids] == expected
        assert (page.previous_cursor is None) == (len(pages) == 1)
        back = [pages[-1]]
        while page.previous_cursor is not None:
            page = page_of_events(wanted, limit=limit, cursor=page.previous_cursor)
            assert page.next_cursor is not None
            back.insert(0, [row.event.id for row in page.rows])
        assert back == pages

    def test_new_rows_do_not_shift_the_pages(self, project: uuid.UUID) -> None:
        rows = [facts.event(project, occurred_at=MAY - n * HOUR) for n in range(4)]
        first = page_of_events(of(project), limit=2)
        facts.event(project, occurred_at=MAY + HOUR)
        assert first.next_cursor is not None
        second = page_of_events(of(project), limit=2, cursor=first.next_cursor)
        assert [row.event.id for row in second.rows] == [row.id for row in rows[2:]]

    def test_every_row_comes_as_it_stands_in_as_many_queries_whatever_their_number(self, project: uuid.UUID) -> None:
        facts.a_mix(project, count=40)
        with CaptureQueriesContext(
            connection,
        ) as few:
            page_of_events(of(project), limit=2)
        with CaptureQueriesContext(connection) as many:
            rows = page_of_events(of(project, uuid.uuid4(), uuid.uuid4()), limit=40).rows
        assert len(few) == len(many) == 2
        assert rows == [facts.standing(row.event) for row in rows]
        assert {row.price.status for row in rows} == set(PriceStatus)

    def test_a_mangled_or_foreign_cursor_is_refused(self, project: uuid.UUID, globex: Workspace) -> None:
        for _ in range(2):
            facts.event(project)
        cursor = page_of_events(of(project), limit=1).next_cursor
        assert cursor is not None
        for bad in (cursor[:-1], cursor + "A", "x" + cursor[1:], "!", "é", cursor.swapcase(), "A" * 10_000):
            with pytest.raises(BadCursorError):
                page_of_events(of(project), cursor=bad)
        with tenant_scope(globex.organization), pytest.raises(BadCursorError):
            page_of_events(of(project), cursor=cursor)

    @pytest.mark.parametrize("limit", [0, 501, -1])
    def test_a_page_has_a_size(self, project: uuid.UUID, limit: int) -> None:
        with pytest.raises(ValueError, match="1 to 500"):
            page_of_events(of(project), limit=limit)


def test_a_stream_goes_on_where_a_chunk_ends(project: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.ledger.selectors.pages.CHUNK", 5)
    made = facts.a_mix(project, count=20)
    assert [row.event.id for row in stream(of(project))] == [row.id for row in made]


class TestTotals:
    @pytest.mark.parametrize("seed", range(3))
    def test_are_the_rows_added_up_to_the_last_digit(self, project: uuid.UUID, seed: int) -> None:
        facts.a_mix(project, count=150, seed=seed)
        facts.a_mix(other := uuid.uuid4(), count=20, seed=seed)
        for wanted in [
            of(project),
            of(project, other),
            of(project, start=MAY + 20 * HOUR, end=MAY + 90 * HOUR),
            of(project, model="gpt-of-tomorrow"),
            *(of(project, other, status=status) for status in PriceStatus),
        ]:
            found = totals(wanted)
            # What came and went again leaves a 0.
            assert without_zeros(found) == without_zeros(counted(list(stream(wanted))))
            events = UsageEvent.objects.filter(id__in=[row.event.id for row in stream(wanted)])
            reported = sum((row.cost for row in events if row.cost is not None), Decimal(0))
            now = found.costs.get("USD", Decimal(0))
            assert now - reported == found.adjusted_costs.get("USD", Decimal(0))

    def test_say_what_they_leave_out(self, project: uuid.UUID) -> None:
        facts.event(project, meters={Meter.INPUT: 300, Meter.OUTPUT: 100})
        facts.event(project, model="gpt-of-tomorrow", meters={Meter.INPUT: 90, Meter.OUTPUT: 10})
        facts.event(project, meters={}, price_status="failed", ending="error")
        found = totals(of(project))
        assert found.unpriced_share == Decimal("0.5")
        assert found.unpriced_token_share == Decimal("0.2")

    def test_of_nothing_are_nothing(self, project: uuid.UUID) -> None:
        found = totals(of(project))
        assert (found.events, found.meters, found.costs) == (0, {}, {})
        assert found.unpriced_share == found.unpriced_token_share == 0

    def test_currencies_are_never_added_together(self, project: uuid.UUID) -> None:
        facts.event(project)
        facts.event(project, price_status="priced", cost=Decimal("0.25"), currency="EUR")
        assert totals(of(project)).costs == {"EUR": Decimal("0.25"), "USD": Decimal("0.00004545")}


class TestExplain:
    def test_a_listed_price(self, project: uuid.UUID) -> None:
        tokens = {Meter.INPUT: 1_200, Meter.CACHE_READ: 1_000, Meter.OUTPUT: 300}
        row = facts.event(project, meters=tokens, reported_cost=Decimal("0.0002"))
        found = explain(row.id)
        assert found.status == "Priced."
        assert sum(line.amount for line in found.lines) == row.cost
        lines = {line.meter: line for line in found.lines}
        assert (lines[Meter.INPUT].quantity, lines[Meter.CACHE_READ].quantity) == (200, 1_000)
        assert lines[Meter.INPUT].unit_price == Decimal("0.15")
        assert (lines[Meter.INPUT].source, lines[Meter.INPUT].is_own) == ("genai-prices", False)
        assert lines[Meter.INPUT].version
        assert lines[Meter.INPUT].known_since is not None
        assert lines[Meter.INPUT].model == "gpt-4o-mini"
        assert row.cost is not None
        assert found.reported_cost_difference == row.cost - Decimal("0.0002")
        assert found.changes == []

    def test_every_change_with_the_state_after_it(self, project: uuid.UUID) -> None:
        row, author = facts.event(project, model="gpt-of-tomorrow"), uuid.uuid4()
        facts.reprice(row, "0.5", author_id=author, reason="Priced by hand.")
        facts.reprice(row, "0.3")
        found = explain(row.id)
        assert found.reported.price.status == PriceStatus.UNPRICED
        first, second = found.changes
        assert (first.adjustment.reason, first.adjustment.author_id) == ("Priced by hand.", author)
        assert (first.adjustment.cost, first.adjustment.unpriced) == (Decimal("0.5"), -1)
        assert (second.adjustment.cost, second.adjustment.unpriced) == (Decimal("-0.2"), 0)
        assert [change.after.price.cost for change in found.changes] == [Decimal("0.5"), Decimal("0.3")]
        assert first.lines[0].amount == Decimal("0.5")
        assert found.standing.price.cost == Decimal("0.3")

    def test_rows_of_the_same_call_know_each_other(self, project: uuid.UUID) -> None:
        outer = facts.event(project)
        late = facts.event(project)
        facts.make_duplicate(late, outer.event_id)
        at_once = facts.event(project, price_status="duplicate", same_call_as=outer.event_id)
        not_any_more = facts.event(project, price_status="duplicate", same_call_as=outer.event_id)
        facts.detail(not_any_more, input=10, output=1)
        found = explain(outer.id)
        assert {row.event.id for row in found.same_call} == {late.id, at_once.id}
        assert found.counted_by is None
        counted_by = explain(late.id).counted_by
        assert counted_by is not None
        assert counted_by.event.id == outer.id
        assert explain(late.id).reason == "A call further out in the same trace is the same call."
        assert explain(not_any_more.id).counted_by is None

    def test_flags_and_reasons_are_words(self, project: uuid.UUID) -> None:
        row = facts.event(project, model="gpt-of-tomorrow", flags=["clock_skew", "of_the_future"])
        found = explain(row.id)
        assert found.reason == "No price is known for this model."
        assert found.flags == [
            "It begins or ends in the future by the reporter's clock, or ends before it begins.",
            "of_the_future",
        ]
        assert found.lines == []

    def test_flags_are_those_of_the_price_that_it_has_now(self, project: uuid.UUID) -> None:
        row = facts.event(project, flags=["by_request_model", "clock_skew"])
        facts.reprice(row, "0.5", flags=("variant_unknown",))
        assert facts.standing(row).flags == ["variant_unknown", "clock_skew"]
        assert explain(row.id).flags == [FLAGS["variant_unknown"], FLAGS["clock_skew"]]
        facts.reprice(row, "0.3")
        facts.make_duplicate(row, uuid.uuid4())
        assert facts.standing(row).flags == ["clock_skew"]

    def test_an_older_release_kept_no_flags_of_changes(self, project: uuid.UUID, by_owner: None) -> None:
        row = facts.event(project, flags=["by_request_model", "clock_skew"])
        facts.reprice(row, "0.5", flags=("variant_unknown",))
        Adjustment.objects.filter(event=row).update(flags=None)
        assert facts.standing(row).flags == ["by_request_model", "clock_skew"]

    def test_a_discount_is_named(self, acme: Workspace, project: uuid.UUID) -> None:
        made, price = facts.discounted(acme, "gpt-4o-mini", {Meter.INPUT: 9, Meter.OUTPUT: 9})
        row = facts.event(project)
        facts.set_price(row, price)
        row.id, row.event_id = uuid.uuid4(), uuid.uuid4()
        row.save(force_insert=True)
        found = explain(row.id)
        assert [line.discount for line in found.lines] == [made, made]
        assert COLUMNS["discount_id"](found.standing) == made.pk
        # Rows of before say how much, and not which.
        for line in row.price_lines:
            del line["discount_id"]
        row.id, row.event_id = uuid.uuid4(), uuid.uuid4()
        row.save(force_insert=True)
        found = explain(row.id)
        assert [(line.discount, line.multiplier) for line in found.lines] == [(None, Decimal("0.85"))] * 2
        assert COLUMNS["discount_id"](found.standing) is None

    def test_only_of_projects_that_may_be_seen(self, project: uuid.UUID, globex: Workspace) -> None:
        row = facts.event(project)
        assert explain(row.id, project_ids=[project]).standing.event.id == row.id
        with pytest.raises(UsageEvent.DoesNotExist):
            explain(row.id, project_ids=[uuid.uuid4()])
        with tenant_scope(globex.organization), pytest.raises(UsageEvent.DoesNotExist):
            explain(row.id)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (EventFilter(session="order 7"), "usage_event_session"),
        (EventFilter(model="gpt-4o"), "usage_event_latest"),
        (EventFilter(ending=Ending.CANCELLED), "usage_event_not_ok"),
    ],
)
@pytest.mark.usefixtures("by_owner")
def test_what_is_rare_is_found_among_many(project: uuid.UUID, wanted: EventFilter, index: str) -> None:
    row = facts.event(project)
    facts.event(project, session="order 7", model="gpt-4o", ending=Ending.CANCELLED)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO ledger_usageevent
            SELECT (jsonb_populate_record(e, jsonb_build_object(
                       'id', uuidv7(), 'event_id', gen_random_uuid(),
                       'occurred_at', e.occurred_at + n * interval '1 second'))).*
              FROM ledger_usageevent e, generate_series(1, 5000) n WHERE e.id = %s
            """,
            [row.id],
        )
        assert cursor.rowcount == 5_000
        cursor.execute("ANALYZE ledger_usageevent")
    facts.plan_as_for_a_large_table()
    wanted = msgspec.structs.replace(wanted, project_ids=(project,))
    with CaptureQueriesContext(connection) as queries:
        rows = page_of_events(wanted, limit=50).rows
    assert len(rows) == totals(wanted).calls == 1
    [asked] = [query["sql"] for query in queries if "LATERAL" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {asked.replace('%', '%%')}", {})
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert f"Index Scan using {index}" in plan
    # A model is compared within the index, without a look at each row.
    assert "Filter: ((model" not in plan
