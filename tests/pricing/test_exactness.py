"""Whatever the prices, tiers, discounts and quantities: amounts are exact and the cost is their sum, rounded once."""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.book import Book, PriceList, Row
from apps.pricing.feeds.base import Alias, PriceKey, Rate
from apps.pricing.meters import INPUT_TOKENS, Meter, exclusive
from apps.pricing.rating import PLACES, Rating, Status, rate_by
from apps.pricing.terms import EVERY_MODEL, DiscountRow, Terms
from tests.pricing.paper import NOW

TENS = (1, 1_000, 1_000_000)
HOURS = (3_600, 3_600_000)
WIDE = Context(prec=120)

prices = st.decimals(min_value=0, max_value=99_999_999, places=10, allow_nan=False, allow_infinity=False)
multipliers = st.decimals(
    min_value=Decimal("0.00000001"), max_value=10, places=8, allow_nan=False, allow_infinity=False
)
quantities = st.dictionaries(st.sampled_from(list(Meter)), st.integers(min_value=0, max_value=10**12), max_size=8)
ladders = st.dictionaries(st.sampled_from([0, 1, 1_000, 200_000, 10**9]), prices, max_size=3)


def rows_of(
    ladder_by_meter: Mapping[Meter, Mapping[int, Decimal]], pers: tuple[int, ...], model: str = "m"
) -> list[Row]:
    rows: list[Row] = []
    for meter, ladder in ladder_by_meter.items():
        per = pers[len(rows) % len(pers)]
        for above, price in {0: Decimal(1), **ladder}.items():
            rows.append(Row(len(rows) + 1, PriceKey("testco", model, meter, above), None, None, Rate(price, per)))
    return rows


def book_of_rows(rows: list[Row]) -> Book:
    return Book(1, [PriceList("paper", [Alias("testco", {"equals": "m"}, "testco", "m")], rows)])


def discounted(multiplier: Decimal) -> Terms:
    return Terms(1, [], [DiscountRow(7, "testco", EVERY_MODEL, None, None, multiplier)])


def rated(book: Book, meters: Mapping[Meter, int], terms: Terms | None = None) -> Rating:
    return rate_by(book, "testco", "m", meters, NOW, terms=terms)


def total(rating: Rating) -> Decimal:
    amount = Decimal(0)
    for line in rating.lines:
        amount = WIDE.add(amount, line.amount)
    return amount


@given(st.dictionaries(st.sampled_from(list(Meter)), ladders, min_size=1), quantities, st.none() | multipliers)
def test_amounts_are_exact_and_add_up_to_the_cost(
    ladder_by_meter: dict[Meter, dict[int, Decimal]], meters: dict[Meter, int], multiplier: Decimal | None
) -> None:
    rows = rows_of(ladder_by_meter, TENS)
    unit_prices = {row.price_id: row.rate for row in rows}
    rating = rated(book_of_rows(rows), meters, None if multiplier is None else discounted(multiplier))
    for line in rating.lines:
        rate = unit_prices[line.price_id]
        assert (line.unit_price, line.per, line.multiplier) == (rate.unit_price, rate.per, multiplier)
        assert Fraction(line.amount) == Fraction(rate.unit_price) * line.quantity * Fraction(multiplier or 1) / rate.per
    if rating.lines:
        assert rating.discount_id == (None if multiplier is None else 7)
    if rating.status is Status.PRICED:
        assert rating.cost == total(rating).quantize(PLACES, ROUND_HALF_UP, WIDE)
        assert rating.cost is not None
        assert abs(Fraction(rating.cost) - sum(Fraction(line.amount) for line in rating.lines)) <= Fraction(PLACES) / 2
    else:
        assert rating.cost is None


@given(st.dictionaries(st.sampled_from(list(Meter)), ladders, min_size=1), quantities, multipliers)
def test_hours_are_exact_to_far_below_the_last_digit(
    ladder_by_meter: dict[Meter, dict[int, Decimal]], meters: dict[Meter, int], multiplier: Decimal
) -> None:
    rows = rows_of(ladder_by_meter, HOURS)
    rating = rated(book_of_rows(rows), meters, discounted(multiplier))
    for line in rating.lines:
        exact = Fraction(line.unit_price) * line.quantity * Fraction(multiplier) / line.per
        assert abs(Fraction(line.amount) - exact) <= exact / 10**50
    if rating.cost is not None:
        assert rating.cost == total(rating).quantize(PLACES, ROUND_HALF_UP, WIDE)


@given(st.dictionaries(st.sampled_from([Meter.INPUT, Meter.OUTPUT]), ladders, min_size=2), quantities)
def test_the_highest_tier_below_the_input_counts_for_all_tokens(
    ladder_by_meter: dict[Meter, dict[int, Decimal]], meters: dict[Meter, int]
) -> None:
    rows = rows_of(ladder_by_meter, (1_000_000,))
    rating = rated(book_of_rows(rows), meters)
    own, _ = exclusive(meters)
    tokens = sum(number for meter, number in own.items() if meter in INPUT_TOKENS)
    above = {row.price_id: row.key.tier_above for row in rows}
    for line in rating.lines:
        reached = [row.key.tier_above for row in rows if row.key.meter is line.meter and row.key.tier_above < tokens]
        assert above[line.price_id] == max(reached, default=0)


own_models = st.sampled_from(["m", "other", EVERY_MODEL])


@given(st.dictionaries(own_models, prices, max_size=3), st.none() | multipliers, st.integers(1, 10**9))
def test_own_price_then_list_and_a_discount_on_the_list_only(
    own: dict[str, Decimal], multiplier: Decimal | None, tokens: int
) -> None:
    book = book_of_rows(rows_of({Meter.INPUT: {}}, (1_000_000,)))
    own_rows = [
        Row(number, PriceKey("testco", model, Meter.INPUT), None, None, Rate(price, 1_000_000))
        for number, (model, price) in enumerate(own.items(), 100)
    ]
    agreed = [] if multiplier is None else [DiscountRow(7, "testco", EVERY_MODEL, None, None, multiplier)]
    rating = rated(book, {Meter.INPUT: tokens}, Terms(1, own_rows, agreed))
    (line,) = rating.lines
    chosen = own.get("m", own.get(EVERY_MODEL))
    if chosen is None:
        assert (rating.rule, line.unit_price, line.multiplier) == ("list:paper", Decimal(1), multiplier)
    else:
        assert (rating.rule, line.unit_price, line.multiplier) == ("override", chosen, None)
        assert rating.discount_id is None
    # Another organization, or one without terms, pays the list price.
    assert rated(book, {Meter.INPUT: tokens}).lines[0].unit_price == 1


@given(st.integers(-5, 5), st.integers(1, 5), st.integers(-8, 8), st.uuids())
def test_a_discount_holds_from_its_start_until_before_its_end(
    start: int, length: int, moment: int, organization_id: uuid.UUID
) -> None:
    first, last = NOW + timedelta(days=start), NOW + timedelta(days=start + length)
    terms = Terms(1, [], [DiscountRow(7, "testco", "m", first, last, Decimal("0.5"))])
    book = book_of_rows(rows_of({Meter.INPUT: {}}, (1,)))
    at = NOW + timedelta(days=moment)
    rating = rate_by(book, "testco", "m", {Meter.INPUT: 1}, at, organization_id=organization_id, terms=terms)
    assert rating.discount_id == (7 if first <= at < last else None)
