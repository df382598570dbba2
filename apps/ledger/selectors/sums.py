"""Sums over the ledger, with what is not in them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import connection

from apps.ledger.models import METER_COLUMNS
from apps.ledger.selectors.filters import EventFilter
from apps.pricing.meters import Meter


@dataclass(frozen=True, slots=True)
class Totals:
    """What the events of a filter come to, adjustments included.

    `events` are rows; `calls` are those that count: `duplicates` are not among them, `failed` and `unpriced` are.
    `costs` and `adjusted_costs` by currency, exact; `adjusted_costs` is how much of the costs adjustments brought or
    took. `tokens` are input and output. Meters that no event has are left out.
    """

    events: int
    calls: int
    failed: int
    unpriced: int
    duplicates: int
    meters: Mapping[Meter, int]
    tokens: int
    unpriced_tokens: int
    costs: Mapping[str, Decimal]
    adjustments: int
    adjusted_costs: Mapping[str, Decimal]

    @property
    def unpriced_share(self) -> Decimal:
        """Of the calls that used something, 0 to 1: how much the costs leave out."""
        return share(self.unpriced, self.calls - self.failed)

    @property
    def unpriced_token_share(self) -> Decimal:
        """Of the tokens, 0 to 1. Calls that reported none have no part in it."""
        return share(self.unpriced_tokens, self.tokens)


def share(part: int, whole: int) -> Decimal:
    """0 to 1; 0 of nothing."""
    return Decimal(part) / Decimal(whole) if whole else Decimal(0)


_METERS = tuple(METER_COLUMNS.values())
# What an event counts for by itself.
_OWN = ", ".join(f"sum(e.{name}) FILTER (WHERE e.price_status <> 'duplicate') AS {name}" for name in _METERS)
_DELTAS = ", ".join(f"sum(a.{name}) AS {name}" for name in _METERS)
_SUMS = ", ".join(f"sum(d.{name})" for name in _METERS)


def totals(wanted: EventFilter) -> Totals:
    """One statement, so one state of the ledger. It reads every event that matches: the narrower, the faster."""
    where, bounds = wanted.where(), wanted.adjustments_where()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH changed AS (
                -- An event's adjustments are all in one currency (standing.adjust).
                SELECT a.event_id, max(a.currency) AS currency, count(*) AS adjustments, sum(a.calls) AS calls,
                       sum(a.unpriced) AS unpriced, sum(a.cost) AS cost, {_DELTAS},
                       (array_agg(a.price_status ORDER BY a.revision DESC))[1] AS status
                  FROM ledger_adjustment a
                 WHERE a.project_id = ANY(%(projects)s::uuid[]) AND {bounds.sql}
                 GROUP BY a.event_id)
            SELECT 'own', e.currency, count(*), count(*) FILTER (WHERE e.price_status <> 'duplicate'),
                   count(*) FILTER (WHERE e.price_status = 'failed'),
                   count(*) FILTER (WHERE e.price_status = 'unpriced'),
                   sum(COALESCE(e.input_tokens, 0) + COALESCE(e.output_tokens, 0))
                       FILTER (WHERE e.price_status = 'unpriced'),
                   0, sum(e.cost), {_OWN}
              FROM ledger_usageevent e
             WHERE e.project_id = ANY(%(projects)s::uuid[]) AND {where.sql}
             GROUP BY e.currency
            UNION ALL
            SELECT 'changed', d.currency, 0, sum(d.calls),
                   sum((d.status = 'failed')::int - (e.price_status = 'failed')::int), sum(d.unpriced),
                   sum(CASE WHEN d.status = 'unpriced' THEN COALESCE(d.input_tokens, 0) + COALESCE(d.output_tokens, 0)
                                 + CASE WHEN e.price_status = 'duplicate' THEN 0 ELSE
                                        COALESCE(e.input_tokens, 0) + COALESCE(e.output_tokens, 0) END
                            ELSE 0 END
                     - CASE WHEN e.price_status = 'unpriced'
                            THEN COALESCE(e.input_tokens, 0) + COALESCE(e.output_tokens, 0) ELSE 0 END),
                   sum(d.adjustments), sum(d.cost), {_SUMS}
              FROM changed d JOIN ledger_usageevent e ON e.id = d.event_id
             WHERE {where.sql}
             GROUP BY d.currency
            """,
            {**where.values, **bounds.values, "projects": wanted.projects()},
        )
        rows = cursor.fetchall()
    counts = [sum(int(row[place] or 0) for row in rows) for place in range(2, 8)]
    events, calls, failed, unpriced, unpriced_tokens, adjustments = counts
    meters = {
        meter: int(sum(values))
        for place, meter in enumerate(METER_COLUMNS, start=9)
        if (values := [row[place] for row in rows if row[place] is not None])
    }
    return Totals(
        events=events,
        calls=calls,
        failed=failed,
        unpriced=unpriced,
        duplicates=events - calls,
        meters=meters,
        tokens=meters.get(Meter.INPUT, 0) + meters.get(Meter.OUTPUT, 0),
        unpriced_tokens=unpriced_tokens,
        costs=_by_currency(rows),
        adjustments=adjustments,
        adjusted_costs=_by_currency(row for row in rows if row[0] == "changed"),
    )


def _by_currency(rows: Iterable[Sequence[Any]]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for _, currency, *_, cost in (row[:9] for row in rows):
        if cost is not None:
            sums[currency] = sums.get(currency, Decimal(0)) + cost
    return dict(sorted(sums.items()))
