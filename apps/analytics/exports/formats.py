"""How files are written: one registry, a function each."""

import csv
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

import msgspec

from apps.analytics.exports.sources.base import Table
from apps.analytics.exports.wanted import Format
from apps.ledger.columns import Value, plain

Write = Callable[[Sequence[Value]], object]

# Characters that make a spreadsheet take a cell for a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
# A piece of a file, in characters.
_PIECE = 65_536


@dataclass(frozen=True, slots=True)
class Writer:
    """`begin` writes what comes before the rows of these columns, and returns what writes a row."""

    label: str
    content_type: str
    begin: Callable[[StringIO, Sequence[str]], Write]


def pieces(table: Table, written: Format) -> Generator[str, None, None]:
    """A file in pieces, in constant memory."""
    piece = StringIO()
    write = WRITERS[written].begin(piece, table.columns)
    for row in table.rows:
        write(row)
        if piece.tell() >= _PIECE:
            yield _emptied(piece)
    yield _emptied(piece)


def _emptied(piece: StringIO) -> str:
    text = piece.getvalue()
    piece.seek(0)
    piece.truncate()
    return text


def _csv(piece: StringIO, columns: Sequence[str]) -> Write:
    """RFC 4180, with a header. What is unknown is empty. Text that a spreadsheet would calculate has an apostrophe
    before it."""
    writer = csv.writer(piece)
    writer.writerow(columns)
    return lambda row: writer.writerow(map(_cell, row))


def _cell(value: Value) -> str | int | float | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f"'{value}" if value.startswith(_FORMULA) else value
    return plain(value)


def _json_lines(piece: StringIO, columns: Sequence[str]) -> Write:
    """An object a line, every column in it. What is unknown is null; amounts are text, with all their digits."""
    return lambda row: piece.write(
        msgspec.json.encode(dict(zip(columns, map(plain, row), strict=True))).decode() + "\n"
    )


WRITERS: Mapping[Format, Writer] = {
    Format.CSV: Writer("CSV", "text/csv; charset=utf-8", _csv),
    Format.JSONL: Writer("JSON lines", "application/jsonl; charset=utf-8", _json_lines),
}
