"""The feed genai-prices: its document, what becomes of it, and the corrections."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from apps.pricing.book import Book
from apps.pricing.feeds.base import FeedError, Listing, PriceKey, Rate, Segment
from apps.pricing.feeds.genai import FEED, FORMAT
from apps.pricing.meters import Meter
from apps.pricing.rating import Reason, rate_by
from tests.pricing.paper import document, entry

AUGUST_17 = datetime(2026, 8, 17, tzinfo=UTC)


def listed(*models: Mapping[str, Any]) -> dict[PriceKey, list[tuple[datetime | None, datetime | None, Decimal]]]:
    listing = FEED.parse(document(*models))
    return {
        key: [(segment.start, segment.end, segment.rate.unit_price) for segment in segments]
        for key, segments in listing.prices.items()
    }


def test_the_document_is_the_same_every_time() -> None:
    version, content = FEED.read()
    assert version == "0.2.3"
    assert (version, content) == FEED.read()
    assert json.loads(content)["format"] == FORMAT


def test_the_package_becomes_rows(listing: Listing) -> None:
    rows = [(key, segment) for key, segments in listing.prices.items() for segment in segments]
    assert len(rows) == 8155
    # 2,330 models, and 213 more names under which Azure and Google sell other vendors'.
    assert len(listing.aliases) == 2543
    assert sum(key.tier_above > 0 for key, _ in rows) == 730
    assert sum(bool(key.variant) for key, _ in rows) == 802
    # Binary fractions and repeating decimals of aggregators; the row says what was listed.
    assert sum(bool(segment.note) for _, segment in rows) == 26
    assert all(segment.rate.unit_price == round(segment.rate.unit_price, 10) for _, segment in rows)


def test_amounts_are_exact(listing: Listing) -> None:
    ((segment),) = listing.prices[PriceKey("openai", "text-embedding-3-small", Meter.INPUT)]
    assert segment == Segment(None, None, Rate(Decimal("0.02"), 1_000_000))
    (artefact,) = listing.prices[PriceKey("huggingface_together", "Qwen/Qwen3-VL-8B-Instruct", Meter.INPUT)]
    assert (artefact.rate.unit_price, artefact.note) == (Decimal("0.18"), "listed as 0.18000000000000002")


def test_dates_become_ranges_and_unchanged_prices_one_row() -> None:
    model = {
        "id": "m",
        "prices": [
            entry({"input_mtok": "5", "output_mtok": "30"}),
            entry({"input_mtok": "4", "output_mtok": "30", "cache_read_mtok": "1"}, start_date="2026-08-21"),
        ],
    }
    change = datetime(2026, 8, 21, tzinfo=UTC)
    assert listed(model) == {
        PriceKey("testco", "m", Meter.INPUT): [(None, change, Decimal(5)), (change, None, Decimal(4))],
        PriceKey("testco", "m", Meter.OUTPUT): [(None, None, Decimal(30))],
        PriceKey("testco", "m", Meter.CACHE_READ): [(change, None, Decimal(1))],
    }


def test_tiers_variants_and_hours_become_keys() -> None:
    model = {
        "id": "m",
        "prices": [
            entry({"input_mtok": {"base": "1", "tiers": [{"start": 200_000, "price": "2"}]}}),
            entry({"input_mtok": "3"}, start_time="16:30:00", end_time="00:30:00"),
        ],
        "price_variants": [
            {"when": {"processing": "batch"}, **entry({"input_mtok": "0.6"}, start_date="2026-10-14")},
            {"when": {"processing": "batch"}, **entry({"input_mtok": "0.5"})},
        ],
    }
    october = datetime(2026, 10, 14, tzinfo=UTC)
    batch = (("processing", "batch"),)
    assert listed(model) == {
        PriceKey("testco", "m", Meter.INPUT): [(None, None, Decimal(1))],
        PriceKey("testco", "m", Meter.INPUT, 200_000): [(None, None, Decimal(2))],
        PriceKey("testco", "m", Meter.INPUT, 0, (), time(16, 30), time(0, 30)): [(None, None, Decimal(3))],
        # The first variant that holds counts: the dated one hides the other from its date on.
        PriceKey("testco", "m", Meter.INPUT, 0, batch): [
            (None, october, Decimal("0.5")),
            (october, None, Decimal("0.6")),
        ],
    }


def test_a_model_without_prices_is_free() -> None:
    model = {"id": "m", "prices": [entry({}), entry({"input_mtok": "1"}, start_date="2026-08-17")]}
    assert listed(model) == {
        PriceKey("testco", "m", Meter.INPUT): [(None, AUGUST_17, Decimal(0)), (AUGUST_17, None, Decimal(1))],
        PriceKey("testco", "m", Meter.OUTPUT): [(None, AUGUST_17, Decimal(0))],
    }


@pytest.mark.parametrize(
    ("prices", "complaint"),
    [
        ([entry({"thoughts_mtok": "1"})], "no known meter"),
        ([entry({"input_mtok": "-1"})], "no price"),
        ([entry({"input_mtok": "NaN"})], "no price"),
        (
            [entry({"input_mtok": "1"}, full_moon=True, start_time="01:00:00", end_time="02:00:00")],
            "Unknown constraint",
        ),
        (
            [
                entry({"input_mtok": "1"}),
                entry({"input_mtok": "2"}, start_time="01:00:00", end_time="03:00:00"),
                entry({"input_mtok": "3"}, start_time="02:00:00", end_time="04:00:00"),
            ],
            "same hours",
        ),
        (
            [
                entry({"input_mtok": "1", "cache_read_mtok": "1"}),
                entry({"input_mtok": "2"}, start_time="01:00:00", end_time="03:00:00"),
            ],
            "ends for hours",
        ),
        ([entry({"input_mtok": {"base": "1", "tiers": [{"start": 0, "price": "2"}]}})], "no tier"),
    ],
)
def test_what_rows_can_not_say_is_refused(prices: list[dict[str, Any]], complaint: str) -> None:
    with pytest.raises(FeedError, match=complaint):
        FEED.parse(document({"id": "m", "prices": prices}))


def test_a_document_of_another_format_is_refused() -> None:
    with pytest.raises(FeedError, match="format"):
        FEED.parse(b'{"format":0,"providers":[]}')


# A million of each meter, so that the sum of a call is the price itself.
MILLION = 1_000_000


@pytest.mark.parametrize(
    ("model", "at", "price"),
    [
        # Before August 2026 there was no peak price at all.
        ("deepseek-v4-flash", datetime(2026, 7, 1, 2, tzinfo=UTC), "0.14"),
        ("deepseek-v4-pro", datetime(2026, 8, 16, 9, 59, 59, tzinfo=UTC), "0.435"),
        # From Monday 17 August on, at first on every day.
        ("deepseek-v4-flash", datetime(2026, 8, 17, 0, 59, 59, tzinfo=UTC), "0.22"),
        ("deepseek-v4-flash", datetime(2026, 8, 17, 1, tzinfo=UTC), "0.44"),
        ("deepseek-v4-flash", datetime(2026, 8, 22, 2, tzinfo=UTC), "0.44"),
        ("deepseek-v4-pro", datetime(2026, 8, 22, 6, tzinfo=UTC), "1.32"),
        # Weekends are off-peak from Sunday 23 August on.
        ("deepseek-v4-flash", datetime(2026, 8, 23, 2, tzinfo=UTC), "0.22"),
        ("deepseek-v4-flash", datetime(2026, 8, 24, 2, tzinfo=UTC), "0.44"),
        ("deepseek-v4-pro", datetime(2026, 11, 21, 7, tzinfo=UTC), "0.66"),
        ("deepseek-v4-pro", datetime(2026, 11, 23, 7, tzinfo=UTC), "1.32"),
        ("deepseek-v4-pro", datetime(2026, 11, 23, 10, tzinfo=UTC), "0.66"),
        # Prices of 10 September.
        ("deepseek-v4-flash", datetime(2026, 9, 10, 3, 59, 59, tzinfo=UTC), "0.3"),
        ("deepseek-v4-flash", datetime(2026, 9, 10, 4, tzinfo=UTC), "0.15"),
        ("deepseek-flash", datetime(2026, 9, 12, 3, tzinfo=UTC), "0.15"),
        ("deepseek-flash", datetime(2026, 9, 14, 3, tzinfo=UTC), "0.3"),
    ],
)
def test_deepseek_peak_hours(book: Book, model: str, at: datetime, price: str) -> None:
    assert rate_by(book, "deepseek", model, {Meter.INPUT: MILLION}, at).cost == Decimal(price)


def test_groq_bills_ten_seconds_at_least(book: Book) -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    short, ten, long = (
        rate_by(book, "groq", "whisper-large-v3", {Meter.AUDIO_SECOND: seconds}, at).cost for seconds in (4, 10, 11)
    )
    assert short == ten
    assert long
    assert ten
    assert long > ten
    assert rate_by(book, "groq", "whisper-large-v3", {Meter.AUDIO_SECOND: 0}, at).cost == 0


def test_free_models_cost_nothing_and_are_priced(book: Book, listing: Listing) -> None:
    free = [
        (key.provider, key.model)
        for key, segments in listing.prices.items()
        if key.meter is Meter.OUTPUT and all(segment.rate.unit_price == 0 for segment in segments)
    ]
    assert len(free) > 150
    meters = {Meter.INPUT: 1000, Meter.CACHE_READ: 10, Meter.OUTPUT: 50}
    rating = rate_by(book, "openrouter", "deepseek/deepseek-r1:free", meters, datetime(2026, 11, 1, tzinfo=UTC))
    assert (rating.cost, rating.reason) == (Decimal(0), Reason.NONE)
    assert {line.meter for line in rating.lines} == {Meter.INPUT, Meter.OUTPUT}
