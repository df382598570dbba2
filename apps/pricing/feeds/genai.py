"""The feed genai-prices (github.com/pydantic/genai-prices): the data that ships in the installed package.

The package holds Python objects. They become one JSON document, in the shape of the project's own
`data.json` cut down to what prices depend on, amounts as strings; the snapshot stores that document. What the
project's format can't say is corrected before (`_corrected`), so a changed correction is a changed document.

How the package chooses a price, and what therefore becomes of it here:
- Of a model's dated or time-of-day entries the last that holds wins, whole. Entries with a date become
  effective ranges, entries with a time of day rows with a window, which win over rows without.
- A variant (batch, a service tier) replaces single prices of the entry.
- A tier's price counts for all tokens of a call with more input tokens than its start.
- The first model of a provider whose rule matches is the one; a provider without a match may refer to others.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from importlib.metadata import version
from typing import Any, NamedTuple

from apps.pricing.feeds import wheels
from apps.pricing.feeds.base import EVERY_DAY, Alias, FeedError, Listing, PriceKey, Rate, Segment, Variant, unit_price
from apps.pricing.feeds.literals import Constructor, read_literal
from apps.pricing.meters import Meter

PACKAGE = "genai-prices"
MEMBER = "genai_prices/data.py"
# Raised when the same document is to give other rows, so that it counts as news.
FORMAT = 1

# The package's price keys: the meter, and how many units the price is for (genai_prices.data_units).
PRICE_KEYS: Mapping[str, tuple[Meter, int]] = {
    "input_mtok": (Meter.INPUT, 1_000_000),
    "output_mtok": (Meter.OUTPUT, 1_000_000),
    "cache_read_mtok": (Meter.CACHE_READ, 1_000_000),
    "cache_write_mtok": (Meter.CACHE_WRITE, 1_000_000),
    "cache_write_1h_mtok": (Meter.CACHE_WRITE_1H, 1_000_000),
    "output_reasoning_mtok": (Meter.REASONING, 1_000_000),
    "output_citation_mtok": (Meter.CITATION, 1_000_000),
    "input_audio_mtok": (Meter.AUDIO_IN, 1_000_000),
    "output_audio_mtok": (Meter.AUDIO_OUT, 1_000_000),
    "cache_audio_read_mtok": (Meter.CACHE_AUDIO_READ, 1_000_000),
    "input_image_mtok": (Meter.IMAGE_IN, 1_000_000),
    "output_image_mtok": (Meter.IMAGE_OUT, 1_000_000),
    "cache_image_read_mtok": (Meter.CACHE_IMAGE_READ, 1_000_000),
    "input_video_mtok": (Meter.VIDEO_IN, 1_000_000),
    "output_video_mtok": (Meter.VIDEO_OUT, 1_000_000),
    "input_mchars": (Meter.CHARACTER_IN, 1_000_000),
    "input_text_messages_kcount": (Meter.MESSAGE_IN, 1_000),
    "audio_hours": (Meter.AUDIO_SECOND, 3_600),
    "input_audio_hours": (Meter.AUDIO_SECOND_IN, 3_600),
    "input_document_kpages": (Meter.PAGE_IN, 1_000),
    "input_annotated_document_kpages": (Meter.ANNOTATED_PAGE_IN, 1_000),
    "web_searches_kcount": (Meter.WEB_SEARCH, 1_000),
    "storage_searches_kcount": (Meter.STORAGE_SEARCH, 1_000),
    "requests_kcount": (Meter.REQUEST, 1_000),
}
# An entry without any price is a free model. Said outright: no row means unknown.
FREE: Mapping[str, str] = {"input_mtok": "0", "output_mtok": "0"}

_Entry = dict[str, Any]


class GenaiFeed:
    source = PACKAGE

    def read(self) -> tuple[str, bytes]:
        # A megabyte of literals, for the rare import only.
        from genai_prices.data import providers

        return version(PACKAGE), _document(providers)

    def newest(self) -> tuple[str, bytes]:
        with wheels.downloaded(PACKAGE) as wheel:
            return wheel.version, _document(read_module(wheel.member(MEMBER)))

    def parse(self, document: bytes) -> Listing:
        content = json.loads(document)
        if content.get("format") != FORMAT:
            raise FeedError(f"The document's format is {content.get('format')!r}, not {FORMAT}.")
        prices: dict[PriceKey, Sequence[Segment]] = {}
        for provider in content["providers"]:
            for model in provider["models"]:
                prices.update(_prices(provider["id"], model))
        return Listing(list(_aliases(content["providers"])), prices)


FEED = GenaiFeed()


# --- The package's objects → the document ---


def read_module(source: bytes) -> Any:
    """The providers of a downloaded `data.py`, read without running it (literals.py).

    Constructors are the installed package's: a newer module that needs other ones is a FeedError, and asks for the
    newer package.
    """
    from genai_prices import types

    known = (
        types.ClauseAnd,
        types.ClauseContains,
        types.ClauseEndsWith,
        types.ClauseEquals,
        types.ClauseOr,
        types.ClauseRegex,
        types.ClauseStartsWith,
        types.ConditionalPrice,
        types.ModelInfo,
        types.ModelPrice,
        types.PriceVariant,
        types.Provider,
        types.StartDateConstraint,
        types.Tier,
        types.TieredPrices,
        types.TimeOfDateConstraint,
    )
    constructors: dict[str, Constructor] = {constructor.__name__: constructor for constructor in known}
    # How the package reads responses: nothing that a price depends on.
    constructors |= dict.fromkeys(("ArrayMatch", "UsageExtractor", "UsageExtractorMapping"), _passed_over)
    constructors |= {"Decimal": Decimal, "datetime.date": date, "datetime.time": time}
    try:
        text = source.decode()
    except UnicodeDecodeError as error:
        raise FeedError(f"The module is no text: {error}.") from error
    return read_literal(text, "providers", constructors, {"datetime.UTC": UTC})


def _passed_over(**_: Any) -> None:
    """Stands in for what is not needed."""


def _document(providers: Sequence[Any]) -> bytes:
    document = {"format": FORMAT, "providers": [_corrected(_provider(provider)) for provider in providers]}
    return json.dumps(document, separators=(",", ":")).encode()


def _provider(provider: Any) -> dict[str, Any]:
    return {
        "id": provider.id,
        "fallback_model_providers": provider.fallback_model_providers or [],
        "models": [
            {
                "id": model.id,
                "match": _plain(model.match),
                "prices": _entries(model.prices),
                "price_variants": [{"when": variant.when, **_entry(variant)} for variant in model.price_variants or ()],
            }
            for model in provider.models
        ],
    }


def _entries(prices: Any) -> list[_Entry]:
    if isinstance(prices, list):
        return [_entry(conditional) for conditional in prices]
    return [{"constraint": {}, "prices": _plain(vars(prices))}]


def _entry(conditional: Any) -> _Entry:
    constraint = conditional.constraint
    return {
        "constraint": {} if constraint is None else _plain(constraint),
        "prices": _plain(vars(conditional.prices)),
    }


def _plain(value: Any) -> Any:
    """Dataclasses of the package as JSON: `or_` is `or`, absent prices are left out, exact amounts are text."""
    if is_dataclass(value):
        return {field.name.rstrip("_"): _plain(getattr(value, field.name)) for field in fields(value)}
    match value:
        case Decimal():
            return str(value)
        case str() | int():
            return value
        case time():
            if value.utcoffset():
                raise FeedError(f"A time of day that is not UTC: {value}.")
            return value.replace(tzinfo=None).isoformat()
        case date():
            return value.isoformat()
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items() if item is not None}
    raise FeedError(f"The package holds {value!r}, which has no place in the document.")


# --- Corrections: what the package's format can't express ---

# DeepSeek bills peak hours at twice the off-peak price since 2026-08-17, every day until 2026-08-22 and from
# Monday to Friday since. A constraint of the package is a date or a time of day, not both, and knows no days of
# the week, so it bills the latest peak price in those hours of every day that ever was
# (genai-prices pull request 581 and issue 582, which quote api-docs.deepseek.com/quick_start/pricing).
# Chinese public holidays are off-peak too; that is not modelled, peak prices are an upper bound on them.
DEEPSEEK_PEAK_SINCE = "2026-08-17"
DEEPSEEK_WEEKENDS_SINCE = "2026-08-23"
DEEPSEEK_PEAK_HOURS = (("01:00:00", "04:00:00"), ("06:00:00", "10:00:00"))
DEEPSEEK_PEAK_MODELS = ("deepseek-flash", "deepseek-v4-flash", "deepseek-v4-pro")
MONDAY_TO_FRIDAY = 0b001_1111

# Groq bills at least ten seconds of a transcription (the package's calc_price has this in code).
GROQ_MINIMUM_SECONDS = 10
GROQ_MINIMUM_MODELS = ("whisper-large-v3", "whisper-large-v3-turbo")


def _corrected(provider: dict[str, Any]) -> dict[str, Any]:
    for model in provider["models"]:
        match provider["id"]:
            case "deepseek" if model["id"] in DEEPSEEK_PEAK_MODELS:
                model["prices"] = _deepseek_entries(model["id"], model["prices"])
            case "groq" if model["id"] in GROQ_MINIMUM_MODELS:
                model["minimum"] = dict.fromkeys(("audio_hours", "input_audio_hours"), GROQ_MINIMUM_SECONDS)
    return provider


def _deepseek_entries(model: str, listed: list[_Entry]) -> list[_Entry]:
    """The off-peak entries as listed, each followed by its own peak hours."""
    off_peak = [entry for entry in listed if "start_time" not in entry["constraint"]]
    peaks = [entry for entry in listed if "start_time" in entry["constraint"]]
    hours = tuple((peak["constraint"]["start_time"], peak["constraint"]["end_time"]) for peak in peaks)
    newest = _doubled(off_peak[-1]["prices"])
    if hours != DEEPSEEK_PEAK_HOURS or any(_exact(peak["prices"]) != _exact(newest) for peak in peaks):
        raise FeedError(f"The feed's peak prices of {model} changed: look at the correction for them again.")
    # Off-peak prices by their first day; a model that came after the change has one, without a date.
    since = {entry["constraint"].get("start_date", ""): entry["prices"] for entry in off_peak}
    if before := [start for start in since if DEEPSEEK_PEAK_SINCE <= start < DEEPSEEK_WEEKENDS_SINCE]:
        since.setdefault(DEEPSEEK_WEEKENDS_SINCE, since[max(before)])
    entries: list[_Entry] = []
    for start, prices in sorted(since.items()):
        dated = {"start_date": start} if start else {}
        entries.append({"constraint": dated, "prices": prices})
        if start >= DEEPSEEK_PEAK_SINCE or len(since) == 1:
            days = EVERY_DAY if start and start < DEEPSEEK_WEEKENDS_SINCE else MONDAY_TO_FRIDAY
            entries += [
                {
                    "constraint": {**dated, "start_time": first, "end_time": last, "weekdays": days},
                    "prices": _doubled(prices),
                }
                for first, last in DEEPSEEK_PEAK_HOURS
            ]
    return entries


def _doubled(prices: Mapping[str, str]) -> dict[str, str]:
    return {key: str(2 * Decimal(price)) for key, price in prices.items()}


def _exact(prices: Mapping[str, str]) -> dict[str, Decimal]:
    return {key: Decimal(price) for key, price in prices.items()}


# --- The document → match rules ---


def _aliases(providers: Sequence[Mapping[str, Any]]) -> Iterator[Alias]:
    """Each provider's own models in their order, then those of the providers it falls back to."""
    by_id = {provider["id"]: provider for provider in providers}
    for provider in providers:
        for owner in (provider, *(by_id[other] for other in provider["fallback_model_providers"])):
            for model in owner["models"]:
                yield Alias(provider["id"], model["match"], owner["id"], model["id"])


# --- The document → price rows ---


class _Window(NamedTuple):
    start: time | None = None
    end: time | None = None
    weekdays: int = EVERY_DAY


class _Price(NamedTuple):
    """One entry's price of one price key. `value` None: the entry has none, its parent's price counts."""

    since: date | None
    window: _Window | None
    value: Any


class _Tier(NamedTuple):
    above: int
    price: str


def _prices(provider: str, model: Mapping[str, Any]) -> Iterator[tuple[PriceKey, Sequence[Segment]]]:
    """The model's rows: standard prices, then one set a variant."""
    yield from _rows(provider, model, (), [_priced(entry) for entry in reversed(model["prices"])])
    variants: dict[Variant, list[_Entry]] = {}
    for entry in model["price_variants"]:
        variants.setdefault(tuple(sorted(entry["when"].items())), []).append(entry)
    for variant, entries in variants.items():
        yield from _rows(provider, model, variant, entries)


def _priced(entry: _Entry) -> _Entry:
    return entry if entry["prices"] else {**entry, "prices": FREE}


def _rows(
    provider: str, model: Mapping[str, Any], variant: Variant, entries: Sequence[_Entry]
) -> Iterator[tuple[PriceKey, Sequence[Segment]]]:
    """One price key and tier a row. `entries` by precedence, the first that holds wins."""
    where = f"{provider}:{model['id']}"
    for price_key in dict.fromkeys(key for entry in entries for key in entry["prices"]):
        if price_key not in PRICE_KEYS:
            raise FeedError(f"{where} has a price for {price_key}, which is no known meter.")
        meter, per = PRICE_KEYS[price_key]
        minimum = model.get("minimum", {}).get(price_key, 0)
        # A variant replaces only the prices it names; a standard entry replaces all.
        choice = [_price(entry, price_key) for entry in entries if price_key in entry["prices"] or not variant]
        segments: dict[PriceKey, list[Segment]] = {}
        for start, end, window, value in _timeline(where, choice):
            for tier in _tiers(value):
                price, note = unit_price(tier.price, f"{where} {price_key}")
                key = PriceKey(provider, model["id"], meter, tier.above, variant, *window)
                segment = Segment(start, end, Rate(price, per, minimum), note)
                _append(segments.setdefault(key, []), segment)
        yield from segments.items()


def _append(segments: list[Segment], segment: Segment) -> None:
    """Adds what comes next in time; a rate that goes on unchanged is one segment."""
    if segments and segments[-1].end == segment.start and segments[-1].rate == segment.rate:
        segment = segments.pop().until(segment.end)
    segments.append(segment)


def _price(entry: _Entry, price_key: str) -> _Price:
    constraint = dict(entry["constraint"])
    since = constraint.pop("start_date", None)
    window = None
    if constraint:
        window = _Window(
            time.fromisoformat(constraint.pop("start_time")),
            time.fromisoformat(constraint.pop("end_time")),
            constraint.pop("weekdays", EVERY_DAY),
        )
    if constraint:
        raise FeedError(f"Unknown constraint on a price: {entry['constraint']!r}.")
    return _Price(date.fromisoformat(since) if since else None, window, entry["prices"].get(price_key))


def _timeline(where: str, choice: Sequence[_Price]) -> Iterator[tuple[datetime | None, datetime | None, _Window, Any]]:
    """(from, to, window, value) in order of time: between two dates the same prices are to choose from."""
    days = sorted({price.since for price in choice if price.since})
    for first, last in itertools.pairwise([None, *days, None]):
        windows: list[_Price] = []
        base = None
        for price in choice:
            if price.since is None or (first is not None and price.since <= first):
                if price.window is None:
                    base = price.value
                    break
                windows.append(price)
        start, end = _midnight(first), _midnight(last)
        if base is not None:
            yield start, end, _Window(), base
        for window in windows:
            if window.value is None and base is not None:
                raise FeedError(f"{where} has a price that ends for hours of the day: no row can say that.")
            if any(_overlap(window, other) for other in windows if other is not window):
                raise FeedError(f"{where} has two prices for the same hours.")
            if window.window and window.value is not None:
                yield start, end, window.window, window.value


def _overlap(one: _Price, other: _Price) -> bool:
    assert one.window
    assert other.window
    return bool(one.window.weekdays & other.window.weekdays) and any(
        _within(moment, window)
        for moment, window in ((one.window.start, other.window), (other.window.start, one.window))
    )


def _within(moment: time | None, window: _Window) -> bool:
    assert moment is not None
    assert window.start is not None
    assert window.end is not None
    if window.start <= window.end:
        return window.start <= moment < window.end
    return moment >= window.start or moment < window.end


def _midnight(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), UTC)


def _tiers(value: str | Mapping[str, Any]) -> list[_Tier]:
    if isinstance(value, str):
        return [_Tier(0, value)]
    if any(tier["start"] <= 0 for tier in value["tiers"]):
        raise FeedError(f"A tier that is no tier: {value!r}.")
    return [_Tier(0, value["base"]), *(_Tier(tier["start"], tier["price"]) for tier in value["tiers"])]
