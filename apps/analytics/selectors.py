"""Reading the sums: by time, by dimension, exact, with what is not in them.

Questions about whole days of the organization are answered from its days, others from quarters of an hour. Both give
what apps.ledger.selectors.totals gives, to the last digit.
"""

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from django.db import connection

from apps.analytics.counting import DIFFERENCES
from apps.analytics.distributions import Distribution, Gathered, sent
from apps.analytics.insights import Spent
from apps.analytics.models import DayRollup, QuarterRollup, Rollup, RollupState
from apps.ledger.models import METER_COLUMNS, Outbox
from apps.ledger.selectors import EventFilter, Totals, totals
from apps.pricing.meters import Meter

QUARTER = timedelta(minutes=15)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
# What the database's clock can tell apart.
_TICK = timedelta(microseconds=1)
# Combinations whose distributions are in memory at a time: up to some ten kilobytes each.
_PIECE = 500


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
# Of these, what rows are compared by, within their project and time.
_COMPARED = _ANSWERED - {"project_ids", "start", "end"}
# Rows that are read at once.
_CHUNK = 1_000
# Rows of the ledger not yet in the sums that are looked at with them.
MOST_NOTED = 5_000
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


def widened(wanted: EventFilter) -> EventFilter:
    """A filter that the sums can answer, of all those calls and maybe more."""
    changes = {name: None for name in wanted.__struct_fields__ if name not in _ANSWERED}
    start, end = wanted.start, wanted.end
    if start is not None:
        start -= (start - _EPOCH) % QUARTER
    if end is not None:
        end += (_EPOCH - end) % QUARTER
    return msgspec.structs.replace(wanted, start=start, end=end, **changes)


def summed(question: Question, *, most: int = sys.maxsize) -> list[Sums]:
    """A row for each stretch of time and combination that has calls, in order; the first `most`. Raises
    UnansweredError."""
    with connection.cursor() as cursor:
        return list(_sums(cursor, question, most))


def stream_sums(question: Question) -> Iterator[Sums]:
    """As `summed`, one after the other, in constant memory. In a transaction."""
    with connection.chunked_cursor() as cursor:
        yield from _sums(cursor, question, sys.maxsize)


def _sums(cursor: Any, question: Question, most: int) -> Iterator[Sums]:
    source, width = _Source.of(question), 1 + len(question.by)
    key = source.names(question)
    cursor.execute(
        f"SELECT * FROM (SELECT dense_rank() OVER (ORDER BY {key}) AS place, {key}, currency, {_SUMS}"
        f"  FROM {source.table} r WHERE {source.where}"
        f" GROUP BY {key}, currency HAVING {_HAS_CALLS}) AS ranked"
        " WHERE place <= %(most)s ORDER BY place, currency",
        {**source.values, "most": most},
    )
    rows = chain.from_iterable(iter(partial(cursor.fetchmany, _CHUNK), []))
    for _, parts in groupby(rows, key=itemgetter(0)):
        of_one = [part[1:] for part in parts]
        yield Sums(of_one[0][0], of_one[0][1:width], _totals(part[width:] for part in of_one))


def count_sums(question: Question) -> int:
    """How many rows `summed` has. Raises UnansweredError."""
    source = _Source.of(question)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*) FROM (SELECT FROM {source.table} r WHERE {source.where}"
            f" GROUP BY {source.names(question)} HAVING {_HAS_CALLS}) AS one",
            source.values,
        )
        found: int = cursor.fetchone()[0]
        return found


def grouped(question: Question, ways: Sequence[tuple[Dimension, ...]]) -> list[dict[Key, Totals]]:
    """All that was asked for by each way of grouping, in one reading of the sums. Raises UnansweredError."""
    source = _Source.of(question)
    columns = [_COLUMNS[each] for each in dict.fromkeys(chain.from_iterable(ways))]
    names = ", ".join(columns)
    sets = ", ".join(f"({', '.join((*(_COLUMNS[each] for each in way), 'currency'))})" for way in ways)
    with connection.cursor() as cursor:
        # First by everything together, which is a hundredth of the rows.
        cursor.execute(
            f"WITH together AS MATERIALIZED (SELECT {names}, currency, {_SUMS} FROM {source.table} r"
            f"  WHERE {source.where} GROUP BY {names}, currency)"
            f" SELECT GROUPING({names}), {names}, currency, {_SUMS} FROM together"
            f"  GROUP BY GROUPING SETS ({sets}) HAVING {_HAS_CALLS}",
            source.values,
        )
        rows = cursor.fetchall()
    found = []
    for way in ways:
        places = [columns.index(_COLUMNS[each]) for each in way]
        # A bit for each column that the row is not by, the last one's the least.
        absent = sum(1 << (len(columns) - 1 - place) for place in range(len(columns)) if place not in places)
        parts: dict[Key, list[Sequence[Any]]] = {}
        for mask, *rest in rows:
            if mask == absent:
                parts.setdefault(tuple(rest[place] for place in places), []).append(rest[len(columns) :])
        found.append({key: _totals(of_key) for key, of_key in parts.items()})
    return found


def whole(question: Question) -> Totals:
    """Everything that was asked for, in one."""
    rows = summed(Question(question.filter, question.zone))
    return rows[0].totals if rows else _totals([])


def current(wanted: EventFilter, zone: ZoneInfo) -> Totals:
    """apps.ledger.selectors.totals, read from the sums and from the rows that are noted for them, where these can say
    it: in a time that does not depend on how many rows match. In a snapshot."""
    try:
        found = _up_to_now(_Source.of(Question(wanted, zone)), f"r.currency, {_SUMS}", "GROUP BY r.currency")
    except UnansweredError:
        found = None
    return totals(wanted) if found is None else _totals(chain(*found))


def narrowed(wanted: EventFilter, zone: ZoneInfo) -> EventFilter:
    """The same calls, in the projects and within the time in which the sums, and the rows that are noted for them, know
    of any: who looks for the newest of them need not pass over what others called since. In a snapshot."""
    if not any(getattr(wanted, name) is not None for name in _COMPARED):
        return wanted  # the index by project and time finds them
    sums = _Source.of(Question(widened(wanted), zone))
    columns = "r.project_id, min(r.starts_at), max(r.starts_at)"
    found = _up_to_now(sums, columns, "AND r.events <> 0 GROUP BY r.project_id")
    if found is None:
        return wanted
    summed_up, *noted = found
    ends = [end for rows in noted for _, _, end in rows]
    if summed_up:
        ends.append(_end_of_last(sums, max(last for _, _, last in summed_up)))
    projects = {project for rows in found for project, _, _ in rows}
    start = min((first for rows in found for _, first, _ in rows), default=_EPOCH)
    # `end` is no part of it.
    end = max(ends, default=_EPOCH - _TICK) + _TICK
    return msgspec.structs.replace(
        wanted,
        project_ids=tuple(sorted(projects)),
        start=start if wanted.start is None else max(start, wanted.start),
        end=end if wanted.end is None else min(end, wanted.end),
    )


def _end_of_last(sums: "_Source", starts_at: datetime) -> datetime:
    """When the last quarter of an hour ends that has calls, of which the last row of these sums starts then."""
    if sums.table == DayRollup._meta.db_table:
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT max(r.starts_at) FROM {QuarterRollup._meta.db_table} r"
                f" WHERE {sums.where} AND r.events <> 0 AND r.starts_at >= %(last_day)s",
                {**sums.values, "last_day": starts_at},
            )
            [starts_at] = cursor.fetchone()
    return starts_at + QUARTER


def _up_to_now(sums: "_Source", columns: str, rest: str) -> list[list[Sequence[Any]]] | None:
    """What a SELECT of these sums finds, and then what it finds of the rows that are noted for them, if there are any.
    None where too many are, or the sums are being made anew."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(cardinality(events) + cardinality(adjustments)), 0), count(recount_project_id)"
            "  FROM ledger_outbox"
        )
        number, recounts = cursor.fetchone()
        if number > MOST_NOTED or recounts or as_of() is None:
            return None
        notes = list(Outbox.objects.all()) if number else []
        values = {
            **sums.values,
            "events": [event for note in notes for event in note.events],
            "adjustments": [adjustment for note in notes for adjustment in note.adjustments],
        }
        found = []
        for table in (sums.table, DIFFERENCES) if number else (sums.table,):
            cursor.execute(f"SELECT {columns} FROM {table} AS r WHERE {sums.where} {rest}", values)
            found.append(cursor.fetchall())
    return found


@dataclass(frozen=True, slots=True)
class Measured:
    """How calls are distributed by a measure: of each stretch of time, of combinations, and of all together."""

    over_time: Mapping[datetime | None, Distribution]
    by_key: Mapping[Key, Distribution]

    @property
    def whole(self) -> Distribution:
        return sum(self.over_time.values(), Distribution())


def distributions(
    question: Question, measures: Sequence[str], *, keys: Collection[Key] = frozenset()
) -> dict[str, Measured]:
    """By measure (`durations`, `first_tokens`, `throughputs`), in one reading of the sums; of the combinations that
    `keys` name. Raises UnansweredError."""
    source = _Source.of(question)
    names = source.names(question)
    over_time = [Gathered[datetime | None]() for _ in measures]
    by_key = [Gathered[Key]() for _ in measures]
    with connection.chunked_cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(sent(f'r.{each}') for each in measures)}, {names} FROM {source.table} r"
            f" WHERE {source.where} GROUP BY {names}",
            source.values,
        )
        while rows := cursor.fetchmany(_PIECE):
            for place in range(len(measures)):
                over_time[place].add([row[len(measures)] for row in rows], [row[place] for row in rows])
                shown = [row for row in rows if row[len(measures) + 1 :] in keys]
                by_key[place].add([row[len(measures) + 1 :] for row in shown], [row[place] for row in shown])
    return {
        measure: Measured(times.all(), of_keys.all())
        for measure, times, of_keys in zip(measures, over_time, by_key, strict=True)
    }


def spent(question: Question) -> dict[str, dict[Key, Spent]]:
    """By currency, what calls of each combination cost and how many priced tokens they had. Raises UnansweredError."""
    source = _Source.of(question)
    names = ", ".join(("currency", *(_COLUMNS[each] for each in question.by)))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {names}, sum(cost), sum(input_tokens + output_tokens - unpriced_tokens)::bigint"
            f"  FROM {source.table} r WHERE {source.where} AND currency <> '' GROUP BY {names}",
            source.values,
        )
        rows = cursor.fetchall()
    found: dict[str, dict[Key, Spent]] = {}
    for currency, *key, cost, tokens in rows:
        found.setdefault(currency, {})[tuple(key)] = Spent(cost, tokens)
    return found


_SUMMED = ("events", "calls", "failed", "unpriced", "unpriced_tokens", "adjustments", "cost", "adjusted_cost")
_SUMS = ", ".join(f"sum({name}) AS {name}" for name in (*_SUMMED, *METER_COLUMNS.values()))
_HAS_CALLS = "(sum(events) <> 0 OR sum(adjustments) <> 0)"


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
    """The rows that answer a question: their table, their condition in SQL, and the stretch of time of each."""

    table: str
    where: str
    period: str
    values: dict[str, Any]

    def names(self, question: Question) -> str:
        """What tells the question's rows apart."""
        return ", ".join((self.period, *(_COLUMNS[each] for each in question.by)))

    @classmethod
    def of(cls, question: Question) -> "_Source":
        wanted = question.filter
        asked = {name for name in wanted.__struct_fields__ if getattr(wanted, name) is not None}
        if beyond := sorted(asked - _ANSWERED):
            raise UnansweredError(f"There are no sums by {', '.join(beyond)}: leave that out, or ask for calls.")
        if any((moment - _EPOCH) % QUARTER for moment in (wanted.start, wanted.end) if moment is not None):
            raise UnansweredError("Times must be at full quarters of an hour, such as 10:00 or 10:15.")
        where, values = wanted.where_of("r", time="starts_at")
        if wanted.project_ids is not None:
            where += " AND r.project_id = ANY(%(projects)s::uuid[])"
            values["projects"] = list(wanted.project_ids)
        period = "NULL::timestamptz"
        if question.granularity is not None:
            period = "date_trunc(%(granularity)s, r.starts_at, %(zone)s)"
            values |= {"granularity": question.granularity.value, "zone": question.zone.key}
        return cls(_table(question)._meta.db_table, where, period, values)


def _table(question: Question) -> type[Rollup]:
    """Days where they say the same and are fewer."""
    bounds = (moment for moment in (question.filter.start, question.filter.end) if moment is not None)
    if (
        question.granularity is not Granularity.HOUR
        and question.zone.key == (summed_days_of() if question.days_of is None else question.days_of)
        and all(_is_midnight(moment, question.zone) for moment in bounds)
    ):
        return DayRollup
    return QuarterRollup


def _is_midnight(moment: datetime, zone: ZoneInfo) -> bool:
    local = moment.astimezone(zone)
    return datetime.combine(local.date(), time(), zone) == moment
