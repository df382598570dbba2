"""What can be said about sums beyond the sums: how a month will end, and why a cost changed. No database here.

Amounts of money that are facts are Decimal and exact. A forecast is an estimate, made of floats, and is named one.
"""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from statistics import fmean, stdev
from typing import TypeVar

# Days that a forecast looks back, today not among them: eight of each weekday.
HISTORY = 56
# Of these, how many the level of spending is taken from, and how many there must be to say anything.
LEVEL, LEAST = 28, 3
# From how many days on weekdays are told apart: two of each.
WEEKDAYS_FROM = 14
# Eight of ten values of a normal distribution lie within so many standard deviations of its mean.
EIGHT_OF_TEN = 1.2816
# More than any part of a cost can have: a few tokens before and very many now make long ones.
DIGITS = 100

Group = TypeVar("Group", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Forecast:
    """Of a month: what it has cost until now, exact, and estimates of what it will, with eight of ten outcomes between
    `low` and `high`. `weekdays` says whether they were told apart, `days` how many days it was learnt from."""

    so_far: Decimal
    expected: float
    low: float
    high: float
    days: int
    weekdays: bool


def forecast(costs: Mapping[date, Decimal], now: datetime) -> Forecast | None:
    """Of the month that the (local) time `now` lies in; None while fewer than LEAST whole days are known.

    `costs` by day: of this month and of HISTORY days before today; a day that is missing cost nothing. Each weekday
    has a factor: its mean over the mean of all days of the last eight weeks. The level is the mean of the last four
    weeks' days, each divided by its factor. A day to come costs level · factor, of today what is left of it. The
    range is made of how far the days of those weeks lie from the level, of the days to come and of the level itself.
    """
    today = now.date()
    first = min(
        (day for day, cost in costs.items() if cost > 0 and day >= today - timedelta(days=HISTORY)), default=today
    )
    known = [today - timedelta(days=back) for back in range((today - first).days, 0, -1)]
    if len(known) < LEAST:
        return None
    values = {day: float(costs.get(day, 0)) for day in known}
    factors = _weekday_factors(values)
    # A weekday on which nothing happens says nothing about the level.
    level_days = [values[day] / factors[day.weekday()] for day in known[-LEVEL:] if factors[day.weekday()]]
    if len(level_days) < 2:
        return None
    level, spread = max(0.0, fmean(level_days)), stdev(level_days)

    month = today.replace(day=1)
    so_far = sum((cost for day, cost in costs.items() if month <= day <= today), Decimal(0))
    midnight = datetime.combine(today + timedelta(days=1), time(), now.tzinfo)
    weights = [factors[today.weekday()] * ((midnight - now) / timedelta(days=1))]
    day = today + timedelta(days=1)
    while day.month == month.month:
        weights.append(factors[day.weekday()])
        day += timedelta(days=1)
    whole = sum(weights)
    deviation = spread * math.sqrt(sum(weight * weight for weight in weights) + whole * whole / len(level_days))
    rest = level * whole
    return Forecast(
        so_far=so_far,
        expected=float(so_far) + rest,
        low=float(so_far) + max(0.0, rest - EIGHT_OF_TEN * deviation),
        high=float(so_far) + rest + EIGHT_OF_TEN * deviation,
        days=len(known),
        weekdays=len(known) >= WEEKDAYS_FROM,
    )


def _weekday_factors(values: Mapping[date, float]) -> list[float]:
    """From Monday. All 1 where there are too few days to tell them apart."""
    mean = fmean(values.values())
    if len(values) < WEEKDAYS_FROM or not mean:
        return [1.0] * 7
    by_weekday: list[list[float]] = [[] for _ in range(7)]
    for day, value in values.items():
        by_weekday[day.weekday()].append(value)
    return [fmean(own) / mean for own in by_weekday]


@dataclass(frozen=True, slots=True)
class Spent:
    """What calls cost, and how many tokens of theirs have a price."""

    cost: Decimal
    tokens: int


@dataclass(frozen=True, slots=True)
class Why:
    """The change of a cost in three parts, which come to exactly `change`."""

    change: Decimal
    volume: Decimal
    mix: Decimal
    price: Decimal


def decompose(before: Mapping[Group, Spent], after: Mapping[Group, Spent]) -> Why:
    """Why the cost of two periods differs, by groups that have a price per token each (models).

    The price-volume-mix analysis of management accounting. With a group's cost c and tokens q, all groups' C and Q,
    and p = c / q, of the periods 0 and 1:

        volume = (Q1 - Q0) · C0 / Q0            as many tokens more, at what a token cost on average
        price  = Σ q1 · (p1 - p0)               each model's tokens, at what its own cost more per token
        mix    = Q1 · (Σ (q1 / Q1) · p0 - C0 / Q0)    other models, at the old prices; a new one at its own

    They add up to C1 - C0. Groups without any token have no p: they are in none of these sums, and what their cost
    changed is part of `price`. Volume and price are rounded to 12 places, as costs are, and the mix is what remains.
    Where there were no tokens before, all is volume.
    """
    change = _cost(after) - _cost(before)
    tokens_before, tokens_after = _tokens(before), _tokens(after)
    if not tokens_before:
        return Why(change, change, Decimal(0), Decimal(0))
    prices = {group: Fraction(one.cost) / one.tokens for group, one in before.items() if one.tokens}
    average = Fraction(_cost({group: before[group] for group in prices})) / tokens_before
    volume = (tokens_after - tokens_before) * average
    price = Fraction(0)
    for sign, groups in ((-1, before), (1, after)):
        price += sign * Fraction(_cost({group: one for group, one in groups.items() if not one.tokens}))
    for group, now in after.items():
        if now.tokens and group in prices:
            price += Fraction(now.cost) - now.tokens * prices[group]
    with localcontext(prec=DIGITS):
        exact_volume, exact_price = _rounded(volume), _rounded(price)
        return Why(change, exact_volume, change - exact_volume - exact_price, exact_price)


def relative(before: Decimal | float, after: Decimal | float) -> float | None:
    """By what share of `before` it changed: 0.5 is half more. None where nothing was before."""
    return float(after) / float(before) - 1 if before else None


def _cost(groups: Mapping[Group, Spent]) -> Decimal:
    return sum((one.cost for one in groups.values()), Decimal(0))


def _tokens(groups: Mapping[Group, Spent]) -> int:
    return sum(one.tokens for one in groups.values())


def _rounded(value: Fraction) -> Decimal:
    return Decimal(round(value * 10**12)).scaleb(-12)
