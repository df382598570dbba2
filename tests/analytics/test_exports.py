"""Exports: every way to a number says the same to the last digit, and files are made once, whole, and for members."""

import copy
import csv
import gzip
import json
import re
import threading
import tracemalloc
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from hashlib import sha256
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone
from pytest_django import Settings

from apps.analytics import rollups, tasks
from apps.analytics.exports import formats, making
from apps.analytics.exports.making import MOST_AT_ONCE, MOST_ATTEMPTS, ExportError, make, request_export, streamed
from apps.analytics.exports.sources import SOURCES
from apps.analytics.exports.sources.focus import COLUMNS
from apps.analytics.exports.wanted import Content, Format, Wanted
from apps.analytics.models import DayRollup, Export
from apps.analytics.selectors import Dimension, Granularity, UnansweredError, stream_sums, summed
from apps.audit.models import Entry
from apps.ledger.models import METER_COLUMNS, Outbox, PriceStatus
from apps.ledger.selectors import EventFilter, count_up_to, totals
from apps.organizations import services as organizations
from apps.organizations.models import Membership, Organization
from apps.organizations.tasks import delete_due
from apps.pricing.meters import Meter
from config.settings import STORAGES
from tenancy import tenant_scope
from tenancy.files import delete_all_files, storage, tenant_path
from tests.cast import Member, Workspace
from tests.ledger import facts
from tests.ledger.facts import MAY
from tests.ledger.killing import KilledError, killed_after
from tests.usage.test_ledger import text_of

Status = Export.Status
Row = dict[str, Any]
BY = (Dimension.PROJECT, Dimension.MODEL, Dimension.STATUS)


@pytest.fixture
def usage(acme: Workspace) -> Iterator[uuid.UUID]:
    """A project's calls of all kinds, adjusted, in two currencies, summed up. In Acme's scope."""
    with tenant_scope(acme.organization):
        project = acme.project.id
        rows = facts.a_mix(project, count=150)
        rows += facts.a_mix(uuid.uuid4(), count=20, seed=2)
        rows.append(facts.event(project, currency="EUR", cost=Decimal("1.000000000001"), price_status="priced"))
        rows.append(facts.event(project, provider="ollama", model="", cost=Decimal(0), currency="USD"))
        rows.append(facts.event(project, model="never-priced"))
        Outbox.objects.create(events=[row.id for row in rows])
        rollups.recount(acme.organization.time_zone)
        yield project


@pytest.fixture
def priced_by_lists(acme: Workspace) -> Iterator[uuid.UUID]:
    """A project's calls that cost what the price lists say, as `ledger verify` wants it. In Acme's scope."""
    with tenant_scope(acme.organization):
        project = acme.project.id
        rows = [
            facts.event(project, occurred_at=MAY + timedelta(hours=place), model=facts.MODELS[place % 3])
            for place in range(90)
        ]
        for place in range(0, 90, 7):
            facts.detail(rows[place], input=10**6 + place)
        facts.make_duplicate(rows[5], rows[6].event_id)
        rows.append(facts.event(project, meters={}, price_status="failed", ending="error", error_type="Timeout"))
        Outbox.objects.create(events=[row.id for row in rows])
        rollups.recount(acme.organization.time_zone)
        yield project


def wanted(content: Content, written: Format = Format.CSV, **changes: Any) -> Wanted:
    calls = EventFilter(**{name: changes.pop(name) for name in EventFilter.__struct_fields__ if name in changes})
    if content is not Content.ROWS:
        changes = {"granularity": Granularity.DAY, **changes}
    if content is Content.SUMS:
        changes = {"by": BY, **changes}
    return Wanted(content=content, format=written, filter=calls, **{"zone": "UTC", **changes})


def rows_in(text: str, written: Format) -> list[Row]:
    """What is unknown is None, whatever the format."""
    if written is Format.JSONL:
        return [json.loads(line) for line in text.splitlines()]
    return [{name: value or None for name, value in row.items()} for row in csv.DictReader(StringIO(text, newline=""))]


def rows_of(asked: Wanted) -> list[Row]:
    return rows_in("".join(streamed(asked)), asked.format)


def costs_of(rows: list[Row], content: Content) -> dict[str, Decimal]:
    """By currency, what the rows add up to."""
    found: dict[str, Decimal] = {}
    for row in rows:
        if content is Content.SUMS:
            parts = {name[-3:]: value for name, value in row.items() if name.startswith("cost_")}
        elif content is Content.FOCUS:
            parts = {row["BillingCurrency"]: row["BilledCost"]}
        else:
            parts = {row["currency"] or "": row["cost"]}
        for currency, cost in parts.items():
            if cost is not None:
                found[currency] = found.get(currency, Decimal(0)) + Decimal(cost)
    return found


def number(rows: list[Row], name: str) -> int:
    return sum(int(row[name] or 0) for row in rows)


def made(asked: Wanted, author: uuid.UUID | None = None) -> Export:
    export, _ = request_export(asked, expected_rows=1, author_id=author or uuid.uuid4())
    make(export.pk)
    export.refresh_from_db()
    return export


def content_of(export: Export) -> str:
    return b"".join(making.content(making.opened(export), packed=False)).decode()


def files() -> list[str]:
    try:
        return storage().listdir(tenant_path(""))[1]
    except FileNotFoundError:
        return []


# --- What the files say ---


PERIODS: list[dict[str, Any]] = [
    {},
    {"start": MAY + timedelta(days=1), "end": MAY + timedelta(days=3)},
    {"provider": "openai", "model": "gpt-4o"},
]


@pytest.mark.parametrize("choices", PERIODS)
def test_every_way_to_a_number_says_the_same(
    acme: Workspace, priced_by_lists: uuid.UUID, choices: dict[str, Any]
) -> None:
    """Dashboard, CSV, JSON lines, FOCUS, the summary endpoint and `ledger verify`, to the last digit."""
    check_all_agree(acme, priced_by_lists, choices)
    out, only = StringIO(), ["--organization", str(acme.organization.id)]
    call_command("ledger", "verify", *only, stdout=out)
    call_command("rollups", "verify", *only, stdout=out)
    assert out.getvalue().count("0 differences") == 2


@pytest.mark.parametrize("choices", PERIODS)
def test_so_it_does_after_adjustments_and_in_two_currencies(
    acme: Workspace, usage: uuid.UUID, choices: dict[str, Any]
) -> None:
    check_all_agree(acme, usage, choices)


def check_all_agree(acme: Workspace, project: uuid.UUID, choices: dict[str, Any]) -> None:
    calls = EventFilter(project_ids=(project,), **choices)
    ledger = totals(calls)
    named = with_cost(ledger.costs)
    assert named
    for written, content, granularity, zone in product(Format, Content, ("hour", "day"), ("UTC", "Asia/Kolkata")):
        shape = {} if content is Content.ROWS else {"granularity": Granularity(granularity)}
        asked = wanted(content, written, zone=zone, project_ids=(project,), **shape, **choices)
        rows = rows_of(asked)
        assert with_cost(costs_of(rows, content)) == named, asked
        check_counts(content, rows, ledger)
        assert with_cost(SOURCES[content].totals(asked).costs) == named
    query: dict[str, Any] = {name: choices[name] for name in ("provider", "model") if name in choices}
    if "start" in choices:
        query |= {"from": "2026-05-02", "to": "2026-05-03"}
    answer = acme.owner.browser().get(acme.url("usage/"), {"project": str(project), "from": "2000-01-01", **query})
    assert with_cost(answer.context["shown"].now.totals.costs) == named
    sdk = acme.sdk()
    answer = sdk.client.get("/api/v1/usage/summary", query, headers=sdk.bearer)
    assert with_cost({name: Decimal(cost) for name, cost in answer.json()["totals"]["costs"].items()}) == named


def with_cost(costs: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Without currencies that nothing is left of."""
    return {currency: cost for currency, cost in costs.items() if cost}


def check_counts(content: Content, rows: list[Row], ledger: Any) -> None:
    match content:
        case Content.ROWS:
            assert len(rows) == ledger.events
            for meter, name in METER_COLUMNS.items():
                assert number(rows, name) == ledger.meters.get(meter, 0)
        case Content.SUMS:
            for name in ("events", "calls", "failed", "unpriced", "duplicates", "tokens", "unpriced_tokens"):
                assert number(rows, name) == getattr(ledger, name)
            for meter, name in METER_COLUMNS.items():
                assert number(rows, name) == ledger.meters.get(meter, 0)
        case Content.FOCUS:
            assert number(rows, "x_PricedCalls") == ledger.calls - ledger.failed - ledger.unpriced
            tokens = sum(int(row["PricingQuantity"] or 0) for row in rows if row["PricingUnit"] == "Tokens")
            assert tokens == ledger.tokens - ledger.unpriced_tokens


# As the specification has it: Feature level "Mandatory"; and of these what may be null.
MANDATORY = {
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
}
NULLABLE = {"BillingAccountName", "ChargeClass", "ChargeDescription", "PricingQuantity", "PricingUnit"}


def test_focus_has_its_columns_first_and_no_cost_that_is_not_known(acme: Workspace, usage: uuid.UUID) -> None:
    rows = rows_of(wanted(Content.FOCUS, Format.JSONL, zone="Asia/Kolkata"))
    assert COLUMNS.keys() >= MANDATORY
    own = [name.startswith("x_") for name in COLUMNS]
    assert own == sorted(own)
    for row in rows:
        assert all(row[name] is not None for name in MANDATORY - NULLABLE if name != "ProviderName")
        assert "" not in row.values()
        assert row["BilledCost"] == row["EffectiveCost"] == row["ContractedCost"] == row["ListCost"]
        assert row["ChargePeriodStart"].endswith("T18:30:00Z")
        assert row["ChargePeriodEnd"] == later(row["ChargePeriodStart"], days=1)
        assert row["BillingPeriodStart"] <= row["ChargePeriodStart"] < row["ChargePeriodEnd"] <= row["BillingPeriodEnd"]
        assert row["BillingPeriodStart"] == "2026-04-30T18:30:00Z"
        assert json.loads(row["Tags"]).keys() <= {"client", "environment", "operation"}
    assert "never-priced" not in {row["SkuId"] for row in rows}
    free = [row for row in rows if row["ProviderName"] == "Ollama"]
    assert [(row["BilledCost"], row["SkuId"]) for row in free] == [("0", None)]
    two = [row for row in rows if row["BillingCurrency"] == "EUR"]
    assert len(two) == 1
    assert {row["SubAccountName"] for row in rows} == {"production (production)", None}


def later(moment: str, **step: float) -> str:
    return f"{datetime.fromisoformat(moment) + timedelta(**step):%Y-%m-%dT%H:%M:%SZ}"


def test_a_price_that_was_taken_back_is_no_charge_of_0(acme: Workspace) -> None:
    with tenant_scope(acme.organization):
        row = facts.event(acme.project.id, model="gpt-of-tomorrow")
        unpriced = facts.standing(row).price
        facts.reprice(row, "3")
        facts._adjusted(
            row,
            price=unpriced,
            meters=facts.standing(row).meters,
            kind="reversal",
            reason="It was another one's price.",
        )
        Outbox.objects.create(events=[row.id])
        rollups.recount("UTC")
        assert totals(EventFilter()).costs == {"USD": Decimal(0)}
        assert rows_of(wanted(Content.FOCUS)) == []


@pytest.mark.parametrize("text", ["=1+1", "+1", "@SUM(A1)", "＝1", '=HYPERLINK("//x")'])
@pytest.mark.parametrize("content", Content)
def test_no_cell_is_a_formula(acme: Workspace, content: Content, text: str) -> None:
    with tenant_scope(acme.organization):
        row = facts.event(
            acme.project.id, model=text, client_name=text, cost=Decimal(1), currency="USD", price_status="priced"
        )
        Outbox.objects.create(events=[row.id])
        rollups.recount("UTC")
        [found] = rows_of(wanted(content))
        name = "SkuId" if content is Content.FOCUS else "model"
        assert found[name] == f"'{text}"
        [exact] = rows_of(wanted(content, Format.JSONL))
        assert exact[name] == text


def test_sums_are_those_of_the_endpoint(acme: Workspace, usage: uuid.UUID) -> None:
    sdk = acme.sdk()
    query = {"granularity": "day", "group_by": "model,status"}
    endpoint = sdk.client.get("/api/v1/usage/summary", query, headers=sdk.bearer).json()["data"]
    by = (Dimension.MODEL, Dimension.STATUS)
    rows = rows_of(wanted(Content.SUMS, Format.JSONL, project_ids=(usage,), by=by))
    assert len(rows) == len(endpoint)
    for row, theirs in zip(rows, endpoint, strict=True):
        assert datetime.fromisoformat(row["starts_at"]) == datetime.fromisoformat(theirs["starts_at"])
        assert {name[5:]: value for name, value in row.items() if name.startswith("cost_") and value} == theirs["costs"]
        for name in ("model", "status", "events", "calls", "failed", "unpriced", "duplicates", "adjustments"):
            assert row[name] == theirs[name]
        assert {name: row[name] for name in METER_COLUMNS.values()} == {
            name: value or 0 for name, value in theirs["meters"].items()
        }
    question = wanted(Content.SUMS, project_ids=(usage,)).question
    assert list(stream_sums(question)) == summed(question)


def test_what_sums_do_not_know_is_refused_and_rows_are_counted_in_the_ledger(acme: Workspace, usage: uuid.UUID) -> None:
    for content in (Content.SUMS, Content.FOCUS):
        with pytest.raises(UnansweredError, match="session"):
            SOURCES[content].count(wanted(content, session="s"))
    facts.event(usage, session="s", user_label="u", occurred_at=MAY + timedelta(hours=1))
    facts.event(usage, session="s", occurred_at=MAY + timedelta(days=40))
    odd = {"start": MAY + timedelta(minutes=7), "end": MAY + timedelta(days=9, minutes=1)}
    for choices in (
        {"session": "s"},
        {"session": "s", **odd},
        {"user_label": "u"},
        {"status": PriceStatus.UNPRICED},
        {"status": PriceStatus.PRICED, "project_ids": (usage,)},
        odd,
    ):
        asked = wanted(Content.ROWS, **choices)
        assert SOURCES[Content.ROWS].count(asked) == totals(asked.filter).events == len(rows_of(asked)) > 0, choices
    assert SOURCES[Content.ROWS].count(wanted(Content.ROWS, session="s")) == 2
    assert SOURCES[Content.ROWS].count(wanted(Content.ROWS, session="nobody's")) == 0


def test_rows_are_counted_up_to_a_bound(acme: Workspace, usage: uuid.UUID) -> None:
    everything = totals(EventFilter()).events
    for most, found in ((0, 1), (5, 6), (everything - 1, everything), (everything, everything), (10**6, everything)):
        assert count_up_to(EventFilter(), most) == found
    assert count_up_to(EventFilter(project_ids=()), 5) == 0


@pytest.mark.parametrize("content", Content)
def test_a_file_is_of_one_moment(
    busy: tuple[Workspace, uuid.UUID], monkeypatch: pytest.MonkeyPatch, content: Content
) -> None:
    """What comes in and is summed up while it is read is not in it, and the moment that it names is before that."""
    monkeypatch.setattr("apps.ledger.selectors.pages.CHUNK", 2)
    monkeypatch.setattr("apps.analytics.exports.formats._PIECE", 1)
    acme, project = busy
    asked = wanted(content, Format.JSONL, project_ids=(project,))

    def store(count: int) -> None:
        rows = [facts.event(project, occurred_at=MAY + timedelta(days=day)) for day in range(count)]
        Outbox.objects.create(events=[row.id for row in rows])
        while rollups.roll_up(acme.organization.time_zone) is not rollups.Progress.DONE:
            pass

    with tenant_scope(acme.organization):
        store(6)
        before = totals(asked.filter).costs
        pieces = streamed(asked)
        text = next(pieces)
    begun = timezone.now()
    run(acme, lambda: store(4))
    text += "".join(pieces)
    rows = rows_in(text, Format.JSONL)
    assert costs_of(rows, content) == before
    [moment] = {row["x_SnapshotAt" if content is Content.FOCUS else "snapshot_at"] for row in rows}
    assert datetime.fromisoformat(moment) <= begun
    with tenant_scope(acme.organization):
        assert costs_of(rows_of(asked), content) == totals(asked.filter).costs != before


def test_memory_does_not_grow_with_the_rows(acme: Workspace, usage: uuid.UUID) -> None:
    """Ten times the sums in no more than twice the memory."""
    names = ", ".join(f'"{field.column}"' for field in DayRollup._meta.concrete_fields[1:] if field.name != "starts_at")

    def add(days: int) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO analytics_dayrollup (id, starts_at, {names}) SELECT gen_random_uuid(), starts_at + day * interval"
                f" '1 day', {names} FROM analytics_dayrollup, generate_series(1, %s) AS day"
                " WHERE id = (SELECT id FROM analytics_dayrollup WHERE cost > 0 ORDER BY starts_at DESC LIMIT 1)",
                [days],
            )

    def peak(content: Content) -> int:
        tracemalloc.start()
        try:
            assert sum(piece.count("\r\n") for piece in streamed(wanted(content))) > 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    for content in (Content.SUMS, Content.FOCUS):
        add(1_500)
        few = peak(content)
        add(13_500)
        assert peak(content) < 2 * few
        DayRollup.objects.filter(starts_at__gt=timezone.now() + timedelta(days=365)).delete()


def run(acme: Workspace, *works: Callable[[], object]) -> None:
    """All at once, each in a thread with a connection of its own."""
    failures: list[BaseException] = []

    def one(work: Callable[[], object]) -> None:
        try:
            with tenant_scope(acme.organization):
                work()
        except BaseException as error:
            failures.append(error)
            raise
        finally:
            connection.close()

    threads = [threading.Thread(target=partial(one, work)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not failures


# --- Made in the background ---


@pytest.mark.parametrize("written", Format)
@pytest.mark.parametrize("content", Content)
def test_a_worker_makes_what_is_streamed_and_says_what_it_adds_up_to(
    acme: Workspace, usage: uuid.UUID, content: Content, written: Format
) -> None:
    asked = wanted(content, written, project_ids=(usage,))
    export = made(asked)
    assert (export.status, export.attempts, export.problem) == (Status.DONE, 1, "")
    text = content_of(export)
    moment = "x_SnapshotAt" if content is Content.FOCUS else "snapshot_at"
    rows, direct = rows_in(text, written), rows_of(asked)
    for row in [*rows, *direct]:
        row.pop(moment)
    assert rows == direct
    assert export.rows == len(rows) > 0
    assert (export.bytes, export.sha256) == (len(text.encode()), sha256(text.encode()).hexdigest())
    assert {name: Decimal(cost) for name, cost in export.totals["costs"].items()} == totals(asked.filter).costs
    assert export.totals["unpriced"] == totals(asked.filter).unpriced > 0
    assert export.expires_at is not None
    assert export.finished_at is not None
    assert export.expires_at - export.finished_at == timedelta(days=7)
    assert Wanted.from_json(export.wanted) == asked


def test_death_at_any_statement_leaves_nothing_half_made(acme: Workspace, usage: uuid.UUID) -> None:
    """And the next attempt makes all of it, once."""
    asked, deaths = wanted(Content.ROWS, project_ids=(usage,), end=MAY + timedelta(days=1)), 0
    whole_file = rows_of(asked)
    for statements in range(30):
        export, _ = request_export(asked, expected_rows=1, author_id=uuid.uuid4())
        try:
            with killed_after(statements):
                make(export.pk)
        except KilledError:
            deaths += 1
            export.refresh_from_db()
            assert export.status in making.UNDER_WAY
            with pytest.raises(ExportError, match="still being made"):
                making.opened(export)
            make(export.pk)
        export.refresh_from_db()
        assert export.status == Status.DONE
        assert len(rows_in(content_of(export), Format.CSV)) == len(whole_file) == export.rows
        assert [name for name in files() if name.startswith(str(export.pk))] == [export.file.rpartition("/")[2]]
        if deaths <= statements:
            break
    assert deaths >= 8


def test_what_a_dead_worker_stored_is_replaced(acme: Workspace, usage: uuid.UUID) -> None:
    export, _ = request_export(wanted(Content.SUMS), expected_rows=1, author_id=uuid.uuid4())

    def stored_and_died(*_: Any) -> None:
        raise KilledError

    with mock.patch.object(making, "totals_as_json", stored_and_died), pytest.raises(KilledError):
        make(export.pk)
    assert len(files()) == 1
    make(export.pk)
    export.refresh_from_db()
    assert (export.status, export.attempts, len(files())) == (Status.DONE, 2, 1)
    assert storage().exists(export.file)


def test_what_dies_again_and_again_is_given_up(acme: Workspace, usage: uuid.UUID) -> None:
    export, _ = request_export(wanted(Content.SUMS), expected_rows=1, author_id=uuid.uuid4())
    with mock.patch.object(making, "pieces", side_effect=KilledError):
        for _ in range(MOST_ATTEMPTS):
            with pytest.raises(KilledError):
                make(export.pk)
    make(export.pk)
    export.refresh_from_db()
    assert (export.status, export.problem) == (Status.FAILED, "It was begun several times and never finished.")
    make(export.pk)
    assert files() == []


def test_a_disk_that_is_full_is_said(acme: Workspace, usage: uuid.UUID) -> None:
    with mock.patch.object(making, "storage", side_effect=OSError("No space left on device")):
        export = made(wanted(Content.SUMS))
    assert (export.status, export.problem) == (Status.FAILED, "The file could not be stored.")
    with pytest.raises(ExportError, match="Make it again"):
        making.opened(export)


def test_two_workers_make_it_once(busy: tuple[Workspace, uuid.UUID], monkeypatch: pytest.MonkeyPatch) -> None:
    acme, project = busy
    with tenant_scope(acme.organization):
        facts.event(project)
        asked = wanted(Content.ROWS, project_ids=(project,))
        export, _ = request_export(asked, expected_rows=1, author_id=uuid.uuid4())
    at_it, gone, pieces = threading.Event(), threading.Event(), formats.pieces

    def slowly(*arguments: Any) -> Iterator[str]:
        assert not at_it.is_set()
        at_it.set()
        assert gone.wait(timeout=30)
        yield from pieces(*arguments)

    def come_and_go() -> None:
        assert at_it.wait(timeout=30)
        make(export.pk)
        gone.set()

    monkeypatch.setattr(making, "pieces", slowly)
    run(acme, lambda: make(export.pk), come_and_go)
    with tenant_scope(acme.organization):
        export.refresh_from_db()
        assert (export.status, export.attempts, export.rows) == (Status.DONE, 1, 1)
        assert files() == [export.file.rpartition("/")[2]]


def test_two_who_ask_at_once_find_room_for_one(busy: tuple[Workspace, uuid.UUID]) -> None:
    acme, _ = busy
    refused: list[ExportError] = []

    def ask_for_one(place: int) -> None:
        try:
            request_export(wanted(Content.ROWS, model=str(place)), expected_rows=1, author_id=uuid.uuid4())
        except ExportError as error:
            refused.append(error)

    run(acme, *(partial(ask_for_one, place) for place in range(MOST_AT_ONCE + 2)))
    with tenant_scope(acme.organization):
        assert Export.objects.count() == MOST_AT_ONCE
    assert len(refused) == 2


def test_how_far_it_is_can_be_seen(acme: Workspace, usage: uuid.UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    noted: dict[str, int] = {}
    monkeypatch.setattr(making, "NOTE_SECONDS", 0)
    monkeypatch.setattr(cache, "set", lambda key, value, timeout: noted.update({key: value}))
    monkeypatch.setattr(cache, "get_many", lambda keys: {key: noted[key] for key in keys if key in noted})
    export, _ = request_export(wanted(Content.ROWS), expected_rows=500, author_id=uuid.uuid4())
    with mock.patch.object(making, "totals_as_json", side_effect=KilledError), pytest.raises(KilledError):
        make(export.pk)
    export.refresh_from_db()
    assert making.progress([export]) == {export.pk: totals(EventFilter()).events}
    [key] = noted
    assert str(acme.organization.id) in key


def test_enough_is_enough_and_the_same_is_made_once(
    acme: Workspace, usage: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    author = uuid.uuid4()
    asked = wanted(Content.SUMS, project_ids=(usage,), start=MAY)
    first, is_new = request_export(asked, expected_rows=1, author_id=author)
    again, is_new_again = request_export(asked, expected_rows=1, author_id=author)
    assert (again, is_new, is_new_again) == (first, True, False)
    for place in range(MOST_AT_ONCE - 1):
        request_export(wanted(Content.ROWS, model=str(place)), expected_rows=1, author_id=author)
    with pytest.raises(ExportError, match="Wait until one of them is done"):
        request_export(wanted(Content.SUMS), expected_rows=1, author_id=author)
    make(first.pk)
    assert request_export(wanted(Content.SUMS), expected_rows=1, author_id=author)[1]


def test_tidying_asks_again_and_deletes_what_has_expired(
    acme: Workspace, usage: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(making, "ask_for", lambda task, export_id: asked.append(export_id))
    lost, _ = request_export(wanted(Content.ROWS), expected_rows=1, author_id=uuid.uuid4())
    old, kept = made(wanted(Content.SUMS)), made(wanted(Content.FOCUS))
    Export.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    asked.clear()
    old.refresh_from_db()
    # Nobody gets it from then on, whether it is deleted yet or not.
    with pytest.raises(making.ExpiredError):
        making.opened(old)
    with mock.patch.object(tasks.roll_up, "delay"):
        tasks.sweep_organization(organization_id=str(acme.organization.id))
    old.refresh_from_db()
    assert asked == [str(lost.pk)]
    assert old.status == Status.EXPIRED
    assert files() == [kept.file.rpartition("/")[2]]
    with pytest.raises(making.ExpiredError):
        making.opened(old)
    assert content_of(kept)


def test_what_was_asked_for_is_forgotten(acme: Workspace, usage: uuid.UUID) -> None:
    """It may name sessions and users."""
    request_export(wanted(Content.ROWS, session="waits"), expected_rows=1, author_id=uuid.uuid4())
    for status in (Status.DONE, Status.EXPIRED, Status.FAILED):
        for age, name in ((29, "young"), (31, "old")):
            export = made(wanted(Content.ROWS, session=f"{name} {status}"))
            Export.objects.filter(pk=export.pk).update(
                status=status,
                finished_at=timezone.now() - timedelta(days=age),
                expires_at=timezone.now() + timedelta(days=1),
            )
    making.tidy()
    left = {each.wanted["filter"]["session"] for each in Export.objects.all()}
    assert left == {"waits", "young done", "old done", "young expired", "young failed"}


def test_files_on_disk_are_nobody_elses_and_go_away(
    acme: Workspace, usage: uuid.UUID, settings: Settings, tmp_path: Path
) -> None:
    on_disk: dict[str, Any] = copy.deepcopy(STORAGES)
    on_disk["exports"]["OPTIONS"]["location"] = tmp_path
    settings.STORAGES = on_disk
    export = made(wanted(Content.SUMS))
    path = tmp_path / export.file
    assert path.parent == tmp_path / acme.organization.schema_name
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert content_of(export).startswith("starts_at,project,model,status,")
    delete_all_files(acme.organization.schema_name)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(making.ExpiredError):
        making.opened(export)
    delete_all_files(acme.organization.schema_name)


@pytest.mark.usefixtures("by_owner")
def test_a_deleted_organizations_files_go_with_it(acme: Workspace, globex: Workspace) -> None:
    for each in (acme, globex):
        with tenant_scope(each.organization):
            facts.event(each.project.id)
            export = made(wanted(Content.ROWS))
            assert storage().exists(export.file)
    with tenant_scope(acme.organization):
        organizations.request_deletion(organization=acme.organization, actor=acme.owner.user)
    Organization.objects.filter(pk=acme.organization.pk).update(delete_after=timezone.now() - timedelta(seconds=1))
    assert delete_due() == 1
    assert storage().listdir("")[0] == [globex.organization.schema_name]


# --- The page ---


@pytest.fixture
def browser(alice: Member) -> Browser:
    return alice.browser()


def ask(browser: Browser, acme: Workspace, **fields: Any) -> Any:
    return browser.post(
        acme.url("usage/exports/"),
        {"content": "rows", "format": "csv", "granularity": "day", "period": "all", **fields},
    )


def body(answer: Any) -> str:
    text: str = answer.getvalue().decode()
    return text


def trail(acme: Workspace) -> list[tuple[str, str, str]]:
    found = Entry.objects.filter(action__startswith="export.").order_by("created_at", "id")
    return [(each.actor, each.action, each.subject) for each in found]


def test_small_ones_are_downloaded_at_once(acme: Workspace, usage: uuid.UUID, browser: Browser) -> None:
    answer = ask(browser, acme, project=str(usage))
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == 'attachment; filename="usage-rows-all.csv"'
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert costs_of(rows_in(body(answer), Format.CSV), Content.ROWS) == totals(EventFilter(project_ids=(usage,))).costs
    answer = ask(
        browser,
        acme,
        content="sums",
        format="jsonl",
        by=["model", "status"],
        **{"period": "custom", "from": "2026-05-01"},
    )
    assert answer.headers["Content-Disposition"] == 'attachment; filename="usage-sums-2026-05-01.jsonl"'
    assert rows_in(body(answer), Format.JSONL)[0].keys() >= {"starts_at", "model", "status", "cost_USD"}
    assert not Export.objects.exists()
    assert trail(acme) == [
        (acme.owner.user.email, "export.downloaded", "Calls as CSV"),
        (acme.owner.user.email, "export.downloaded", "Sums by day, model, status as JSON lines"),
    ]


def stream_at_most(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("analytics.exports.sources.rows", "usage.export_views", "usage.words"):
        monkeypatch.setattr(f"apps.{module}.MOST_STREAMED", rows)


def test_no_more_is_sent_at_once_than_is_said(
    acme: Workspace, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was summed up, or sums can't say it: the ledger does."""
    stream_at_most(3, monkeypatch)
    with tenant_scope(acme.organization):
        few, many = (
            [facts.event(acme.project.id, session=name) for _ in range(count)]
            for name, count in (("few", 3), ("many", 5))
        )
        assert ask(browser, acme, session="few").status_code == 200
        assert ask(browser, acme).status_code == 302
        Outbox.objects.create(events=[row.id for row in (*few, *many)])
        rollups.recount(acme.organization.time_zone)
        assert ask(browser, acme, session="few").status_code == 200
        assert "It has about 8 rows, which" in text_of(browser.get(ask(browser, acme, provider="openai")["Location"]))
        page = browser.get(ask(browser, acme, session="many")["Location"])
    assert "It has more than 3 rows, which takes a moment." in text_of(page)
    [line, *_] = page.context["lines"]
    assert (line.expected, line.full) == ("more than 3 rows", None)
    assert '<progress class="progress-bar" aria-labelledby="export-' in page.content.decode()


@pytest.mark.parametrize("is_large", [True, False])
def test_large_ones_and_those_that_are_asked_for_are_made_in_the_background(
    acme: Workspace, usage: uuid.UUID, browser: Browser, monkeypatch: pytest.MonkeyPatch, is_large: bool
) -> None:
    if is_large:
        stream_at_most(3, monkeypatch)
    answer = ask(browser, acme, content="focus", **({} if is_large else {"background": "1"}))
    assert answer.status_code == 302
    export = Export.objects.get()
    page = browser.get(answer["Location"])
    assert "The export is being made." in text_of(page)
    assert ("rows, which takes a moment" in text_of(page)) is is_large
    assert "FOCUS 1.2 by day as CSV waiting" in text_of(page)
    state = browser.get(acme.url("usage/exports/state")).json()
    assert state == {str(export.pk): {"status": "queued", "rows": 0}}
    url = acme.url(f"usage/exports/{export.pk}/file")
    assert browser.get(url).status_code == 409
    make(export.pk)
    export.refresh_from_db()
    page = browser.get(acme.url("usage/exports/"))
    assert "FOCUS 1.2 by day as CSV ready" in text_of(page)
    assert export.sha256 in text_of(page)
    assert "they make no charge" in text_of(page)

    plain = browser.get(url)
    content = plain.getvalue()
    assert sha256(content).hexdigest() == export.sha256
    assert int(plain.headers["Content-Length"]) == export.bytes
    packed = browser.get(url, headers={"Accept-Encoding": "gzip, deflate, br"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Disposition"] == 'attachment; filename="usage-focus-all.csv"'
    assert gzip.decompress(packed.getvalue()) == content
    assert [action for _, action, _ in trail(acme)] == ["export.requested", "export.downloaded", "export.downloaded"]


def test_a_link_asks_for_permission_and_expires(
    acme: Workspace, globex: Workspace, usage: uuid.UUID, browser: Browser
) -> None:
    export = made(wanted(Content.ROWS))
    url = acme.url(f"usage/exports/{export.pk}/file")
    viewer = acme.join("vera", Membership.Role.VIEWER)
    reading = viewer.browser()
    assert reading.get(url).status_code == 200
    Membership.objects.filter(user=viewer.user).delete()
    assert reading.get(url).status_code == 404
    assert globex.owner.browser().get(url).status_code == 404
    assert globex.owner.browser().get(globex.url(f"usage/exports/{export.pk}/file")).status_code == 404
    assert Browser().get(url).status_code == 302
    assert len(trail(acme)) == 1
    Export.objects.update(expires_at=timezone.now())
    answer = browser.get(url)
    assert answer.status_code == 410
    assert "Make it again on the page of exports" in text_of(answer)
    Export.objects.update(expires_at=timezone.now() + timedelta(days=1))
    storage().delete(export.file)
    assert browser.get(url).status_code == 410
    making.tidy()
    Export.objects.update(status=Status.EXPIRED)
    page = browser.get(acme.url("usage/exports/"))
    assert "Its file was deleted" in text_of(page)
    assert len(trail(acme)) == 1


def test_what_cannot_be_exported_says_why(acme: Workspace, usage: uuid.UUID, browser: Browser) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"content": "sums", "session": "s"}, "There are no sums by session"),
        ({"content": "focus", "granularity": "week"}, "FOCUS has a row for each hour or day"),
        ({"content": "everything"}, "everything is not one of the available choices"),
        ({"by": ["model", "colour"]}, "colour is not one of the available choices"),
        ({"model": "a\0b"}, "Null characters are not allowed"),
        ({"period": "custom", "from": "2026-03-02", "to": "2026-03-01"}, "The last day comes before the first"),
        ({"content": "sums", "hour": "2026-05-01T10:07Z"}, "full quarters"),
    ]
    for fields, says in refused:
        answer = ask(browser, acme, **fields)
        assert answer.status_code == 422, fields
        assert says in text_of(answer).replace("’", "'"), fields
    for place in range(MOST_AT_ONCE):
        ask(browser, acme, background="1", model=str(place))
    answer = ask(browser, acme, background="1")
    assert answer.status_code == 422
    assert "Wait until one of them is done" in text_of(answer)
    assert len(trail(acme)) == MOST_AT_ONCE


def test_nothing_was_summed_up_yet(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        facts.event(acme.project.id)
    answer = ask(browser, acme, content="rows")
    assert body(answer).count("\r\n") == 2
    answer = ask(browser, acme, content="focus")
    assert answer.status_code == 422
    assert "Nothing was summed up yet" in text_of(answer)


def test_the_page_carries_over_what_was_looked_at(acme: Workspace, usage: uuid.UUID, browser: Browser) -> None:
    query = f"project={usage}&period=7&by=client&content=sums&hour=2026-05-01T10:00Z"
    page = browser.get(acme.url(f"usage/exports/?{query}"))
    export, calls = page.context["export"], page.context["form"]
    assert (export["content"].value(), export["by"].value(), export["format"].value()) == ("sums", ["client"], "csv")
    assert (calls["project"].value(), calls["period"].value()) == (str(usage), "7")
    assert "Calls from 1 May 2026, 10:00 to 11:00." in text_of(page)
    ledger = browser.get(acme.url(f"ledger/?project={usage}&period=all")).content.decode()
    assert f"usage/exports/?project={usage}&amp;period=all&amp;content=rows" in ledger
    overview = browser.get(acme.url(f"usage/?project={usage}&period=all&by=model")).content.decode()
    assert f"usage/exports/?project={usage}&amp;period=all&amp;by=model&amp;content=sums" in overview
    export = made(wanted(Content.SUMS, project_ids=(usage,), start=MAY, end=MAY + timedelta(hours=1)))
    Export.objects.update(status=Status.FAILED, problem="It burnt.")
    page = browser.get(acme.url("usage/exports/"))
    assert "Hour 1 May 2026, 00:00" in text_of(page)
    [line] = page.context["lines"]
    again = browser.get(acme.url(f"usage/exports/?{line.again}"))
    form = again.context["form"]
    assert form.is_valid()
    assert form.wanted() == EventFilter(project_ids=(usage,), start=MAY, end=MAY + timedelta(hours=1))
    assert again.context["export"]["by"].value() == [each.value for each in BY]


@pytest.mark.parametrize("change", [{"content": "graphs"}, {"zone": "Mars/Olympus"}, {"filter": {"planet": "Mars"}}])
def test_what_another_release_asked_for_fails_by_itself_alone(
    acme: Workspace, usage: uuid.UUID, browser: Browser, change: dict[str, Any]
) -> None:
    export, _ = request_export(wanted(Content.ROWS), expected_rows=1, author_id=acme.owner.user.id)
    Export.objects.filter(pk=export.pk).update(wanted={**export.wanted, **change})
    assert ask(browser, acme, background="1").status_code == 302
    page = browser.get(acme.url("usage/exports/"))
    assert [line.title for line in page.context["lines"]] == ["Calls as CSV", "Export"]
    make(export.pk)
    export.refresh_from_db()
    assert (export.status, export.attempts) == (Status.FAILED, 1)
    assert export.problem == "This export was asked for in another release, which had other choices."
    page = browser.get(acme.url("usage/exports/"))
    assert export.problem in text_of(page)
    assert page.context["lines"][1].again == ""
    assert text_of(page).count("Projects all") == 1
    Export.objects.filter(pk=export.pk).update(status=Status.DONE, expires_at=timezone.now() + timedelta(days=1))
    with storage().open(tenant_path("f.gz"), "wb") as file:
        file.write(gzip.compress(b"a"))
    Export.objects.filter(pk=export.pk).update(file=tenant_path("f.gz"))
    assert browser.get(acme.url(f"usage/exports/{export.pk}/file")).status_code == 409


@pytest.mark.parametrize("content", [Content.ROWS, Content.SUMS])
def test_another_one_like_it_has_the_same_days_and_no_dimension_more(
    acme: Workspace, usage: uuid.UUID, browser: Browser, content: Content
) -> None:
    """Also where days are somebody else's by now."""
    zone = ZoneInfo("Asia/Kolkata")
    start, end = datetime(2026, 5, 2, tzinfo=zone), datetime(2026, 5, 4, tzinfo=zone)
    shape: dict[str, Any] = {"by": ()} if content is Content.SUMS else {}
    made(wanted(content, zone=zone.key, start=start, end=end, **shape))
    Organization.objects.filter(pk=acme.organization.pk).update(time_zone="America/New_York")
    page = browser.get(acme.url("usage/exports/"))
    assert "From 2 May 2026 To 3 May 2026" in text_of(page)
    [line] = page.context["lines"]
    again = browser.get(acme.url(f"usage/exports/?{line.again}"))
    form = again.context["form"]
    assert (form["from"].value(), form["to"].value()) == ("2026-05-02", "2026-05-03")
    assert not re.search(r'name="by"[^>]* checked', again.content.decode())


@pytest.mark.parametrize("hour", [0, 1])
def test_an_hour_is_made_again_when_clocks_were_set_back(acme: Workspace, browser: Browser, hour: int) -> None:
    Organization.objects.filter(pk=acme.organization.pk).update(time_zone="Europe/Berlin")
    begin = datetime(2026, 10, 25, hour, tzinfo=UTC)
    with tenant_scope(acme.organization):
        facts.event(acme.project.id, occurred_at=begin)
    asked = ask(browser, acme, background="1", hour=f"{begin:%Y-%m-%dT%H:%MZ}")
    page = browser.get(asked["Location"])
    # The clock shows two both times.
    assert "Hour 25 October 2026, 02:00" in text_of(page)
    [line] = page.context["lines"]
    form = browser.get(acme.url(f"usage/exports/?{line.again}")).context["form"]
    assert form.is_valid()
    calls = form.wanted()
    assert (calls.start.astimezone(UTC), calls.end.astimezone(UTC)) == (begin, begin + timedelta(hours=1))


def test_the_empty_page_teaches(globex: Workspace, charlie: Member) -> None:
    page = charlie.browser().get(globex.url("usage/exports/"))
    assert "No call yet" in text_of(page)
    with tenant_scope(globex.organization):
        facts.event(globex.project.id, meters={Meter.INPUT: 1})
    page = charlie.browser().get(globex.url("usage/exports/"))
    assert "Nothing was made in the background" in text_of(page)
