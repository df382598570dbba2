"""Events as CSV (RFC 4180): one row an event as it stands now, whose sums are the totals of the same filter."""

import csv
from collections.abc import Generator
from io import StringIO

from apps.ledger.columns import COLUMNS, Value, plain
from apps.ledger.selectors import EventFilter, stream
from apps.ledger.snapshot import kept_in_scope, snapshot

CONTENT_TYPE = "text/csv; charset=utf-8"
# Characters that make a spreadsheet take a cell for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
# A piece of the answer, in characters.
_PIECE = 65_536


def csv_of(wanted: EventFilter) -> Generator[str, None, None]:
    """The file in pieces, in constant memory, all of one state of the ledger.

    A header, then the columns of apps/ledger/columns.py, project by project, oldest first. What is unknown is empty.
    Amounts have all their digits. Text that a spreadsheet would calculate has an apostrophe before it. The pieces
    stay in the scope in which this is called, so they can be sent after a view has returned.
    """
    return kept_in_scope(_pieces(wanted))


def _pieces(wanted: EventFilter) -> Generator[str, None, None]:
    piece = StringIO()
    writer = csv.writer(piece)
    writer.writerow(COLUMNS)
    columns = list(COLUMNS.values())
    with snapshot():
        for row in stream(wanted):
            writer.writerow([_cell(column(row)) for column in columns])
            if piece.tell() >= _PIECE:
                yield _emptied(piece)
    yield _emptied(piece)


def _emptied(piece: StringIO) -> str:
    text = piece.getvalue()
    piece.seek(0)
    piece.truncate()
    return text


def _cell(value: Value) -> str | int | float | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f"'{value}" if value.startswith(_FORMULA) else value
    return plain(value)
