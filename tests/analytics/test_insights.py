"""Forecasts that can be explained, and reasons that come to exactly what changed."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.analytics.insights import Forecast, Spent, Why, decompose, forecast, relative

# A Friday.
NOON = datetime(2026, 5, 15, 12, tzinfo=UTC)
TODAY = NOON.date()

costs = st.integers(0, 10**21).map(lambda number: Decimal(number).scaleb(-12))
groups = st.dictionaries(
    st.sampled_from("abcdef"), st.builds(Spent, costs, st.one_of(st.just(0), st.integers(0, 10**12))), max_size=6
)


@given(before=groups, after=groups)
def test_parts_come_to_the_change(before: dict[str, Spent], after: dict[str, Spent]) -> None:
    why = decompose(before, after)
    assert Fraction(why.volume) + Fraction(why.mix) + Fraction(why.price) == Fraction(why.change)
    assert why.change == sum((one.cost for one in after.values()), Decimal(0)) - sum(
        (one.cost for one in before.values()), Decimal(0)
    )


@given(before=groups, factor=st.integers(0, 50))
def test_as_many_more_of_the_same_is_volume(before: dict[str, Spent], factor: int) -> None:
    priced = {name: one for name, one in before.items() if one.tokens}
    after = {name: Spent(one.cost * factor, one.tokens * factor) for name, one in priced.items()}
    why = decompose(priced, after)
    assert abs(why.volume - why.change) <= Decimal("1e-12")
    assert abs(why.price) <= Decimal("1e-12")


@given(before=groups, factor=st.integers(0, 50))
def test_another_price_is_price(before: dict[str, Spent], factor: int) -> None:
    priced = {name: one for name, one in before.items() if one.tokens}
    after = {name: Spent(one.cost * factor, one.tokens) for name, one in priced.items()}
    if priced:
        why = decompose(priced, after)
        assert (why.volume, why.mix, why.price) == (Decimal(0), Decimal(0), why.change)


def test_a_single_token_before_takes_no_digit_away() -> None:
    before, after = {"m": Spent(Decimal("999999999.123456789012"), 1)}, {"m": Spent(Decimal("0.000000000007"), 10**12)}
    why = decompose(before, after)
    assert Fraction(why.volume) + Fraction(why.mix) + Fraction(why.price) == Fraction(why.change)
    assert why.mix == 0


def test_reasons_by_hand() -> None:
    before = {"small": Spent(Decimal(1), 100), "large": Spent(Decimal(10), 100)}
    # Twice the tokens; all that came are large ones; large ones cost a tenth less.
    after = {"small": Spent(Decimal(1), 100), "large": Spent(Decimal(27), 300)}
    assert decompose(before, after) == Why(Decimal(17), volume=Decimal(11), mix=Decimal(9), price=Decimal(-3))


def test_a_new_model_is_mix_and_a_first_period_volume() -> None:
    before = {"old": Spent(Decimal(10), 100)}
    after = {"new": Spent(Decimal(5), 100)}
    assert decompose(before, after) == Why(Decimal(-5), Decimal(0), Decimal(-5), Decimal(0))
    assert decompose({}, after) == Why(Decimal(5), Decimal(5), Decimal(0), Decimal(0))
    assert decompose(before, {}) == Why(Decimal(-10), Decimal(-10), Decimal(0), Decimal(0))


def test_calls_without_tokens_are_part_of_the_price() -> None:
    before = {"m": Spent(Decimal(10), 100), "images": Spent(Decimal(2), 0)}
    after = {"m": Spent(Decimal(10), 100), "images": Spent(Decimal(5), 0)}
    assert decompose(before, after) == Why(Decimal(3), Decimal(0), Decimal(0), Decimal(3))
    gone = {"m": Spent(Decimal(20), 200)}
    assert decompose(before, gone) == Why(Decimal(8), Decimal(10), Decimal(0), Decimal(-2))


def of_days(value: dict[int, int], back: int) -> dict[date, Decimal]:
    """The last days before today, by what a weekday costs."""
    days = (TODAY - timedelta(days=number) for number in range(1, back + 1))
    return {day: Decimal(value[day.weekday()]) for day in days}


def made(costs: dict[date, Decimal], now: datetime = NOON) -> Forecast:
    found = forecast(costs, now)
    assert found is not None
    return found


def test_days_all_alike_leave_no_doubt() -> None:
    costs = of_days(dict.fromkeys(range(7), 10), 56) | {TODAY: Decimal("4.5")}
    found = made(costs)
    assert found.so_far == Decimal("144.5")
    # Half of today and sixteen days.
    assert found.expected == found.low == found.high == pytest.approx(144.5 + 5 + 160)
    assert (found.days, found.weekdays) == (56, True)


def test_weekends_are_learnt() -> None:
    costs = of_days({0: 10, 1: 10, 2: 10, 3: 10, 4: 10, 5: 0, 6: 1}, 56)
    found = made(costs)
    # Half a Friday; of what is left of May, ten other days are workdays and three are Sundays.
    assert found.expected == pytest.approx(float(found.so_far) + 5 + 10 * 10 + 3 * 1)
    few = made(of_days(dict.fromkeys(range(7), 10), 5))
    assert (few.days, few.weekdays) == (5, False)


def test_days_unlike_widen_the_range() -> None:
    even = of_days(dict.fromkeys(range(7), 10), 56)
    uneven = {day: cost + (5 if day.day % 2 else -5) for day, cost in even.items()}
    found = made(uneven)
    assert found.low < found.expected < found.high
    assert found.low >= float(found.so_far)
    # The nearer the end, the less is open.
    late = made({**uneven, **{TODAY + timedelta(days=n): Decimal(10) for n in range(14)}}, NOON + timedelta(days=14))
    assert late.high - late.low < found.high - found.low


def test_the_last_evening_adds_next_to_nothing() -> None:
    end = datetime(2026, 5, 31, 23, 59, tzinfo=UTC)
    costs = {date(2026, 5, day): Decimal(10) for day in range(1, 32)}
    assert made(costs, end).expected == pytest.approx(310, abs=0.01)


@pytest.mark.parametrize("costs", [{}, {TODAY: Decimal(5)}, of_days(dict.fromkeys(range(7), 1), 2)])
def test_too_early_to_tell(costs: dict[date, Decimal]) -> None:
    assert forecast(costs, NOON) is None


@given(
    values=st.dictionaries(st.integers(0, 80), costs, max_size=60),
    now=st.integers(0, 2 * 365 * 24).map(lambda hours: NOON + timedelta(hours=hours)),
)
def test_never_less_than_it_has_cost(values: dict[int, Decimal], now: datetime) -> None:
    by_day = {now.date() - timedelta(days=back): cost for back, cost in values.items()}
    found = forecast(by_day, now)
    if found is not None:
        assert float(found.so_far) <= found.low <= found.expected <= found.high


def test_relative_change() -> None:
    assert relative(Decimal(4), Decimal(6)) == 0.5
    assert relative(0, 6) is None
