"""The ledger's rows: one an event as it stands now, project by project, oldest first, with the columns of the API."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from apps.analytics.exports.sources.base import MOST_STREAMED, Source, Table
from apps.analytics.exports.wanted import Wanted
from apps.analytics.selectors import Question, as_of, whole, widened
from apps.ledger.columns import COLUMNS, Value
from apps.ledger.selectors import Totals, count_up_to, stream, totals
from apps.ledger.snapshot import taken_at


def _table(wanted: Wanted) -> Table:
    moment = taken_at()
    return Table([*COLUMNS, "snapshot_at"], _rows(wanted, moment), moment)


def _rows(wanted: Wanted, moment: datetime) -> Iterator[Sequence[Value]]:
    columns = list(COLUMNS.values())
    for row in stream(wanted.filter):
        yield [*(column(row) for column in columns), moment]


def _totals(wanted: Wanted) -> Totals:
    return totals(wanted.filter)


def _count(wanted: Wanted) -> int:
    """From the sums, which know many at once, or from the ledger where only that can say it, as of a session."""
    if as_of() is None or widened(wanted.filter) != wanted.filter:
        return count_up_to(wanted.filter, MOST_STREAMED)
    return whole(Question(wanted.filter, ZoneInfo(wanted.zone))).events


ROWS = Source(
    "Calls",
    "A row for each call: all that is stored of it, what it cost, and by which price.",
    _table,
    _totals,
    _count,
)
