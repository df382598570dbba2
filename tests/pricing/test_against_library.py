"""Our rating from rows against the library the rows come from: every model, tier, variant and date of the package.

Deviations, all on purpose and tested elsewhere:
- `deepseek-flash`, `deepseek-v4-flash`, `deepseek-v4-pro` in DeepSeek's peak hours: the package can't say since when
  and on which days they are (test_genai.py). At other hours they are compared like all models.
- Usage that no price covers: the package leaves it out of the sum, we leave the call unpriced.
- A call that is two variants at once with two prices: the package takes the first, we leave it unpriced.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers
from genai_prices.data_units import unit_data
from genai_prices.types import ModelInfo, Provider, StartDateConstraint, TieredPrices

from apps.pricing.book import Book, Found
from apps.pricing.feeds.genai import DEEPSEEK_PEAK_MODELS, PRICE_KEYS
from apps.pricing.meters import ANCESTORS, PARENTS, Meter
from apps.pricing.rating import PLACES, Reason, Status, rate_by

USAGE_KEYS = {
    PRICE_KEYS[unit["price_key"]][0]: usage_key
    for usage_key, unit in unit_data.items()
    if unit["price_key"] in PRICE_KEYS
}
RATINGS_PER_MODEL = 4
TOLERANCE = Decimal("1e-9")


class Call(NamedTuple):
    meters: dict[Meter, int]
    at: datetime
    variant: dict[str, str]


def entries(model: ModelInfo) -> list[Any]:
    standard = model.prices if isinstance(model.prices, list) else []
    return [*standard, *(model.price_variants or ())]


def moments(model: ModelInfo) -> list[datetime]:
    """Around each of the model's dates."""
    days = [
        entry.constraint.start_date for entry in entries(model) if isinstance(entry.constraint, StartDateConstraint)
    ]
    starts = [datetime.combine(day, time(), UTC) for day in days]
    return [start + step for start in starts for step in (timedelta(seconds=-1), timedelta(), timedelta(seconds=1))]


def thresholds(model: ModelInfo) -> list[int]:
    prices = [entry.prices for entry in entries(model)]
    if not isinstance(model.prices, list):
        prices.append(model.prices)
    return [
        tier.start
        for price in prices
        for value in vars(price).values()
        if isinstance(value, TieredPrices)
        for tier in value.tiers
    ]


def any_moment(rng: random.Random) -> datetime:
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(110_000_000))


def usage(rng: random.Random, roots: set[Meter], tier_starts: list[int]) -> dict[Meter, int]:
    """Inclusive quantities of all meters under some roots, sometimes with input right at a tier's start."""
    own = {
        meter: rng.choice((0, 0, rng.randrange(1, 40), rng.randrange(1_000, 400_000)))
        for meter in Meter
        if {meter, *ANCESTORS[meter]} & roots
    }
    whole = {
        meter: quantity + sum(other for part, other in own.items() if meter in ANCESTORS[part])
        for meter, quantity in own.items()
    }
    if tier_starts and Meter.INPUT in own and rng.random() < 0.7:
        parts = whole[Meter.INPUT] - own[Meter.INPUT]
        whole[Meter.INPUT] = max(parts, rng.choice(tier_starts) + rng.choice((-1, 0, 1)))
    return whole


def calls(rng: random.Random, model: ModelInfo) -> Iterator[Call]:
    variants = [dict(variant.when) for variant in model.price_variants or ()]
    dates, tier_starts = moments(model), thresholds(model)
    plan: list[tuple[datetime, dict[str, str]]] = [(any_moment(rng), {})]
    plan += [(date, {}) for date in dates]
    plan += [(at, variant) for variant in variants for at in (*dates[:6], any_moment(rng))]
    plan += [(any_moment(rng), {"service_tier": "no such tier"})]
    while len(plan) < RATINGS_PER_MODEL:
        plan.append((any_moment(rng), {}))
    for at, variant in plan:
        priced = {
            PRICE_KEYS[price_key][0]
            for price_key, value in vars(model.get_prices(at, variant)).items()
            if value is not None
        }
        roots: set[Meter] = {meter for meter in priced if meter not in PARENTS and meter is not Meter.REQUEST}
        yield Call(usage(rng, roots or {Meter.INPUT, Meter.OUTPUT}, tier_starts), at, variant)


def names(model: ModelInfo) -> Iterator[str]:
    """The model's id and the names its rule spells out."""
    yield model.id

    def texts(clause: Any) -> Iterator[str]:
        for value in vars(clause).values():
            if isinstance(value, str):
                yield value
            else:
                for part in value:
                    yield from texts(part)

    yield from texts(model.match)


def in_peak_hours(at: datetime) -> bool:
    return time(1) <= at.time() < time(4) or time(6) <= at.time() < time(10)


def library_cost(provider: Provider, name: str, call: Call) -> Decimal:
    sent = {USAGE_KEYS[meter]: quantity for meter, quantity in call.meters.items() if meter is not Meter.REQUEST}
    return calc_price(
        Usage(**sent), name, provider_id=provider.id, genai_request_timestamp=call.at, price_context=call.variant
    ).total_price


def test_names_find_the_same_models(book: Book) -> None:
    checked = 0
    for provider in providers:
        for model in provider.models:
            for name in set(names(model)):
                # Google's resource names and OpenRouter's vendors are found by us alone (test_rating.py).
                for spelling in (name, f"{name}-20251211") if name == model.id else (name,):
                    theirs = provider.find_model(spelling, all_providers=providers)
                    ours = book.find(provider.id, spelling, None)
                    if theirs is None:
                        assert not isinstance(ours.found, Found) or ours.routed or provider.id == "google", spelling
                    else:
                        assert isinstance(ours.found, Found), f"{provider.id}:{spelling}"
                        assert ours.found.model == theirs.id
                        assert ours.found.has_variants == any(theirs is own for own in provider.models)
                        checked += 1
    assert checked > 3_500


def test_costs_are_the_same(book: Book) -> None:
    rng = random.Random(20261123)
    compared = 0
    for provider in providers:
        for model in provider.models:
            name = next(name for name in names(model) if provider.find_model(name) is model)
            for call in calls(rng, model):
                if model.id in DEEPSEEK_PEAK_MODELS and provider.id == "deepseek" and in_peak_hours(call.at):
                    continue
                rating = rate_by(book, provider.id, name, call.meters, call.at, variant=call.variant)
                theirs = library_cost(provider, name, call)
                exact = sum((line.amount for line in rating.lines), Decimal(0))
                where = f"{provider.id}:{model.id} {call}: {rating} against {theirs}"
                assert rating.status is Status.PRICED, where
                assert abs(exact - theirs) <= TOLERANCE * theirs, where
                assert rating.cost is not None
                assert abs(rating.cost - exact) <= PLACES / 2, where
                compared += 1
    assert compared > 10_000


def test_usage_without_a_price_leaves_the_call_unpriced(book: Book) -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    embedding = rate_by(book, "openai", "text-embedding-3-small", {Meter.INPUT: 10, Meter.OUTPUT: 5}, at)
    assert (embedding.cost, embedding.reason) == (None, Reason.NO_METER_PRICE)
    assert [line.meter for line in embedding.lines] == [Meter.INPUT]
    # The package prices the same call as if the output were free.
    openai = next(provider for provider in providers if provider.id == "openai")
    call = Call({Meter.INPUT: 10, Meter.OUTPUT: 5}, at, {})
    assert library_cost(openai, "text-embedding-3-small", call) == Decimal("0.0000002")


def test_two_variants_at_once_are_unpriced_only_where_their_prices_differ(book: Book) -> None:
    at = datetime(2026, 11, 1, tzinfo=UTC)
    rng = random.Random(7)
    seen = set()
    for provider in providers:
        for model in provider.models:
            whens = [dict(variant.when) for variant in model.price_variants or ()]
            for one in whens:
                for other in whens:
                    if one.keys() & other.keys():
                        continue
                    call = Call(usage(rng, {Meter.INPUT, Meter.OUTPUT}, []), at, {**one, **other})
                    rating = rate_by(book, provider.id, model.id, call.meters, call.at, variant=call.variant)
                    seen.add(rating.reason)
                    if rating.cost is None:
                        assert rating.reason is Reason.AMBIGUOUS_VARIANT
                    else:
                        theirs = library_cost(provider, model.id, call)
                        exact = sum((line.amount for line in rating.lines), Decimal(0))
                        assert exact == pytest.approx(theirs, rel=TOLERANCE)
    assert seen == {Reason.NONE, Reason.AMBIGUOUS_VARIANT}


def test_units_are_the_packages() -> None:
    for unit in unit_data.values():
        if unit["price_key"] in PRICE_KEYS:
            meter, per = PRICE_KEYS[unit["price_key"]]
            assert per == unit["per"]
            # A meter is part of exactly those whose dimensions it refines.
            wider = {
                PRICE_KEYS[other["price_key"]][0]
                for other in unit_data.values()
                if other["price_key"] in PRICE_KEYS
                and other is not unit
                and other["dimensions"].items() <= unit["dimensions"].items()
            }
            assert set(ANCESTORS[meter]) == wider
