"""Files of the ledger's rows: every event once, sums that tie with the totals, nothing that a spreadsheet would
calculate."""

import csv
import json
import tracemalloc
import uuid
from collections.abc import Generator, Iterator
from datetime import datetime
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from apps.analytics.exports.making import streamed
from apps.analytics.exports.wanted import Content, Format, Wanted
from apps.ledger.models import METER_COLUMNS, Adjustment, UsageEvent
from apps.ledger.selectors import EventFilter, totals
from tenancy import tenant_scope
from tenancy.roles import as_owner
from tenancy.scope import current_scope
from tests.cast import Workspace
from tests.ledger import facts


@pytest.fixture
def project(acme: Workspace) -> Iterator[uuid.UUID]:
    with tenant_scope(acme.organization):
        yield uuid.uuid4()


def file(*projects: uuid.UUID, written: Format = Format.CSV, **choices: Any) -> Generator[str, None, None]:
    calls = EventFilter(project_ids=projects, **choices)
    return streamed(Wanted(content=Content.ROWS, format=written, filter=calls, zone="UTC"))


def rows_of(*projects: uuid.UUID, **choices: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO("".join(file(*projects, **choices)), newline="")))


def test_sums_tie_with_the_totals_to_the_last_digit(project: uuid.UUID) -> None:
    other = uuid.uuid4()
    facts.a_mix(project, count=120)
    facts.a_mix(other, count=30, seed=2)
    for choices in ({}, {"model": "gpt-4o"}, {"start": facts.MAY, "end": facts.MAY.replace(day=3)}):
        rows, sums = rows_of(project, other, **choices), totals(EventFilter(project_ids=(project, other), **choices))
        assert len(rows) == sums.events
        costs: dict[str, Decimal] = {}
        for row in rows:
            if row["cost"]:
                costs[row["currency"]] = costs.get(row["currency"], Decimal(0)) + Decimal(row["cost"])
        assert costs == sums.costs
        for meter, column in METER_COLUMNS.items():
            assert sum(int(row[column] or 0) for row in rows) == sums.meters.get(meter, 0)
        assert sum(row["price_status"] == "unpriced" for row in rows) == sums.unpriced
        assert sum(row["price_status"] == "duplicate" for row in rows) == sums.duplicates
        assert sum(int(row["revision"]) for row in rows) == sums.adjustments


def test_one_row_an_event_as_it_stands_now(project: uuid.UUID) -> None:
    event = facts.event(project, client_name="batch-3", flags=["by_request_model", "clock_skew"])
    facts.reprice(event, "0.000000000001", flags=("by_request_model",))
    [row] = rows_of(project)
    assert row["id"] == str(event.event_id)
    assert (row["cost"], row["currency"], row["revision"]) == ("0.000000000001", "USD", "1")
    assert row["occurred_at"] == "2026-05-01T00:00:00+00:00"
    assert (row["is_batch"], row["cache_in_input"]) == ("false", "true")
    assert (row["flags"], row["discount_id"]) == ("by_request_model clock_skew", "")
    assert (row["same_call_as"], row["cache_read_tokens"], row["session"]) == ("", "", "")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", '=HYPERLINK("//x")'])
def test_no_cell_is_a_formula(project: uuid.UUID, text: str) -> None:
    facts.event(project, client_name=text, session=text, user_label=text, model=text, error_type=text)
    [row] = rows_of(project)
    for name in ("client_name", "session", "user_label", "model", "error_type"):
        assert row[name] == f"'{text}"


def as_csv(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_json_lines_have_the_same_values_and_types(project: uuid.UUID) -> None:
    facts.a_mix(project, count=40)
    rows, lines = (
        rows_of(project),
        [json.loads(line) for line in "".join(file(project, written=Format.JSONL)).split("\n")[:-1]],
    )
    assert len(lines) == len(rows) == 40
    for row, line in zip(rows, lines, strict=True):
        assert list(line) == list(row)
        moments = ("snapshot_at",)
        assert {name: as_csv(value) for name, value in line.items() if name not in moments} == {
            name: value for name, value in row.items() if name not in moments
        }
        assert line["cost"] is None or isinstance(line["cost"], str)
        assert isinstance(line["revision"], int)
        assert datetime.fromisoformat(line["snapshot_at"]) <= timezone.now()


def test_quotes_commas_and_lines_are_kept(project: uuid.UUID) -> None:
    text = 'a "quoted", name\nof two lines; é 漢'
    facts.event(project, client_name=text)
    assert rows_of(project)[0]["client_name"] == text


def test_nothing_is_a_header(project: uuid.UUID) -> None:
    assert rows_of(project) == []
    assert "".join(file(project)).startswith("id,project_id,occurred_at,")


def test_goes_on_after_the_view_has_left_the_scope_and_leaves_none_behind(acme: Workspace) -> None:
    with tenant_scope(acme.organization):
        project = uuid.uuid4()
        facts.event(project)
        pieces = file(project)
    assert current_scope() is None
    assert str(project) in next(pieces)
    assert current_scope() is None
    assert list(pieces) == []


def test_is_of_one_moment(committed: tuple[Workspace, Workspace], monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes or is changed while it is sent is not in it."""
    monkeypatch.setattr("apps.ledger.selectors.pages.CHUNK", 2)
    monkeypatch.setattr("apps.analytics.exports.formats._PIECE", 1)
    project = uuid.uuid4()
    with tenant_scope(committed[0].organization):
        for _ in range(5):
            facts.event(project)
        pieces = file(project)
        text = next(pieces)
        with as_owner():
            assert UsageEvent.objects.filter(project_id=project).update(cost=7) == 5
        text += "".join(pieces)
        costs = [row["cost"] for row in csv.DictReader(StringIO(text, newline=""))]
        assert costs == ["0.00004545"] * 5
        assert totals(EventFilter(project_ids=(project,))).costs == {"USD": Decimal(35)}
        assert not connection.in_atomic_block
        # A client that goes away leaves no transaction open.
        abandoned = file(project)
        next(abandoned)
        assert connection.in_atomic_block
        abandoned.close()
        assert not connection.in_atomic_block
        with as_owner():
            UsageEvent.objects.filter(project_id=project).delete()


def test_memory_does_not_grow_with_the_rows(project: uuid.UUID) -> None:
    """Ten times the rows in no more than twice the memory."""
    like = facts.event(project)

    def add(count: int) -> None:
        with connection.cursor() as cursor:
            names = ", ".join(
                f'"{field.column}"' for field in UsageEvent._meta.concrete_fields[1:] if field.name != "event_id"
            )
            cursor.execute(
                f"INSERT INTO ledger_usageevent (id, event_id, {names})"
                f" SELECT gen_random_uuid(), gen_random_uuid(), {names} FROM ledger_usageevent, generate_series(1, %s)"
                " WHERE id = %s",
                [count, like.id],
            )

    def peak() -> int:
        tracemalloc.start()
        try:
            assert sum(piece.count("\r\n") for piece in file(project)) > 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    add(1_500)
    few = peak()
    add(13_500)
    assert peak() < 2 * few
    assert Adjustment.objects.filter(project_id=project).count() == 0
