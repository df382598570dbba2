"""The ledger's rows: one an event as it stands now, project by project, oldest first, with the columns of the API."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from apps.analytics.exports.sources.base import Source, Table
from apps.analytics.exports.wanted import Wanted
from apps.analytics.selectors import Question, whole, widened
from apps.ledger.columns import COLUMNS, Value
from apps.ledger.selectors import Totals, stream, totals
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
    """What only the ledger knows, such as a session, is left out: at most so many."""
    return whole(Question(widened(wanted.filter), ZoneInfo(wanted.zone))).events


ROWS = Source("Calls", _table, _totals, _count)
