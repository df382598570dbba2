"""What the ledger's table takes by itself: COPY of rows that our server has just stored, into the same table.

One stream, one transaction, one connection. The rows are laid out before the clock starts, so that it measures
PostgreSQL alone.
"""

import time
from typing import Self
from uuid import UUID

import psycopg
from psycopg import sql

# In pieces of about so many bytes: psycopg need not be called for each row.
PIECE = 1 << 20
# Columns that have to be another one's in a copy; the lengths and the order stay the same.
OTHER = {
    "id": "uuidv7()",
    "event_id": "gen_random_uuid()",
    "response_id": "CASE response_id WHEN '' THEN '' ELSE 'chatcmpl-' || md5(random()::text) END",
}


class LedgerTable:
    """The usage events of one organization. A context manager."""

    def __init__(self, url: str, schema: str) -> None:
        self._connection = psycopg.connect(url)
        self._table = sql.Identifier(schema, "ledger_usageevent")
        found = self._connection.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = 'ledger_usageevent' ORDER BY ordinal_position",
            [schema],
        )
        self._columns: list[str] = [name for (name,) in found]
        self._connection.commit()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def count(self) -> int:
        return self._number(sql.SQL("SELECT count(*) FROM {}").format(self._table))

    def without_price(self, since: UUID, until: UUID) -> int:
        query = "SELECT count(*) FROM {} WHERE id > {} AND id < {} AND price_status <> 'priced'"
        return self._number(sql.SQL(query).format(self._table, since, until))

    def _number(self, query: sql.Composed) -> int:
        [(number,)] = self._connection.execute(query).fetchall()
        self._connection.commit()
        return int(number)

    def now(self) -> UUID:
        """Less than the id of every row to come, and more than those of all that are here: they are UUIDv7."""
        time.sleep(0.002)
        [(mark,)] = self._connection.execute("SELECT uuidv7()").fetchall()
        self._connection.commit()
        time.sleep(0.002)
        assert isinstance(mark, UUID)
        return mark

    def lay_out(self, since: UUID, until: UUID) -> list[bytes]:
        """The rows that were made between, as COPY reads them, with new ids."""
        query = sql.SQL("COPY (SELECT {} FROM {} WHERE id > {} AND id < {} ORDER BY id) TO STDOUT").format(
            sql.SQL(", ").join(
                sql.SQL(OTHER[name]) if name in OTHER else sql.Identifier(name) for name in self._columns
            ),
            self._table,
            since,
            until,
        )
        pieces = [bytearray()]
        with self._connection.cursor() as cursor, cursor.copy(query) as rows:
            for row in rows:
                if len(pieces[-1]) > PIECE:
                    pieces.append(bytearray())
                pieces[-1] += row
        self._connection.commit()
        return [bytes(piece) for piece in pieces]

    def copy(self, pieces: list[bytes]) -> float:
        """The seconds until they are committed."""
        query = sql.SQL("COPY {} ({}) FROM STDIN").format(
            self._table, sql.SQL(", ").join(map(sql.Identifier, self._columns))
        )
        started = time.perf_counter()
        with self._connection.cursor() as cursor, cursor.copy(query) as rows:
            for piece in pieces:
                rows.write(piece)
        self._connection.commit()
        return time.perf_counter() - started
