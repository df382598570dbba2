"""Sums by time and dimensions: the numbers of GET /usage/summary, in columns. Each currency that occurs has its own."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from apps.analytics.exports.sources.base import Source, Table, summed_at
from apps.analytics.exports.wanted import Wanted
from apps.analytics.selectors import count_sums, stream_sums, whole
from apps.ledger.columns import Value
from apps.ledger.models import METER_COLUMNS
from apps.ledger.selectors import Totals

_COUNTS = ("events", "calls", "failed", "unpriced", "duplicates")
_AFTER = ("tokens", "unpriced_tokens", "adjustments")


def _table(wanted: Wanted) -> Table:
    moment, currencies = summed_at(), sorted(_totals(wanted).costs)
    columns = [
        "starts_at",
        *(each.value for each in wanted.by),
        *_COUNTS,
        *METER_COLUMNS.values(),
        *_AFTER,
        *(f"cost_{currency}" for currency in currencies),
        *(f"adjusted_cost_{currency}" for currency in currencies),
        "snapshot_at",
    ]
    return Table(columns, _rows(wanted, currencies, moment), moment)


def _rows(wanted: Wanted, currencies: Sequence[str], moment: datetime) -> Iterator[Sequence[Value]]:
    zone = ZoneInfo(wanted.zone)
    for row in stream_sums(wanted.question):
        sums = row.totals
        yield [
            row.starts_at and row.starts_at.astimezone(zone),
            *row.key,
            *(getattr(sums, name) for name in _COUNTS),
            *(sums.meters.get(meter, 0) for meter in METER_COLUMNS),
            *(getattr(sums, name) for name in _AFTER),
            *(sums.costs.get(currency) for currency in currencies),
            *(sums.adjusted_costs.get(currency) for currency in currencies),
            moment,
        ]


def _totals(wanted: Wanted) -> Totals:
    return whole(wanted.question)


def _count(wanted: Wanted) -> int:
    summed_at()
    return count_sums(wanted.question)


SUMS = Source(
    "Sums",
    "What calls come to by time, project, model and more. The numbers of the charts.",
    _table,
    _totals,
    _count,
)
