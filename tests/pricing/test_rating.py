"""Rating one call: what is looked up under which name, and how quantities become amounts."""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from apps.pricing.book import Book
from apps.pricing.feeds.base import Alias, Listing, PriceKey, Rate, Segment
from apps.pricing.meters import Meter, exclusive
from apps.pricing.rating import Flag, Line, Reason, Status, rate_by
from tests.pricing.paper import NOW, book_of, key

Build = Callable[[Mapping[PriceKey, str]], Book]
IN, OUT = Meter.INPUT, Meter.OUTPUT


# --- Quantities ---


@pytest.mark.parametrize(
    ("given", "own", "beside"),
    [
        ({IN: 1200, Meter.CACHE_READ: 1000}, {IN: 200, Meter.CACHE_READ: 1000}, False),
        ({IN: 1000, Meter.CACHE_READ: 1000}, {IN: 0, Meter.CACHE_READ: 1000}, False),
        (
            {IN: 1450, Meter.CACHE_READ: 1000, Meter.CACHE_WRITE: 400, Meter.CACHE_WRITE_1H: 100},
            {IN: 50, Meter.CACHE_READ: 1000, Meter.CACHE_WRITE: 300, Meter.CACHE_WRITE_1H: 100},
            False,
        ),
        # Anthropic's own counting: the cache beside the input.
        ({IN: 50, Meter.CACHE_READ: 1000}, {IN: 50, Meter.CACHE_READ: 1000}, True),
        # Gemini's: thoughts beside the candidates.
        ({OUT: 100, Meter.REASONING: 500}, {OUT: 100, Meter.REASONING: 500}, True),
        # Audio is never beside: the input is used up, not counted twice.
        ({IN: 10, Meter.AUDIO_IN: 30}, {IN: 0, Meter.AUDIO_IN: 30}, True),
        ({IN: 20, Meter.AUDIO_IN: 5, Meter.CACHE_READ: 100}, {IN: 15, Meter.AUDIO_IN: 5, Meter.CACHE_READ: 100}, True),
        # Counted in two wholes, taken out of both once.
        (
            {IN: 100, Meter.AUDIO_IN: 40, Meter.CACHE_READ: 30, Meter.CACHE_AUDIO_READ: 10},
            {IN: 40, Meter.AUDIO_IN: 30, Meter.CACHE_READ: 20, Meter.CACHE_AUDIO_READ: 10},
            False,
        ),
        ({Meter.CACHE_READ: 7}, {Meter.CACHE_READ: 7}, False),
    ],
)
def test_quantities_are_taken_apart(given: dict[Meter, int], own: dict[Meter, int], beside: bool) -> None:
    assert exclusive(given) == (own, beside)


def test_cached_beyond_input_is_charged_beside_it_and_flagged(small_book: Build) -> None:
    book = small_book({key(IN): "3", key(Meter.CACHE_READ): "0.3"})
    rating = rate_by(book, "testco", "m", {IN: 50, Meter.CACHE_READ: 1000}, NOW)
    assert rating.cost == Decimal("0.00045")
    assert rating.flags == (Flag.COUNTED_BESIDE,)


def test_a_negative_quantity_is_an_error(book: Book) -> None:
    with pytest.raises(ValueError, match="negative"):
        rate_by(book, "openai", "gpt-5", {IN: -1}, NOW)


def test_a_time_without_zone_is_an_error(book: Book) -> None:
    with pytest.raises(ValueError, match="time zone"):
        rate_by(book, "openai", "gpt-5", {IN: 1}, datetime(2026, 1, 1))  # noqa: DTZ001


# --- Amounts ---


def test_tiny_costs_do_not_vanish(book: Book) -> None:
    rating = rate_by(book, "openai", "text-embedding-3-small", {IN: 4}, NOW)
    assert rating.cost == Decimal("0.00000008")
    assert rating.cost.as_tuple().exponent == -12


def test_the_sum_is_rounded_once_and_half_up(small_book: Build) -> None:
    # Two lines of 0.25e-12 each: rounded alone they are nothing, together half a unit of the last place.
    book = small_book({key(IN): "0.00000025", key(OUT): "0.00000025"})
    assert rate_by(book, "testco", "m", {IN: 1, OUT: 1}, NOW).cost == Decimal("1e-12")
    assert rate_by(book, "testco", "m", {IN: 1}, NOW).cost == 0


def test_huge_quantities_stay_exact(small_book: Build) -> None:
    book = small_book({key(IN): "12345678.0123456789"})
    (line,) = rate_by(book, "testco", "m", {IN: 999_999_999_999}, NOW).lines
    assert Fraction(line.amount) == Fraction("12345678.0123456789") * 999_999_999_999 / 1_000_000


def test_hours_divide_evenly_where_they_can() -> None:
    hours = Rate(Decimal("0.36"), 3600)
    book = book_of(
        Listing(
            [Alias("testco", {"equals": "m"}, "testco", "m")], {key(Meter.AUDIO_SECOND): [Segment(None, None, hours)]}
        )
    )
    assert rate_by(book, "testco", "m", {Meter.AUDIO_SECOND: 7}, NOW).cost == Decimal("0.0007")


def test_a_meter_without_price_costs_what_its_parent_does(small_book: Build) -> None:
    book = small_book({key(IN): "2", key(OUT): "8", key(Meter.CACHE_WRITE): "2.5"})
    meters = {
        IN: 1000,
        Meter.CACHE_READ: 300,
        Meter.CACHE_WRITE: 200,
        Meter.CACHE_WRITE_1H: 50,
        OUT: 90,
        Meter.REASONING: 60,
    }
    rating = rate_by(book, "testco", "m", meters, NOW)
    assert {(line.meter, line.fallback_from, line.quantity) for line in rating.lines} == {
        (IN, None, 500),
        (IN, Meter.CACHE_READ, 300),
        (Meter.CACHE_WRITE, None, 150),
        (Meter.CACHE_WRITE, Meter.CACHE_WRITE_1H, 50),
        (OUT, None, 30),
        (OUT, Meter.REASONING, 60),
    }
    assert rating.cost == Decimal("0.00282")


def test_a_meter_without_any_price_leaves_the_call_unpriced(small_book: Build) -> None:
    book = small_book({key(IN): "2"})
    rating = rate_by(book, "testco", "m", {IN: 10, Meter.WEB_SEARCH: 1}, NOW)
    assert (rating.status, rating.cost, rating.reason) == (Status.UNPRICED, None, Reason.NO_METER_PRICE)
    assert rate_by(book, "testco", "m", {IN: 10, Meter.WEB_SEARCH: 0}, NOW).status is Status.PRICED


def test_calls_are_counted_where_they_have_a_price(small_book: Build) -> None:
    with_price = small_book({key(IN): "1", key(Meter.REQUEST): "5000"})
    assert rate_by(with_price, "testco", "m", {IN: 0}, NOW).cost == Decimal("0.005")
    assert rate_by(with_price, "testco", "m", {IN: 0, Meter.REQUEST: 3}, NOW).cost == Decimal("0.015")
    without = small_book({key(IN): "1"})
    assert rate_by(without, "testco", "m", {IN: 1_000_000, Meter.REQUEST: 3}, NOW).cost == 1


def test_no_usage_is_missing_and_no_tokens_are_free(small_book: Build) -> None:
    book = small_book({key(IN): "2", key(OUT): "2"})
    assert rate_by(book, "testco", "m", {}, NOW).reason is Reason.MISSING_USAGE
    assert rate_by(book, "testco", "m", {}, NOW).cost is None
    rating = rate_by(book, "testco", "m", {IN: 0, OUT: 0}, NOW)
    assert rating.status is Status.PRICED
    assert rating.cost == 0
    assert not rating.lines


# --- Which price ---


@pytest.mark.parametrize(("tokens", "each"), [(199_999, 1), (200_000, 1), (200_001, 2), (500_001, 3)])
def test_a_tier_starts_above_its_threshold_and_counts_for_all_tokens(small_book: Build, tokens: int, each: int) -> None:
    book = small_book(
        {
            key(IN): "1",
            key(IN, tier_above=200_000): "2",
            key(IN, tier_above=500_000): "3",
            key(OUT): "10",
            key(OUT, tier_above=200_000): "20",
        }
    )
    rating = rate_by(book, "testco", "m", {IN: tokens, Meter.CACHE_READ: tokens - 7, OUT: 1}, NOW)
    output = 10 if each == 1 else 20
    assert rating.cost == Decimal(tokens * each + output) / 1_000_000


def test_variants_replace_single_prices(small_book: Build) -> None:
    batch = (("processing", "batch"),)
    book = small_book(
        {
            key(IN): "4",
            key(IN, tier_above=100): "8",
            key(OUT): "40",
            key(IN, variant=batch): "2",
            key(IN, variant=(("processing", "batch"), ("region", "eu"))): "3",
        }
    )

    def cost(variant: dict[str, str]) -> tuple[object, ...]:
        rating = rate_by(book, "testco", "m", {IN: 1_000_000, OUT: 1_000_000}, NOW, variant=variant)
        return rating.cost, rating.flags

    assert cost({}) == (48, ())
    # The variant has one price for all sizes.
    assert cost({"processing": "batch"}) == (42, ())
    assert cost({"processing": "batch", "region": "eu"}) == (43, ())
    # Anthropic's spelling of a batch; what responses say of ordinary calls; what nobody has a price for.
    assert cost({"service_tier": "batch"}) == (42, ())
    assert cost({"service_tier": "default"}) == (48, ())
    assert cost({"service_tier": "turbo"}) == (48, (Flag.VARIANT_UNKNOWN,))
    assert cost({"region": "eu"}) == (48, (Flag.VARIANT_UNKNOWN,))
    assert cost({"processing": "batch", "service_tier": "turbo"}) == (42, (Flag.VARIANT_UNKNOWN,))


def test_a_variant_before_its_time_is_priced_as_standard_and_flagged(book: Book) -> None:
    def cost(at: datetime) -> tuple[object, ...]:
        rating = rate_by(book, "openai", "gpt-4.1", {IN: 1_000_000}, at, variant={"processing": "batch"})
        return rating.cost, rating.flags

    assert cost(datetime(2026, 10, 13, 23, 59, tzinfo=UTC)) == (2, (Flag.VARIANT_UNKNOWN,))
    assert cost(datetime(2026, 10, 14, tzinfo=UTC)) == (1, ())


def test_another_vendors_discounts_are_not_the_sellers(book: Book) -> None:
    """Azure sells OpenAI's models at OpenAI's standard price; its batches are not OpenAI's."""
    batch = {"processing": "batch"}
    rating = rate_by(book, "azureopenai", "gpt-4.1", {IN: 1_000_000}, NOW, variant=batch)
    assert rating.cost == 2
    assert (rating.provider, rating.flags) == ("openai", (Flag.VARIANT_UNKNOWN,))


def test_prices_hold_from_their_date_in_any_zone(book: Book) -> None:
    def cost(at: datetime) -> Decimal | None:
        return rate_by(book, "openai", "o3", {IN: 1_000_000}, at).cost

    change = datetime(2025, 6, 10, tzinfo=UTC)
    tokyo = timezone(timedelta(hours=9))
    assert cost(change - timedelta(microseconds=1)) == 10
    assert cost(change) == 2
    assert cost(change.astimezone(tokyo)) == 2
    assert cost((change - timedelta(microseconds=1)).astimezone(tokyo)) == 10


def test_hours_may_pass_midnight_and_keep_to_weekdays(small_book: Build) -> None:
    night: dict[str, Any] = {"tod_start": time(22), "tod_end": time(2)}
    book = small_book(
        {
            key(IN): "4",
            key(IN, **night): "1",
            key(IN, "weekend", weekday_mask=0b110_0000): "2",
            key(IN, "weekend"): "6",
        }
    )

    def cost(model: str, at: datetime) -> Decimal | None:
        return rate_by(book, "testco", model, {IN: 1_000_000}, at).cost

    monday = datetime(2026, 11, 23, tzinfo=UTC)
    hours = {hour: cost("m", monday + timedelta(hours=hour)) for hour in (0, 1, 2, 21, 22, 23)}
    assert hours == {0: 1, 1: 1, 2: 4, 21: 4, 22: 1, 23: 1}
    days = [cost("weekend", monday + timedelta(days=day)) for day in range(7)]
    assert days == [6, 6, 6, 6, 6, 2, 2]


def test_a_call_in_two_currencies_has_no_sum() -> None:
    prices = {
        key(IN): [Segment(None, None, Rate(Decimal(1), 1_000_000))],
        key(OUT): [Segment(None, None, Rate(Decimal(1), 1_000_000, currency="EUR"))],
    }
    book = book_of(Listing([Alias("testco", {"equals": "m"}, "testco", "m")], prices))
    assert rate_by(book, "testco", "m", {IN: 1, OUT: 1}, NOW).cost is None


# --- Which model ---


def test_the_answering_model_counts_then_the_one_asked_for(book: Book) -> None:
    def rated(model: str, request_model: str | None) -> tuple[str, tuple[Flag, ...]]:
        rating = rate_by(book, "openai", model, {IN: 1}, NOW, request_model=request_model)
        return rating.model, rating.flags

    assert rated("gpt-4.1-mini", "gpt-4.1") == ("gpt-4.1-mini", ())
    assert rated("", "gpt-4.1") == ("gpt-4.1", (Flag.BY_REQUEST_MODEL,))
    assert rated("my-deployment", "gpt-4.1") == ("gpt-4.1", (Flag.BY_REQUEST_MODEL,))
    assert rated("GPT-4.1-20250414", None) == ("gpt-4.1", ())


@pytest.mark.parametrize(
    ("provider", "model", "request_model", "expected"),
    [
        ("gcp.gemini", "gemini-2.5-pro", None, ("google", "gemini-2.5-pro")),
        ("gemini", "models/gemini-2.5-pro", None, ("google", "gemini-2.5-pro")),
        ("vertexai", "publishers/google/models/gemini-2.5-pro", None, ("google", "gemini-2.5-pro")),
        ("vertexaianthropic", "claude-opus-4-8@20260101", None, None),
        ("aws.bedrock", "us.anthropic.claude-opus-4-8", None, None),
        ("portkey", "@openai/gpt-4.1", None, ("openai", "gpt-4.1")),
        ("gateway", "anthropic:claude-opus-4-8", None, ("anthropic", "claude-opus-4-8")),
        ("mzai", "gpt-4.1", "openai:gpt-4.1", ("openai", "gpt-4.1")),
        ("openrouter", "openai/gpt-4.1", None, ("openrouter", "openai/gpt-4.1")),
        ("huggingface", "Qwen/Qwen3-32B:groq", None, ("huggingface_groq", "Qwen/Qwen3-32B")),
        ("huggingface", "Qwen/Qwen3-32B", "Qwen/Qwen3-32B:nscale", ("huggingface_nscale", "Qwen/Qwen3-32B")),
    ],
)
def test_providers_by_their_many_names(
    book: Book, provider: str, model: str, request_model: str | None, expected: tuple[str, str] | None
) -> None:
    rating = rate_by(book, provider, model, {IN: 1}, NOW, request_model=request_model)
    assert rating.status is Status.PRICED
    if expected:
        assert (rating.provider, rating.model) == expected


def test_a_routers_open_weights_model_is_not_guessed(book: Book) -> None:
    """Many hosts serve it through OpenRouter, each at its price; OpenAI's closed models have one price."""
    assert rate_by(book, "openrouter", "deepseek/deepseek-flash-9", {IN: 1}, NOW).reason is Reason.UNKNOWN_MODEL
    rating = rate_by(book, "openrouter", "openai/text-embedding-ada-002-v2", {IN: 1}, NOW)
    assert (rating.provider, rating.flags) == ("openai", (Flag.BY_ROUTED_MODEL,))


@pytest.mark.parametrize(
    ("provider", "model", "reason"),
    [
        ("openai", "gpt-from-the-future", Reason.UNKNOWN_MODEL),
        ("openai", "", Reason.UNKNOWN_MODEL),
        ("openai", "claude-opus-4-8", Reason.UNKNOWN_MODEL),
        ("nebius", "gpt-4.1", Reason.UNKNOWN_PROVIDER),
        ("langchain", "gpt-4.1", Reason.UNKNOWN_PROVIDER),
        ("", "gpt-4.1", Reason.UNKNOWN_PROVIDER),
        ("portkey", "gpt-4.1", Reason.UNKNOWN_PROVIDER),
        ("portkey", "@openai/gpt-from-the-future", Reason.UNKNOWN_MODEL),
        ("huggingface", "Qwen/Qwen3-32B", Reason.UNKNOWN_PROVIDER),
        ("openai", "gpt-4.1" + "-" * 10_000, Reason.UNKNOWN_MODEL),
    ],
)
def test_unknown_is_unpriced_and_never_zero(book: Book, provider: str, model: str, reason: Reason) -> None:
    rating = rate_by(book, provider, model, {IN: 10, OUT: 10}, NOW)
    assert (rating.cost, rating.status, rating.reason, rating.lines) == (None, Status.UNPRICED, reason, ())


@pytest.mark.parametrize("provider", ["ollama", "llamafile", "llamacpp", "lmstudio", "vllm", "sagemaker", "Ollama"])
def test_self_hosted_models_cost_nothing(book: Book, provider: str) -> None:
    rating = rate_by(book, provider, "llama3", {IN: 10, OUT: 10}, NOW)
    assert rating.cost == 0
    assert (rating.status, rating.reason) == (Status.PRICED, Reason.SELF_HOSTED)
    assert rating.provider == provider.lower()
    through_router = rate_by(book, "litellm", "llama3", {IN: 10}, NOW, request_model=f"{provider}/llama3")
    assert through_router.reason is Reason.SELF_HOSTED


# --- The book itself ---


def test_memory_is_bounded(listing: Listing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Book, "MEMORY", 100)
    book = book_of(listing)
    for number in range(350):
        assert rate_by(book, "openai", f"made-up-{number}", {IN: 1}, NOW).reason is Reason.UNKNOWN_MODEL
        assert len(book._found) <= 100
    rate_by(book, "openai", "x" * 10_000, {IN: 1}, NOW)
    assert all(len(model) < 300 for _, model in book._found)


def test_threads_share_a_book(listing: Listing) -> None:
    book = book_of(listing)
    calls = [("openai", "gpt-4.1"), ("gemini", "gemini-2.5-pro"), ("deepseek", "deepseek-v4-pro"), ("mistral", "nope")]
    meters = {IN: 250_000, Meter.CACHE_READ: 1000, OUT: 77}
    untouched = book_of(listing)
    expected = [rate_by(untouched, *call, meters, NOW) for call in calls]
    start = threading.Barrier(4)
    results: list[bool] = []

    def work() -> None:
        start.wait()
        results.append(all([rate_by(book, *call, meters, NOW) for call in calls] == expected for _ in range(20)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 4


def test_lines_encode_as_objects_with_exact_decimals(book: Book) -> None:
    rating = rate_by(book, "openai", "text-embedding-3-small", {IN: 4}, NOW)
    (sent,) = msgspec.json.decode(msgspec.json.encode(rating.lines))
    assert sent.keys() == set(Line.__struct_fields__) - {"fallback_from", "multiplier", "discount_id"}
    assert (sent["meter"], sent["quantity"], sent["unit_price"], sent["per"]) == ("input", 4, "0.02", 1_000_000)
    assert Decimal(sent["amount"]) == Decimal("0.00000008")
