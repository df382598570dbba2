"""Reading the sums: by time, by dimension, exact, with what is not in them.

Questions about whole days of the organization are answered from its days, others from quarters of an hour. Both give
what apps.ledger.selectors.totals gives, to the last digit.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection

from apps.analytics.distributions import Distribution, counted
from apps.analytics.insights import Spent
from apps.analytics.models import Rollup, RollupState
from apps.ledger.models import METER_COLUMNS
from apps.ledger.selectors import EventFilter, Totals
from apps.pricing.meters import Meter

QUARTER = timedelta(minutes=15)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Granularity(StrEnum):
    """What stretch of time each row of an answer is about; days, weeks (from Monday) and months are a time zone's."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Dimension(StrEnum):
    """What sums can be grouped by."""

    PROJECT = "project"
    PROVIDER = "provider"
    MODEL = "model"
    CLIENT = "client"
    PROVIDER_KEY = "provider_key"
    OPERATION = "operation"
    STATUS = "status"
    ERROR = "error"


_COLUMNS: Mapping[Dimension, str] = {
    Dimension.PROJECT: "project_id",
    Dimension.PROVIDER: "provider",
    Dimension.MODEL: "model",
    Dimension.CLIENT: "client_name",
    Dimension.PROVIDER_KEY: "provider_key_id",
    Dimension.OPERATION: "operation",
    Dimension.STATUS: "ending",
    Dimension.ERROR: "error_type",
}
# Of an EventFilter, what sums can be narrowed by. The others (a session, a user) only the ledger knows.
_ANSWERED = frozenset(
    ("project_ids", "start", "end", "provider", "model", "client_name", "provider_key_id", "operation", "ending",
     "error_type")
)  # fmt: skip
Key = tuple[Any, ...]


class UnansweredError(ValueError):
    """A question that the sums can't answer; the text says what to ask instead."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What a stretch of time (None: all that was asked for) and one value of each dimension asked for come to."""

    starts_at: datetime | None
    key: Key
    totals: Totals


@dataclass(frozen=True, slots=True)
class Question:
    """Which calls, by what. `zone` is what days, weeks and months are of.

    Of the filter everything that dimensions say can be used; times must be at quarters of an hour. `days_of` is the
    time zone whose days are summed, for who asks much and has looked it up (summed_days_of).
    """

    filter: EventFilter
    zone: ZoneInfo
    granularity: Granularity | None = None
    by: tuple[Dimension, ...] = ()
    days_of: str | None = None


def as_of() -> datetime | None:
    """Everything that was committed before is in the sums; None where they were never made."""
    state = RollupState.objects.first()
    return None if state is None else state.as_of


def summed_days_of() -> str:
    """The time zone whose days there are sums of; "" where they were never made."""
    state = RollupState.objects.first()
    return "" if state is None else state.time_zone


def summed(question: Question, *, most: int = sys.maxsize) -> list[Sums]:
    """A row for each stretch of time and combination that has calls, in order; the first `most`. Raises
    UnansweredError."""
    source = _Source.of(question)
    key = ", ".join((source.period, *(_COLUMNS[each] for each in question.by)))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT * FROM (SELECT dense_rank() OVER (ORDER BY {key}) AS place, {key}, currency, {_SUMS}"
            f"  FROM analytics_rollup r WHERE {source.where}"
            f" GROUP BY {key}, currency HAVING sum(events) <> 0 OR sum(adjustments) <> 0) AS ranked"
            " WHERE place <= %(most)s ORDER BY place, currency",
            {**source.values, "most": most},
        )
        rows = [row[1:] for row in cursor.fetchall()]
    return [Sums(of[0], of[1:], _totals(parts)) for of, parts in _by_key(rows, question).items()]


def whole(question: Question) -> Totals:
    """Everything that was asked for, in one."""
    rows = summed(Question(question.filter, question.zone))
    return rows[0].totals if rows else _totals([])


def distributions(question: Question, measure: str) -> dict[tuple[datetime | None, Key], Distribution]:
    """How the calls' `durations`, `first_tokens` or `throughputs` are distributed, of each stretch and combination.

    Raises UnansweredError.
    """
    source = _Source.of(question)
    names = ", ".join((source.period, *(_COLUMNS[each] for each in question.by)))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {names}, c.bucket, sum(c.number)::bigint FROM analytics_rollup r, {counted(f'r.{measure}')} AS c"
            f" WHERE {source.where} GROUP BY {names}, c.bucket",
            source.values,
        )
        rows = cursor.fetchall()
    return {(key[0], key[1:]): Distribution.of(pairs) for key, pairs in _by_key(rows, question).items()}


def _by_key(rows: Iterable[tuple[Any, ...]], question: Question) -> dict[Key, list[Any]]:
    """The rest of each row, by the stretch of time and the dimensions that it begins with."""
    width = 1 + len(question.by)
    found: dict[Key, list[Any]] = {}
    for row in rows:
        found.setdefault(row[:width], []).append(row[width:])
    return found


def spent(question: Question) -> dict[str, dict[Key, Spent]]:
    """By currency, what calls of each combination cost and how many priced tokens they had. Raises UnansweredError."""
    source = _Source.of(question)
    names = ", ".join(("currency", *(_COLUMNS[each] for each in question.by)))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {names}, sum(cost), sum(input_tokens + output_tokens - unpriced_tokens)::bigint"
            f"  FROM analytics_rollup r WHERE {source.where} AND currency <> '' GROUP BY {names}",
            source.values,
        )
        rows = cursor.fetchall()
    found: dict[str, dict[Key, Spent]] = {}
    for currency, *key, cost, tokens in rows:
        found.setdefault(currency, {})[tuple(key)] = Spent(cost, tokens)
    return found


_SUMMED = ("events", "calls", "failed", "unpriced", "unpriced_tokens", "adjustments", "cost", "adjusted_cost")
_SUMS = ", ".join(f"sum({name})" for name in (*_SUMMED, *METER_COLUMNS.values()))


def _totals(rows: Iterable[Sequence[Any]]) -> Totals:
    """Of rows with a currency and the sums of that."""
    counts = dict.fromkeys(_SUMMED[:6], 0)
    meters: dict[Meter, int] = {}
    costs: dict[str, Decimal] = {}
    adjusted: dict[str, Decimal] = {}
    for currency, *sums in rows:
        for name, value in zip(counts, sums, strict=False):
            counts[name] += int(value)
        cost, change = sums[6:8]
        for into, amount in ((costs, cost), (adjusted, change)):
            if currency:
                into[currency] = into.get(currency, Decimal(0)) + amount
        for meter, value in zip(METER_COLUMNS, sums[8:], strict=True):
            if value:
                meters[meter] = meters.get(meter, 0) + int(value)
    return Totals(
        events=counts["events"],
        calls=counts["calls"],
        failed=counts["failed"],
        unpriced=counts["unpriced"],
        duplicates=counts["events"] - counts["calls"],
        meters=meters,
        tokens=meters.get(Meter.INPUT, 0) + meters.get(Meter.OUTPUT, 0),
        unpriced_tokens=counts["unpriced_tokens"],
        costs=costs,
        adjustments=counts["adjustments"],
        adjusted_costs={currency: amount for currency, amount in adjusted.items() if amount},
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """The rows that answer a question: SQL for their condition and for the stretch of time each belongs to."""

    where: str
    period: str
    values: dict[str, Any]

    @classmethod
    def of(cls, question: Question) -> "_Source":
        wanted = question.filter
        asked = {name for name in wanted.__struct_fields__ if getattr(wanted, name) is not None}
        if beyond := sorted(asked - _ANSWERED):
            raise UnansweredError(f"There are no sums by {', '.join(beyond)}: ask the ledger for its rows.")
        if any((moment - _EPOCH) % QUARTER for moment in (wanted.start, wanted.end) if moment is not None):
            raise UnansweredError("Times must be at full quarters of an hour, such as 10:00 or 10:15.")
        where, values = wanted.where_of("r", time="starts_at")
        where += " AND r.grain = %(grain)s"
        values["grain"] = _grain(question).value
        if wanted.project_ids is not None:
            where += " AND r.project_id = ANY(%(projects)s::uuid[])"
            values["projects"] = list(wanted.project_ids)
        period = "NULL::timestamptz"
        if question.granularity is not None:
            period = "date_trunc(%(granularity)s, r.starts_at, %(zone)s)"
            values |= {"granularity": question.granularity.value, "zone": question.zone.key}
        return cls(where, period, values)


def _grain(question: Question) -> Rollup.Grain:
    """Days where they say the same and are fewer."""
    bounds = (moment for moment in (question.filter.start, question.filter.end) if moment is not None)
    if (
        question.granularity is not Granularity.HOUR
        and question.zone.key == (summed_days_of() if question.days_of is None else question.days_of)
        and all(_is_midnight(moment, question.zone) for moment in bounds)
    ):
        return Rollup.Grain.DAY
    return Rollup.Grain.QUARTER


def _is_midnight(moment: datetime, zone: ZoneInfo) -> bool:
    local = moment.astimezone(zone)
    return datetime.combine(local.date(), time(), zone) == moment
