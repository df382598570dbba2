"""Events one by one: a page of the newest, or all as a stream, each as it stands now."""

import base64
import binascii
import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import connection

from apps.ledger.models import UsageEvent
from apps.ledger.selectors.filters import EventFilter, Where
from apps.ledger.standing import Standing, standings
from tenancy.scope import require_scope
from web.api import InvalidError

# The most a page may have.
MOST_ROWS = 500
# Rows a stream holds at once.
CHUNK = 1_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAST = uuid.UUID(int=0)


class BadCursorError(InvalidError):
    """A cursor that did not come from here, or from another organization."""

    code = "bad_cursor"


@dataclass(frozen=True, slots=True)
class Page:
    """Newest first. The cursors lead to the older and to the newer rows; None where there are none."""

    rows: list[Standing]
    next_cursor: str | None
    previous_cursor: str | None


class Position(NamedTuple):
    """Between two rows: what is older than the row at this time with this id, or what is newer."""

    newer: bool
    occurred_at: datetime
    id: uuid.UUID

    @classmethod
    def beside(cls, row: Standing, *, newer: bool) -> "Position":
        return cls(newer, row.event.occurred_at, row.event.id)

    def encode(self) -> str:
        since = (self.occurred_at - _EPOCH) // timedelta(microseconds=1)
        place = bytes([self.newer]) + since.to_bytes(8, "big", signed=True) + self.id.bytes
        return base64.urlsafe_b64encode(place + _check(place)).decode().rstrip("=")

    @classmethod
    def decode(cls, cursor: str) -> "Position":
        """Raises BadCursorError."""
        try:
            data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            place, check = data[:25], data[25:]
            if len(place) != 25 or check != _check(place):
                raise ValueError
            moment = _EPOCH + timedelta(microseconds=int.from_bytes(place[1:9], "big", signed=True))
            return cls(bool(place[0]), moment, uuid.UUID(bytes=place[9:]))
        except (binascii.Error, ValueError, OverflowError):
            raise BadCursorError("This cursor is none that was given out here. Start from the first page.") from None


def _check(place: bytes) -> bytes:
    """Tells a cursor from a mangled one, and from another organization's. It is no secret: it hides nothing."""
    return hashlib.blake2b(place, digest_size=6, person=b"events", key=require_scope().schema_name.encode()).digest()


def page_of_events(wanted: EventFilter, *, limit: int = 100, cursor: str = "") -> Page:
    """Up to `limit` (1 to MOST_ROWS) events, newest first; `cursor` is one of another page's, "" the newest.

    New events don't shift what the cursors lead to. At most three queries, whatever the number of rows and projects.
    Raises BadCursorError, and ValueError for a limit out of range.
    """
    if not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"A page has 1 to {MOST_ROWS} rows, not {limit}.")
    position = Position.decode(cursor) if cursor else None
    newer = position is not None and position.newer
    found = _events(wanted.where(), wanted.projects(), position, limit + 1)
    more, rows = len(found) > limit, standings(found[:limit])
    if not rows:
        return Page([], None, None)
    if newer:
        rows.reverse()
    older, later = Position.beside(rows[-1], newer=False), Position.beside(rows[0], newer=True)
    # On the side that one came from there are rows: the page's that was left.
    return Page(
        rows,
        next_cursor=older.encode() if more or newer else None,
        previous_cursor=later.encode() if (more if newer else position is not None) else None,
    )


def stream(wanted: EventFilter) -> Iterator[Standing]:
    """All of them, project by project, oldest first, in constant memory: two queries for CHUNK rows.

    For one state of the ledger throughout, read it within `apps.ledger.snapshot.snapshot`.
    """
    where = wanted.where()
    for project_id in wanted.projects():
        last = None
        while found := events_after(where, project_id, last, CHUNK):
            yield from standings(found)
            if len(found) < CHUNK:
                break
            last = found[-1]


def count_up_to(wanted: EventFilter, most: int) -> int:
    """How many there are; `most` + 1 where there are more, of which no more is read."""
    where = wanted.where()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM (SELECT FROM ledger_usageevent e"
            f" WHERE e.project_id = ANY(%(projects)s::uuid[]) AND {where.sql} LIMIT %(limit)s) AS one",
            {**where.values, "projects": wanted.projects(), "limit": most + 1},
        )
        found: int = cursor.fetchone()[0]
        return found


def events_after(where: Where, project_id: uuid.UUID, last: UsageEvent | None, limit: int) -> list[UsageEvent]:
    """A project's events that come after `last`, or its first, oldest first."""
    time, row_id = (_EPOCH, _LEAST) if last is None else (last.occurred_at, last.id)
    return _events(where, [project_id], Position(True, time, row_id), limit)


def _events(where: Where, projects: Sequence[uuid.UUID], position: Position | None, limit: int) -> list[UsageEvent]:
    """From the position on, newest first or, for what is newer than it, oldest first.

    Of each project the first few by its index, of these the first: never a sort of all that match.
    """
    values = {**where.values, "projects": list(projects), "limit": limit}
    direction, after = "DESC", ""
    if position is not None:
        direction, past = ("ASC", ">") if position.newer else ("DESC", "<")
        after = f"AND (e.occurred_at, e.id) {past} (%(after_time)s, %(after_id)s)"
        values |= {"after_time": position.occurred_at, "after_id": position.id}
    events = UsageEvent.objects.raw(
        f"""
        SELECT one.*
          FROM unnest(%(projects)s::uuid[]) AS project (id)
         CROSS JOIN LATERAL (
               SELECT e.* FROM ledger_usageevent e
                WHERE e.project_id = project.id AND {where.sql} {after}
                ORDER BY e.occurred_at {direction}, e.id {direction} LIMIT %(limit)s) AS one
         ORDER BY one.occurred_at {direction}, one.id {direction} LIMIT %(limit)s
        """,
        values,
    )
    return list(events)
