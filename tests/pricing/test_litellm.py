"""litellm's file: what its keys become, what is left out, and that it counts only where genai-prices has no model."""

import json
from decimal import Decimal
from typing import Any

import pytest

from apps.pricing.book import Book
from apps.pricing.feeds.base import Alias, FeedError, Listing, PriceKey, Rate, Segment
from apps.pricing.feeds.litellm import FEED, reduced
from apps.pricing.meters import Meter
from apps.pricing.rating import Reason, rate_by
from tests.pricing.paper import NOW, book_of

BATCH, FLEX, PRIORITY = (
    (("processing", "batch"),),
    (("service_tier", "flex"),),
    (("service_tier", "priority"),),
)
TOKENS = {"input_cost_per_token": "2e-7", "output_cost_per_token": "4e-7"}


def file_of(**entries: dict[str, Any]) -> bytes:
    """The file as litellm writes it: amounts are JSON numbers."""
    text = json.dumps({name.replace("__", "/"): entry for name, entry in entries.items()})
    for number in ("2e-7", "4e-7"):
        text = text.replace(f'"{number}"', number)
    return text.encode()


def listed(**entries: dict[str, Any]) -> Listing:
    return FEED.parse(reduced(file_of(**entries)))


def rates(entry: dict[str, Any], provider: str = "nebius") -> dict[tuple[Meter, int, Any], Decimal]:
    """Of one model: (meter, tier, variant) → price for the units that meter is priced in."""
    found = listed(**{f"{provider}__m": {"litellm_provider": provider, **entry}})
    return {
        (key.meter, key.tier_above, key.variant): segment.rate.unit_price for key, (segment,) in found.prices.items()
    }


def test_prices_per_token_become_prices_per_million_exactly() -> None:
    entry = {
        "mode": "chat",
        "input_cost_per_token": 1.25e-06,
        "output_cost_per_token": 0.00001,
        "cache_read_input_token_cost": 1.25e-07,
        "cache_creation_input_token_cost": 1.5625e-06,
        "cache_creation_input_token_cost_above_1hr": 2.5e-06,
        "output_cost_per_reasoning_token": 0.000011,
        "input_cost_per_audio_token": 7e-07,
        "output_cost_per_audio_token": 8e-07,
        "input_cost_per_request": 0.005,
        "search_context_cost_per_query": dict.fromkeys(("low", "medium", "high"), 0.014),
    }
    assert rates(entry) == {
        (Meter.INPUT, 0, ()): Decimal("1.25"),
        (Meter.OUTPUT, 0, ()): Decimal(10),
        (Meter.CACHE_READ, 0, ()): Decimal("0.125"),
        (Meter.CACHE_WRITE, 0, ()): Decimal("1.5625"),
        (Meter.CACHE_WRITE_1H, 0, ()): Decimal("2.5"),
        (Meter.REASONING, 0, ()): Decimal(11),
        (Meter.AUDIO_IN, 0, ()): Decimal("0.7"),
        (Meter.AUDIO_OUT, 0, ()): Decimal("0.8"),
        (Meter.REQUEST, 0, ()): Decimal(5),
        (Meter.WEB_SEARCH, 0, ()): Decimal(14),
    }


def test_tiers_and_variants() -> None:
    entry = {
        **TOKENS,
        "input_cost_per_token_above_200k_tokens": 3e-07,
        "input_cost_per_token_batches": 1e-07,
        "input_cost_per_token_above_200k_tokens_batches": 1.5e-07,
        "output_cost_per_token_flex": 2e-07,
        "output_cost_per_token_priority": 8e-07,
        "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 6e-07,
    }
    assert rates(entry) == {
        (Meter.INPUT, 0, ()): Decimal("0.2"),
        (Meter.OUTPUT, 0, ()): Decimal("0.4"),
        (Meter.INPUT, 200_000, ()): Decimal("0.3"),
        (Meter.INPUT, 0, BATCH): Decimal("0.1"),
        (Meter.INPUT, 200_000, BATCH): Decimal("0.15"),
        (Meter.OUTPUT, 0, FLEX): Decimal("0.2"),
        (Meter.OUTPUT, 0, PRIORITY): Decimal("0.8"),
        (Meter.CACHE_WRITE_1H, 200_000, ()): Decimal("0.6"),
    }


def test_tiers_with_bounds() -> None:
    tiers = [
        {"input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07, "range": [0, 256000.0]},
        {"input_cost_per_token": 2.5e-07, "output_cost_per_token": 2e-06, "range": [256000.0, 1e6]},
    ]
    assert rates({"tiered_pricing": tiers}, "dashscope") == {
        (Meter.INPUT, 0, ()): Decimal("0.05"),
        (Meter.OUTPUT, 0, ()): Decimal("0.4"),
        (Meter.INPUT, 256_000, ()): Decimal("0.25"),
        (Meter.OUTPUT, 256_000, ()): Decimal(2),
    }
    with pytest.raises(FeedError, match="tier"):
        rates({"tiered_pricing": [{"input_cost_per_token": 5e-08, "range": [1, 2]}]}, "dashscope")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"mode": "audio_transcription", "input_cost_per_second": 0.0001}, {Meter.AUDIO_SECOND: "0.36"}),
        ({"mode": "rerank", "input_cost_per_token": 0, "input_cost_per_query": 0.002}, {Meter.INPUT: "0", Meter.REQUEST: "2"}),
        ({"mode": "ocr", "ocr_cost_per_page": 0.001}, {Meter.PAGE_IN: "1"}),
        ({"mode": "audio_speech", "input_cost_per_character": 1.5e-05}, {Meter.CHARACTER_IN: "15"}),
        ({"mode": "embedding", "input_cost_per_token": 2e-08, "output_cost_per_token": 0.0}, {Meter.INPUT: "0.02", Meter.OUTPUT: "0"}),
        # Free, and the page that says so is named.
        ({"input_cost_per_token": 0.0, "output_cost_per_token": 0, "source": "https://…"}, {Meter.INPUT: "0", Meter.OUTPUT: "0"}),
        # A zero for the cache is no gift: it costs what input does.
        ({"input_cost_per_token": 2e-08, "cache_creation_input_token_cost": 0.0}, {Meter.INPUT: "0.02"}),
        # How much a search brings is not known: no price.
        ({"input_cost_per_token": 2e-08, "search_context_cost_per_query": {"low": 0.005, "high": 0.01}}, {Meter.INPUT: "0.02"}),
        # Rented capacity beside the tokens.
        ({"input_cost_per_token": 2e-08, "input_cost_per_second": 0.001}, {Meter.INPUT: "0.02"}),
    ],
)  # fmt: skip
def test_other_modes(entry: dict[str, Any], expected: dict[Meter, str]) -> None:
    assert {meter: price for (meter, _, _), price in rates(entry).items()} == {
        meter: Decimal(price) for meter, price in expected.items()
    }


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("nebius__free", {"litellm_provider": "nebius", "input_cost_per_token": 0.0, "output_cost_per_token": 0}),
        ("nebius__unknown", {"litellm_provider": "nebius", "mode": "chat"}),
        ("nebius__img", {"litellm_provider": "nebius", "mode": "image_generation", "input_cost_per_token": 1e-6}),
        # Images that no meter counts: the tokens alone would be too little.
        ("nebius__mix", {"litellm_provider": "nebius", "input_cost_per_token": 1e-6, "output_cost_per_image": 0.04}),
        ("ollama__m", {"litellm_provider": "ollama", "input_cost_per_token": 1e-6}),
        ("github_copilot__m", {"litellm_provider": "github_copilot", "input_cost_per_token": 1e-6}),
        ("bedrock__us-east-1__m", {"litellm_provider": "bedrock", "input_cost_per_token": 1e-6}),
        ("azure__eu__m", {"litellm_provider": "azure", "input_cost_per_token": 1e-6}),
        ("bedrock__*__1-month-commitment__m", {"litellm_provider": "bedrock", "input_cost_per_token": 1e-6}),
        ("together-ai-up-to-4b", {"litellm_provider": "together_ai", "input_cost_per_token": 1e-6}),
    ],
)
def test_what_is_left_out(name: str, entry: dict[str, Any]) -> None:
    kept = {"litellm_provider": "nebius", **TOKENS}
    assert {alias.canonical_model for alias in listed(**{name: entry, "nebius__kept": kept}).aliases} == {"kept"}


@pytest.mark.parametrize(
    ("key", "provider", "expected"),
    [
        ("nebius__Qwen__Qwen3-32B", "nebius", ("nebius", "Qwen/Qwen3-32B")),
        ("gemini__gemini-x", "gemini", ("google", "gemini-x")),
        ("gemini-x", "vertex_ai-language-models", ("google", "gemini-x")),
        ("us.anthropic.claude-x-v1:0", "bedrock_converse", ("aws", "us.anthropic.claude-x-v1:0")),
        ("together_ai__meta-llama__Llama", "together_ai", ("together", "meta-llama/Llama")),
        ("fireworks_ai__accounts__fireworks__models__x", "fireworks_ai", ("fireworks", "accounts/fireworks/models/x")),
        ("watsonx__ibm__granite", "watsonx", ("watsonx", "ibm/granite")),
        ("azure_ai__grok", "azure_ai", ("azure", "grok")),
    ],
)
def test_names(key: str, provider: str, expected: tuple[str, str]) -> None:
    (alias,) = listed(**{key: {"litellm_provider": provider, **TOKENS}}).aliases
    assert alias == Alias(expected[0], {"equals": expected[1]}, *expected)


def test_a_model_of_two_families_is_the_first_ones() -> None:
    cheap = {"litellm_provider": "vertex_ai", "input_cost_per_token": 1e-06}
    found = listed(vertex_ai__g=cheap, gemini__g={"litellm_provider": "gemini", "input_cost_per_token": 2e-06})
    assert {key: segments[0].rate.unit_price for key, segments in found.prices.items()} == {
        PriceKey("google", "g", Meter.INPUT): 2
    }


@pytest.mark.parametrize(
    "content",
    [
        b"no json",
        b"[]",
        b"{}",
        b'{"m": 1}',
        b'{"nebius/m": {"litellm_provider": "nebius", "input_cost_per_token": -1}}',
        b'{"nebius/m": {"litellm_provider": "nebius", "input_cost_per_token": NaN}}',
    ],
)
def test_files_that_are_not_understood_are_refused(content: bytes) -> None:
    with pytest.raises(FeedError):
        reduced(content)


@pytest.mark.parametrize(
    "document",
    [
        {"format": 0, "models": []},
        {"format": 1, "models": [{"provider": "p", "id": "m", "prices": {"cost_of_love": "1"}}]},
        {"format": 1, "models": [{"provider": "p", "id": "m", "prices": {"input_cost_per_token": "-1"}}]},
    ],
)
def test_documents_that_are_not_understood_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(FeedError):
        FEED.parse(json.dumps(document).encode())


def test_the_installed_file_is_read(second_listing: Listing) -> None:
    providers = {alias.provider for alias in second_listing.aliases}
    assert {"nebius", "sambanova", "watsonx", "databricks", "deepinfra", "dashscope", "together"} <= providers
    assert len(second_listing.prices) > 5_000
    # One price of a key; hardly a model is free.
    models: dict[tuple[str, str], Decimal] = {}
    for key, segments in second_listing.prices.items():
        assert len(segments) == 1
        model = (key.provider, key.model)
        models[model] = models.get(model, Decimal(0)) + segments[0].rate.unit_price
    free = {model for model, total in models.items() if not total}
    assert ("zai", "glm-4.5-flash") in free
    assert len(free) < 20


# --- Precedence ---


def list_of(model: str, price: str, provider: str = "testco", **dates: Any) -> Listing:
    segment = Segment(dates.get("start"), dates.get("end"), Rate(Decimal(price), 1_000_000))
    return Listing(
        [Alias(provider, {"equals": model}, provider, model)], {PriceKey(provider, model, Meter.INPUT): [segment]}
    )


def test_the_second_list_counts_where_the_first_has_no_model() -> None:
    book = book_of(list_of("a", "1"), Listing(
        [*list_of("a", "5").aliases, *list_of("b", "6").aliases], {**list_of("a", "5").prices, **list_of("b", "6").prices}
    ))  # fmt: skip
    tokens = {Meter.INPUT: 1_000_000}
    ratings = {model: rate_by(book, "testco", model, tokens, NOW) for model in "abc"}
    assert [(rating.cost, rating.rule) for rating in ratings.values()] == [
        (Decimal(1), "list:genai-prices"),
        (Decimal(6), "list:litellm"),
        (None, ""),
    ]
    # Of the names a call has, the response's counts in any list before the one asked for.
    assert rate_by(book, "testco", "b", tokens, NOW, request_model="a").cost == 6


def test_the_second_list_counts_at_times_when_the_first_has_no_price() -> None:
    book = book_of(list_of("a", "1", start=NOW), list_of("a", "5"))
    tokens = {Meter.INPUT: 1_000_000}
    assert rate_by(book, "testco", "a", tokens, NOW).cost == 1
    before = rate_by(book, "testco", "a", tokens, NOW.replace(year=2025))
    assert (before.cost, before.rule) == (Decimal(5), "list:litellm")
    alone = book_of(list_of("a", "1", start=NOW))
    assert rate_by(alone, "testco", "a", tokens, NOW.replace(year=2025)).reason is Reason.NO_METER_PRICE


def test_installed_lists_keep_their_order(book: Book, both: Book, listing: Listing) -> None:
    """Whatever genai-prices has a model for is priced as without litellm."""
    tokens = {Meter.INPUT: 1_000, Meter.OUTPUT: 100}
    for alias in listing.aliases[::23]:
        name = alias.canonical_model
        alone, together = (rate_by(each, alias.provider, name, tokens, NOW) for each in (book, both))
        if alone.rule:
            assert (together.cost, together.rule, together.lines) == (alone.cost, alone.rule, alone.lines)
    assert rate_by(both, "nebius", "Qwen/Qwen3-32B", tokens, NOW).rule == "list:litellm"
    assert rate_by(both, "ibm.watsonx.ai", "ibm/granite-3-8b-instruct", tokens, NOW).rule == "list:litellm"
