"""Charts, which are tables: sums over time by a dimension, and how durations are distributed over time.

Amounts of different currencies are never added: there is a chart for each.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

from apps.analytics.asking import Calls, amount
from apps.analytics.distributions import Distribution
from apps.analytics.periods import DAY
from apps.analytics.selectors import Dimension, Granularity, Sums, summed

# Series of a chart that have a colour of their own (--color-series-1 …); what others come to is one more.
COLOURS = 8
MOST_SERIES = 7
OTHERS = "All others"
SHARES = (0.5, 0.95, 0.99)
# What is measured of a call: the distribution, what it is called, and whether it is a time (ms) or a rate.
MEASURES: Mapping[str, tuple[str, str]] = {
    "durations": ("Duration", "time"),
    "first_tokens": ("Time to first token", "time"),
    "throughputs": ("Tokens a second", "rate"),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a chart and its table, and the ledger's address of what is behind it, "" for none."""

    value: Decimal | int | float | None
    query: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """`colour` 1 to COLOURS; 0 for what all others come to."""

    label: str
    colour: int
    query: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A stretch of time: its cells, one for each series; what they come to; the same stretch of the period before."""

    label: str
    query: str
    cells: Sequence[Cell]
    total: Decimal | int | None = None
    before: Decimal | int | None = None
    # Calls that the total leaves out.
    unpriced: int = 0


@dataclass(frozen=True)
class Chart:
    """`unit`: a currency, or "tokens", "calls", "durations", "first_tokens", "throughputs"."""

    unit: str
    series: Sequence[Series]
    rows: Sequence[Row]
    has_before: bool = False

    @cached_property
    def has_unpriced(self) -> bool:
        return any(row.unpriced for row in self.rows)

    @property
    def is_money(self) -> bool:
        return self.unit.isupper()


def colours(everything: Iterable[str], shown: Iterable[str]) -> dict[str, int]:
    """A colour for each name that is shown, by its place among all names in order, so that it keeps it whatever else
    is shown. Where two would have the same, the later one in order takes the next that is free."""
    places = {name: place for place, name in enumerate(sorted({*everything, *shown}, key=str.casefold))}
    found: dict[str, int] = {}
    later = []
    for name in sorted(shown, key=places.__getitem__):
        colour = places[name] % COLOURS + 1
        if colour in found.values():
            later.append(name)
        else:
            found[name] = colour
    for name in later:
        start = places[name] % COLOURS
        candidates = ((start + step) % COLOURS + 1 for step in range(COLOURS))
        found[name] = next(colour for colour in candidates if colour not in found.values())
    return found


def label_of_stretch(start: datetime, granularity: Granularity, *, with_day: bool = True) -> str:
    match granularity:
        case Granularity.HOUR:
            return f"{start:%a} {start.day} {start:%b}, {start:%H:%M}" if with_day else f"{start:%H:%M}"
        case Granularity.DAY:
            return f"{start:%a} {start.day} {start:%b}"
        case Granularity.WEEK:
            return f"Week of {start.day} {start:%b}"
        case _:
            return f"{start:%B %Y}"


def stacked(calls: Calls, dimension: Dimension, measure: str) -> list[Chart]:
    """Cost, calls or tokens over time, by a dimension: a chart for each currency, or one."""
    period, granularity = calls.period, calls.period.granularity
    rows = summed(calls.question(granularity, (dimension,)))
    before = calls.before_over_time() if granularity in (Granularity.HOUR, Granularity.DAY) else []
    units = sorted({currency for row in rows for currency in row.totals.costs}) if measure == "cost" else [measure]
    # In UTC, where the hour that clocks repeat is two.
    starts = sorted({*(start.astimezone(UTC) for start in period.starts()), *(_moment(row) for row in rows)})
    return [_stacked(calls, dimension, unit, starts, rows, before) for unit in units]


def _moment(row: Sums) -> datetime:
    assert row.starts_at is not None
    return row.starts_at.astimezone(UTC)


def _stacked(
    calls: Calls,
    dimension: Dimension,
    unit: str,
    starts: Sequence[datetime],
    rows: Iterable[Sums],
    before: Iterable[Sums],
) -> Chart:
    values: dict[datetime, dict[Any, Decimal | int]] = {start: {} for start in starts}
    whole: dict[Any, Decimal | int] = {}
    unpriced = dict.fromkeys(starts, 0)
    for row in rows:
        unpriced[_moment(row)] += row.totals.unpriced if unit.isupper() else 0
        [value] = row.key
        if part := amount(row.totals, unit):
            values[_moment(row)][value] = part
            whole[value] = whole.get(value, 0) + part
    ranked = sorted(whole, key=lambda value: (-whole[value], str(value)))
    # One that would be the only other is shown itself.
    shown = ranked if len(ranked) <= MOST_SERIES + 1 else ranked[:MOST_SERIES]
    others = ranked[len(shown) :]
    named = {value: calls.named(dimension, value) for value in shown}
    chosen = colours(calls.all_labels(dimension), [each.label for each in named.values()])
    series = [
        Series(each.label, chosen[each.label], "" if each.narrow is None else calls.rows_query(each.narrow))
        for each in named.values()
    ]
    if others:
        series.append(Series(f"{OTHERS} ({len(others)})", 0))
    length = calls.period.days * DAY
    # By the clock there, not by the hours between.
    earlier = {
        (_moment(row).astimezone(calls.zone) + length).astimezone(UTC): amount(row.totals, unit) for row in before
    }
    several_days = calls.period.days > 1
    local_starts = [moment.astimezone(calls.zone) for moment in starts]
    queries = calls.rows_queries([each.narrow for each in named.values()], local_starts)
    made = []
    for moment, start, behind in zip(starts, local_starts, queries, strict=True):
        own = values[moment]
        cells = [
            Cell(own.get(value), query if value in own else "") for value, query in zip(named, behind, strict=True)
        ]
        if others:
            cells.append(Cell(sum(own.get(value, 0) for value in others) or None))
        query = calls.rows_query(start=start) if own else ""
        label = label_of_stretch(start, calls.period.granularity, with_day=several_days)
        made.append(Row(label, query, cells, sum(own.values()), earlier.get(moment), unpriced[moment]))
    return Chart(unit, series, made, bool(earlier))


def quantiles(measure: str, found: Distribution) -> Sequence[float | None]:
    """What 50, 95 and 99 % of the calls stay below; of a rate, what they reach."""
    is_rate = MEASURES[measure][1] == "rate"
    return [found.quantile(1 - share if is_rate else share) for share in SHARES]


def lines(calls: Calls, measure: str, over_time: Mapping[datetime | None, Distribution]) -> Chart:
    """How half, 95 % and 99 % of the calls did over time."""
    granularity = calls.period.granularity
    found = {start.astimezone(UTC): each for start, each in over_time.items() if start is not None}
    rows = []
    for moment in sorted({*(start.astimezone(UTC) for start in calls.period.starts()), *found}):
        each, start = found.get(moment, Distribution()), moment.astimezone(calls.zone)
        label = label_of_stretch(start, granularity, with_day=calls.period.days > 1)
        query = calls.rows_query(start=start) if each.count else ""
        rows.append(Row(label, query, [Cell(value) for value in quantiles(measure, each)]))
    side = "reach" if MEASURES[measure][1] == "rate" else "below"
    names = (f"Half {side}", f"95% {side}", f"99% {side}")
    return Chart(measure, [Series(name, place) for place, name in enumerate(names, start=1)], rows)
