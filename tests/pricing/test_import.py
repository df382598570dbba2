"""Imports into PostgreSQL: once, all or nothing, history kept, and what the table itself refuses."""

import json
import logging
import threading
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.test.utils import CaptureQueriesContext

from apps.pricing.book import Book
from apps.pricing.feeds.base import FeedError, Listing
from apps.pricing.meters import Meter
from apps.pricing.models import ModelAlias, Price, PriceSnapshot
from apps.pricing.rating import Reason, rate, rate_by
from apps.pricing.selectors import list_price_rows, load_book
from apps.pricing.services import PriceImport, import_genai_prices, import_prices
from tests.pricing.paper import NOW, PaperFeed, document, entry

MONDAY = datetime(2026, 9, 7, 9, tzinfo=UTC)
WEEK = timedelta(days=7)
TOKENS = {Meter.INPUT: 1_000_000}


@pytest.fixture
def empty_table(db: None) -> None:
    """Without what other tests' fixtures have imported; they get it back with the rollback."""
    Price.objects.all().delete()
    ModelAlias.objects.all().delete()
    PriceSnapshot.objects.all().delete()


def put(paper: PaperFeed, at: datetime, *models: Mapping[str, Any]) -> PriceImport:
    paper.document = document(*models)
    return import_prices(source=paper.source, at=at)


def prices_of(model: str) -> list[tuple[datetime | None, datetime | None, Decimal]]:
    rows = Price.objects.filter(provider="testco", canonical_model=model).order_by("id")
    return [(row.effective.lower, row.effective.upper, row.unit_price) for row in rows]


@pytest.mark.usefixtures("empty_table")
def test_the_package_is_imported_exactly_and_once(listing: Listing, book: Book) -> None:
    snapshot = import_genai_prices()
    assert (snapshot.source, snapshot.source_version) == ("genai-prices", "0.2.3")
    stored = {(row.key, row.start, row.end, row.rate) for row in list_price_rows()}
    listed = {(key, row.start, row.end, row.rate) for key, rows in listing.prices.items() for row in rows}
    assert stored == listed
    raw = json.loads(zlib.decompress(PriceSnapshot.objects.get().document))
    assert sum(len(provider["models"]) for provider in raw["providers"]) == 2330

    loaded = load_book()
    assert loaded.snapshot_id == snapshot.pk
    for provider, model in [("openai", "gpt-4.1"), ("azureopenai", "gpt-5"), ("deepseek", "deepseek-v4-pro")]:
        for variant in ({}, {"processing": "batch"}):
            ours, pure = (rate_by(each, provider, model, TOKENS, NOW, variant=variant) for each in (loaded, book))
            assert (ours.cost, ours.model, ours.flags) == (pure.cost, pure.model, pure.flags)
            assert ours.cost is not None
            for line in ours.lines:
                row = Price.objects.get(pk=line.price_id)
                assert (row.unit_price, row.meter) == (line.unit_price, line.meter)

    with CaptureQueriesContext(connection) as queries:
        assert import_genai_prices() == snapshot
    assert not [query for query in queries if query["sql"].startswith(("INSERT", "UPDATE", "DELETE"))]
    assert PriceSnapshot.objects.count() == 1


@pytest.mark.django_db
def test_a_changed_price_closes_the_row_and_opens_one(paper: PaperFeed) -> None:
    model = {"id": "m", "prices": [entry({"input_mtok": "5", "output_mtok": "30"})]}
    first = put(paper, MONDAY, model)
    assert (first.is_new, first.prices_opened, first.prices_closed) == (True, 2, 0)
    model["prices"] = [entry({"input_mtok": "4", "output_mtok": "30"})]
    second = put(paper, MONDAY + WEEK, model)
    assert (second.prices_opened, second.prices_closed) == (1, 1)
    assert prices_of("m") == [
        (None, MONDAY + WEEK, Decimal(5)),
        (None, None, Decimal(30)),
        (MONDAY + WEEK, None, Decimal(4)),
    ]
    old, _, new = Price.objects.filter(provider="testco").order_by("id")
    assert (old.snapshot, old.closed_by, new.snapshot) == (first.snapshot, second.snapshot, second.snapshot)

    book = load_book()
    assert rate_by(book, "testco", "m", TOKENS, MONDAY + WEEK - timedelta(seconds=1)).cost == 5
    assert rate_by(book, "testco", "m", TOKENS, MONDAY + WEEK).cost == 4


@pytest.mark.django_db
def test_the_same_document_is_imported_once(paper: PaperFeed, caplog: pytest.LogCaptureFixture) -> None:
    model = {"id": "m", "prices": [entry({"input_mtok": "5"})]}
    first = put(paper, MONDAY, model)
    paper.version = "2"
    assert put(paper, MONDAY + WEEK, model) == PriceImport(first.snapshot, is_new=False)
    assert not caplog.records
    # An older package after a newer one: the newer's prices stay, and somebody should know.
    put(paper, MONDAY + WEEK, {**model, "prices": [entry({"input_mtok": "4"})]})
    with caplog.at_level(logging.WARNING):
        assert not put(paper, MONDAY + 2 * WEEK, model).is_new
    assert "stays in force" in caplog.text
    assert len(prices_of("m")) == 2


@pytest.mark.django_db
def test_models_gone_upstream_keep_prices_and_names(paper: PaperFeed) -> None:
    retired = {"id": "retired", "match": {"starts_with": "old"}, "prices": [entry({"input_mtok": "1"})]}
    kept = {"id": "kept", "prices": [entry({"input_mtok": "2"})]}
    put(paper, MONDAY, retired, kept)
    put(paper, MONDAY + WEEK, kept)
    assert prices_of("retired") == [(None, None, Decimal(1))]
    assert rate_by(load_book(), "testco", "old-9", TOKENS, NOW).model == "retired"
    # Its rule now comes after the listed ones: a successor may take over a name.
    put(paper, MONDAY + 2 * WEEK, {**kept, "match": {"or": [{"equals": "kept"}, {"equals": "old-9"}]}})
    book = load_book()
    assert rate_by(book, "testco", "old-9", TOKENS, NOW).model == "kept"
    assert rate_by(book, "testco", "old-8", TOKENS, NOW).model == "retired"


@pytest.mark.django_db
def test_rules_change_by_closing_and_order_by_moving(paper: PaperFeed) -> None:
    broad = {"id": "broad", "match": {"starts_with": "x"}, "prices": [entry({"input_mtok": "1"})]}
    narrow = {"id": "narrow", "match": {"equals": "x-mini"}, "prices": [entry({"input_mtok": "2"})]}
    put(paper, MONDAY, broad, narrow)
    assert rate_by(load_book(), "testco", "x-mini", TOKENS, NOW).model == "broad"
    moved = put(paper, MONDAY + WEEK, narrow, broad)
    assert (moved.aliases_opened, moved.aliases_closed, moved.prices_opened) == (0, 0, 0)
    assert rate_by(load_book(), "testco", "x-mini", TOKENS, NOW).model == "narrow"
    renamed = put(paper, MONDAY + 2 * WEEK, {**narrow, "match": {"equals": "x-nano"}}, broad)
    assert (renamed.aliases_opened, renamed.aliases_closed) == (1, 1)
    assert rate_by(load_book(), "testco", "x-mini", TOKENS, NOW).model == "broad"
    rules = ModelAlias.objects.filter(canonical_model="narrow").order_by("id").values_list("rule", "closed_by")
    assert list(rules) == [({"equals": "x-mini"}, renamed.snapshot.pk), ({"equals": "x-nano"}, None)]


@pytest.mark.django_db
def test_a_document_that_is_not_understood_changes_nothing(paper: PaperFeed) -> None:
    before = PriceSnapshot.objects.count()
    good, bad = entry({"input_mtok": "1"}), entry({"unheard_of": "1"})
    with pytest.raises(FeedError):
        put(paper, MONDAY, {"id": "good", "prices": [good]}, {"id": "bad", "prices": [bad]})
    assert PriceSnapshot.objects.count() == before
    assert prices_of("good") == []
    with pytest.raises(CommandError, match="unheard_of"):
        call_command("import_prices", stdout=StringIO())


@pytest.mark.django_db
def test_the_command_says_what_it_did(paper: PaperFeed) -> None:
    paper.document = document({"id": "m", "prices": [entry({"input_mtok": "1"})]})
    reports = []
    for _ in range(2):
        out = StringIO()
        call_command("import_prices", stdout=out)
        reports.append(out.getvalue())
    assert all(report.startswith("paper 1 (") for report in reports)
    assert reports[0].endswith(": prices 1 opened, 0 closed; model rules 1 opened, 0 closed.\n")
    assert reports[1].endswith(": imported already, nothing changed.\n")


@pytest.mark.usefixtures("committed")
def test_two_imports_at_once_make_one_snapshot(paper: PaperFeed) -> None:
    models = [{"id": f"at-once-{number}", "prices": [entry({"input_mtok": "1"})]} for number in range(50)]
    paper.document = document(*models)
    start = threading.Barrier(3)
    done: list[PriceImport] = []

    def work() -> None:
        try:
            start.wait()
            done.append(import_prices(source=paper.source))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(each.is_new for each in done) == [False, False, True]
        assert len({each.snapshot.pk for each in done}) == 1
        assert Price.objects.filter(canonical_model__startswith="at-once-").count() == 50
        assert ModelAlias.objects.filter(canonical_model__startswith="at-once-").count() == 50
    finally:
        Price.objects.filter(snapshot__source=paper.source).delete()
        ModelAlias.objects.filter(source=paper.source).delete()
        PriceSnapshot.objects.filter(source=paper.source).delete()


# --- What the table refuses ---


@pytest.fixture
def snapshot(db: None) -> PriceSnapshot:
    return PriceSnapshot.objects.create(
        source="hand", source_version="1", sha256="0" * 64, fetched_at=NOW, approved_at=NOW, document=b""
    )


# What makes it an organization's own price.
OWN = {
    "organization_id": uuid4(),
    "source": "",
    "snapshot": None,
    "author_id": uuid4(),
    "created_at": NOW,
    "note": "contract",
}


def price(of: PriceSnapshot, /, **changes: Any) -> Price:
    row = {
        "provider": "testco",
        "canonical_model": "m",
        "meter": "input",
        "per": 1_000_000,
        "effective": DateTimeTZRange(MONDAY, None, "[)"),
        "unit_price": Decimal(1),
        "source": of.source,
        "snapshot": of,
        **changes,
    }
    return Price.objects.create(**row)


def test_two_prices_at_a_time_are_refused(snapshot: PriceSnapshot) -> None:
    price(snapshot)
    for overlapping in (
        DateTimeTZRange(MONDAY, None, "[)"),
        DateTimeTZRange(None, MONDAY + WEEK, "[)"),
        DateTimeTZRange(MONDAY + WEEK, MONDAY + 2 * WEEK, "[)"),
    ):
        with pytest.raises(IntegrityError, match="pricing_price_one_at_a_time"), transaction.atomic():
            price(snapshot, effective=overlapping, unit_price=Decimal(2))
    variant = {"region": "eu", "processing": "batch"}
    price(snapshot, variant=variant)
    with pytest.raises(IntegrityError, match="pricing_price_one_at_a_time"), transaction.atomic():
        price(snapshot, variant=dict(reversed(variant.items())))


@pytest.mark.parametrize(
    "other",
    [
        {"effective": DateTimeTZRange(None, MONDAY, "[)")},
        {"effective": DateTimeTZRange(MONDAY + WEEK, MONDAY + WEEK, "[)")},
        {"provider": "otherco"},
        {"canonical_model": "n"},
        {"meter": "output"},
        {"tier_above": 200_000},
        {"variant": {"processing": "batch"}},
        {"tod_start": time(1), "tod_end": time(4)},
        {"tod_start": time(0), "tod_end": time(4)},
        {"weekday_mask": 0b001_1111},
        OWN,
        {"source": "other"},
    ],
    ids=lambda other: ",".join(other),
)
def test_other_prices_stand_beside(snapshot: PriceSnapshot, other: dict[str, Any]) -> None:
    price(snapshot)
    price(snapshot, **other)
    assert Price.objects.filter(meter__in=("input", "output"), provider__in=("testco", "otherco")).count() == 2


@pytest.mark.parametrize(
    ("wrong", "constraint"),
    [
        ({"unit_price": Decimal(-1)}, "not_negative"),
        ({"per": 0}, "per"),
        ({"weekday_mask": 0}, "weekdays"),
        ({"weekday_mask": 128}, "weekdays"),
        ({"tod_start": time(1)}, "hours"),
        ({"tod_start": time(1), "tod_end": time(1)}, "hours"),
        ({"effective": DateTimeTZRange(MONDAY, MONDAY + WEEK, "[]")}, "half_open"),
        ({"snapshot": None}, "origin"),
        ({"source": ""}, "origin"),
        ({"organization_id": uuid4()}, "origin"),
        ({**OWN, "source": "hand"}, "origin"),
        ({**OWN, "author_id": None}, "origin"),
        ({**OWN, "created_at": None}, "origin"),
        ({**OWN, "note": ""}, "origin"),
    ],
)
def test_impossible_prices_are_refused(snapshot: PriceSnapshot, wrong: dict[str, Any], constraint: str) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        price(snapshot, **wrong)


def test_an_organizations_own_prices_are_not_list_prices(snapshot: PriceSnapshot) -> None:
    price(snapshot, **OWN)
    assert not [row for row in list_price_rows() if row.key.provider == "testco"]


def test_rows_of_a_newer_release_are_left_out(snapshot: PriceSnapshot) -> None:
    """During a rollout the old release meets meters it has no name for; the parent's price covers them."""
    price(snapshot, meter="smell_in")
    price(snapshot)
    assert [row.key.meter for row in list_price_rows("hand")] == [Meter.INPUT]


@pytest.mark.django_db
def test_rating_asks_the_database_once(paper: PaperFeed, django_assert_num_queries: Any) -> None:
    put(paper, MONDAY, {"id": "m", "prices": [entry({"input_mtok": "5"})]})
    # The newest snapshot, its rules and its prices, within a savepoint.
    with django_assert_num_queries(5):
        assert rate("testco", "m", TOKENS, NOW).cost == 5
    with django_assert_num_queries(0):
        assert rate("testco", "m", TOKENS, NOW).cost == 5
        assert rate("testco", "other", TOKENS, NOW).reason is Reason.UNKNOWN_MODEL


@pytest.mark.usefixtures("empty_table")
def test_without_any_prices_calls_are_unpriced() -> None:
    rating = rate("openai", "gpt-4.1", TOKENS, NOW)
    assert (rating.cost, rating.reason, rating.snapshot_id) == (None, Reason.UNKNOWN_PROVIDER, None)
