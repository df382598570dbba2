"""Counting the ledger's rows into sums, in SQL: each row brings a difference, and differences are added.

An event brings what it came in with, an adjustment what it changed, so it does not matter in which order or in how many
steps they are counted. Statements materialize what they read before they insert it, as sharding by schema demands.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from apps.analytics.distributions import EMPTY, entry, merged
from apps.analytics.models import DayRollup, QuarterRollup, Rollup
from apps.ledger.models import METER_COLUMNS

_METERS = tuple(METER_COLUMNS.values())
DIMENSIONS = (
    "project_id", "provider", "model", "client_name", "provider_key_id", "operation", "ending", "error_type",
    "currency",
)  # fmt: skip
SUMS = ("events", "calls", "failed", "unpriced", "unpriced_tokens", *_METERS, "cost", "adjustments", "adjusted_cost")
DISTRIBUTIONS = ("durations", "first_tokens", "throughputs")
_OF_A_CALL = {
    "durations": "e.total_duration_ms",
    "first_tokens": "e.time_to_first_token_ms",
    "throughputs": "e.tokens_per_second",
}

_TOKENS = "coalesce({0}.input_tokens, 0) + coalesce({0}.output_tokens, 0)"


def _listed(*names: str) -> str:
    return ", ".join(names)


def _of_event(names: tuple[str, ...]) -> str:
    return _listed(*(f"e.{name}" for name in names))


def _entries(weight: str) -> str:
    return _listed(*(f"{entry(value, weight)} AS {name}" for name, value in _OF_A_CALL.items()))


# What an event came in with. Of a duplicate nothing but the row counts.
_EVENTS = f"""
    SELECT {_of_event(DIMENSIONS)}, e.occurred_at, 1 AS events, own.calls,
           (e.price_status = 'failed')::int AS failed, (e.price_status = 'unpriced')::int AS unpriced,
           CASE WHEN e.price_status = 'unpriced' THEN {_TOKENS.format("e")} ELSE 0 END AS unpriced_tokens,
           {_listed(*(f"coalesce(e.{name}, 0) * own.calls AS {name}" for name in _METERS))},
           coalesce(e.cost, 0) AS cost, 0 AS adjustments, 0::numeric AS adjusted_cost, {_entries("own.calls")}
      FROM ledger_usageevent e
     CROSS JOIN LATERAL (SELECT (e.price_status <> 'duplicate')::int AS calls) AS own
     WHERE {{events}}
"""
# What an adjustment changed. Whether the call failed or was unpriced before, its last one says, or the event.
_ADJUSTMENTS = f"""
    SELECT {_of_event(DIMENSIONS[:-1])}, a.currency, e.occurred_at, 0, a.calls,
           (a.price_status = 'failed')::int - (before.status = 'failed')::int, a.unpriced,
           CASE WHEN a.price_status = 'unpriced' THEN before.tokens + {_TOKENS.format("a")} ELSE 0 END
             - CASE WHEN before.status = 'unpriced' THEN before.tokens ELSE 0 END,
           {_listed(*(f"coalesce(a.{name}, 0)" for name in _METERS))},
           coalesce(a.cost, 0), 1, coalesce(a.cost, 0), {_entries("a.calls")}
      FROM ledger_adjustment a JOIN ledger_usageevent e ON e.id = a.event_id
     CROSS JOIN LATERAL (
           SELECT coalesce((array_agg(p.price_status ORDER BY p.revision DESC))[1], e.price_status) AS status,
                  CASE WHEN e.price_status = 'duplicate' THEN 0 ELSE {_TOKENS.format("e")} END
                    + coalesce(sum({_TOKENS.format("p")}), 0) AS tokens
             FROM ledger_adjustment p WHERE p.event_id = a.event_id AND p.revision < a.revision) AS before
     WHERE {{adjustments}}
"""

_DIMENSIONS, _SUMS = _listed(*DIMENSIONS), _listed(*SUMS)
# A row's id: what it is about, in sixteen bytes.
_ABOUT = f"ROW(extract(epoch FROM starts_at)::bigint, {_DIMENSIONS})::text"
_ID = f"encode(substring(sha256(convert_to({_ABOUT}, 'UTF8')) FOR 16), 'hex')::uuid"
_QUARTER = "date_bin('15 minutes', occurred_at, '2000-01-01 00:00+00')"
_DAY = "date_trunc('day', occurred_at, %(zone)s)"


def _added(name: str, model: type[Rollup], starts_at: str) -> str:
    """SQL: the differences added to the sums of stretches that start at `starts_at`; `name` has those stretches."""
    entries = (f"coalesce(array_agg({name}) FILTER (WHERE {name} IS NOT NULL), {EMPTY})" for name in DISTRIBUTIONS)
    return f"""
        of_{name} AS MATERIALIZED (
            SELECT {starts_at} AS starts_at, {_DIMENSIONS},
                   {_listed(*(f"sum({name}) AS {name}" for name in SUMS))},
                   {_listed(*(f"{merged(each)} AS {name}" for name, each in zip(DISTRIBUTIONS, entries, strict=True)))}
              FROM differences GROUP BY {starts_at}, {_DIMENSIONS}),
        {name} AS (
            INSERT INTO {model._meta.db_table} AS r
                   (id, starts_at, {_DIMENSIONS}, {_SUMS}, {_listed(*DISTRIBUTIONS)})
            SELECT {_ID}, found.* FROM of_{name} AS found ORDER BY starts_at
                ON CONFLICT (id) DO UPDATE SET
                   {_listed(*(f"{name} = r.{name} + excluded.{name}" for name in SUMS))},
                   {_listed(*(f"{name} = {merged(f'r.{name} || excluded.{name}')}" for name in DISTRIBUTIONS))}
            RETURNING starts_at)
    """


def _counting(events: str, adjustments: str) -> str:
    """The statement that adds some of the ledger's rows to the sums. It returns the days that it touched."""
    return f"""
        WITH differences AS MATERIALIZED (
            SELECT {_QUARTER} AS quarter, {_DAY} AS day, one.* FROM (
                {_EVENTS.format(events=events)} UNION ALL {_ADJUSTMENTS.format(adjustments=adjustments)}) AS one),
        {_added("quarters", QuarterRollup, "quarter")}, {_added("days", DayRollup, "day")}
        SELECT DISTINCT starts_at FROM days
    """


_EVENT_IDS, _ADJUSTMENT_IDS = "e.id = ANY(%(events)s::uuid[])", "a.id = ANY(%(adjustments)s::uuid[])"
_BY_ID = _counting(_EVENT_IDS, _ADJUSTMENT_IDS)
_BY_TIME = _counting(
    "e.project_id = %(project)s AND e.occurred_at >= %(start)s AND e.occurred_at < %(end)s",
    "a.project_id = %(project)s AND a.occurred_at >= %(start)s AND a.occurred_at < %(end)s",
)


# What rows of the ledger bring that are named as for `count_rows`, as rows that sums could have: SQL of a table whose
# `starts_at` is the time of the call.
DIFFERENCES = f"""(
    SELECT one.*, one.occurred_at AS starts_at
      FROM ({_EVENTS.format(events=_EVENT_IDS)} UNION ALL {_ADJUSTMENTS.format(adjustments=_ADJUSTMENT_IDS)}) AS one)
"""


def count_rows(events: Sequence[UUID], adjustments: Sequence[UUID], zone: str) -> set[datetime]:
    """Adds these rows of the ledger, none of which was counted before. The days that changed."""
    return _days(_BY_ID, {"events": list(events), "adjustments": list(adjustments), "zone": zone})


def count_period(project: UUID, start: datetime, end: datetime, zone: str) -> set[datetime]:
    """Adds all of a project's rows of calls from `start` on and before `end`. The days that changed."""
    return _days(_BY_TIME, {"project": project, "start": start, "end": end, "zone": zone})


def _days(statement: str, values: dict[str, Any]) -> set[datetime]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return {day for (day,) in cursor.fetchall() if day is not None}
