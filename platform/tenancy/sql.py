"""Prepared statements for the few paths where every microsecond is paid on each SDK call.

They run on Django's own connection and in its transaction, but straight through libpq: a cursor's adaptation of values
costs more than the statements themselves. Values go over and come back as PostgreSQL's text forms.
"""

import datetime as dt
import decimal
import select
import uuid
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, cast

import psycopg
from django.db import connection
from psycopg import errors, pq
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus

from tenancy.scope import require_scope

# Prepared statements a connection keeps, the most recently used ones. One costs the server some 50 KB.
MOST_PREPARED = 256

Value = str | int | float | bytes | uuid.UUID | decimal.Decimal | dt.datetime | None
Row = tuple[str | None, ...]

_numbers = count()


def iso(column: str) -> str:
    """SQL for a timestamp as ISO 8601 in UTC with an offset, as clients read it."""
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')"""


def _dump_text(value: str) -> bytes:
    if "\0" in value:
        raise ValueError("PostgreSQL's text has no NUL character.")
    return value.encode()


_DUMP: Mapping[type, Callable[[Any], bytes]] = {
    str: _dump_text,
    int: lambda value: b"%d" % value,
    float: lambda value: repr(value).encode(),
    bytes: lambda value: b"\\x" + value.hex().encode(),
    uuid.UUID: lambda value: str(value).encode(),
    decimal.Decimal: lambda value: str(value).encode(),
    dt.datetime: lambda value: value.isoformat().encode(),
}


class Statement:
    """One SQL statement with `$1` placeholders, prepared once a connection and tenant.

    `{tenant}` in the text stands for the current scope's schema, so that going from one tenant to another costs
    neither a SET nor a new plan; outside a scope such a statement raises NoTenantError. Tables must be qualified:
    `{tenant}.…` or `public.…`. The statement must bear being run twice: see `fetch_all`.
    """

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._of_tenant = "{tenant}" in sql
        self._number = next(_numbers)

    def fetch_one(self, *values: Value) -> Row | None:
        """The first row, or None; otherwise as `fetch_all`."""
        rows = self.fetch_all(*values)
        return rows[0] if rows else None

    def fetch_all(self, *values: Value) -> list[Row]:
        """All rows, each column as text. Raises Django's database errors.

        A kept connection that the server has closed meanwhile (a restart) is replaced and the statement sent once
        more.
        """
        schema = require_scope().schema_name if self._of_tenant else ""
        dumped = [None if value is None else _DUMP[type(value)](value) for value in values]
        with connection.wrap_database_errors:
            if connection.connection is not None and not connection.in_atomic_block:
                try:
                    return self._execute(schema, dumped)
                except psycopg.OperationalError:
                    if not connection.connection.broken:
                        raise
                    connection.close()
            connection.ensure_connection()
            return self._execute(schema, dumped)

    def _execute(self, schema: str, values: list[bytes | None]) -> list[Row]:
        raw: psycopg.Connection[Any] = connection.connection
        server = raw.pgconn
        if not raw.autocommit and server.transaction_status == TransactionStatus.IDLE:
            # As psycopg's cursors do: outside autocommit the first statement opens the transaction.
            _check(server, server.exec_(b"BEGIN"))
        result = _check(server, server.exec_prepared(self._prepared(server, schema), cast("list[bytes]", values)))
        columns = range(result.nfields)
        get = result.get_value
        return [
            tuple(None if (value := get(row, column)) is None else value.decode() for column in columns)
            for row in range(result.ntuples)
        ]

    def _prepared(self, server: pq.abc.PGconn, schema: str) -> bytes:
        """The name under which the server has this statement for this schema."""
        kept = connection.prepared_statements  # type: ignore[attr-defined]  # of tenancy.backend
        key = (self._number, schema)
        name: bytes | None = kept.get(key)
        if name is not None:
            kept.move_to_end(key)
            return name
        name = f"s{self._number}_{schema}".encode()
        _check(server, server.prepare(name, self._sql.replace("{tenant}", schema).encode()))
        kept[key] = name
        if len(kept) > MOST_PREPARED:
            _, oldest = kept.popitem(last=False)
            _check(server, server.exec_(b"DEALLOCATE " + oldest))
        return name


class CopyIn:
    """A COPY … FROM STDIN, in a transaction that has begun. `{tenant}` in the text stands for the current scope's
    schema."""

    def __init__(self, sql: str) -> None:
        self._sql = sql

    def send(self, data: bytes) -> None:
        """All rows, in the format that the text names. Raises Django's database errors: then the transaction is over.

        Raises RuntimeError outside a transaction, where half of it could be sent twice.
        """
        if not connection.in_atomic_block:
            raise RuntimeError("Rows are copied in a transaction.")
        text = self._sql.replace("{tenant}", require_scope().schema_name)
        server: pq.abc.PGconn = connection.connection.pgconn
        with connection.wrap_database_errors:
            _check(server, server.exec_(text.encode()), ExecStatus.COPY_IN)
            server.put_copy_data(data)
            server.put_copy_end()
            # To the end, or what comes next is answered with what is left of these.
            for result in list(iter(lambda: _next_result(server), None)):
                _check(server, result)


def _next_result(server: pq.abc.PGconn) -> pq.abc.PGresult | None:
    """As `get_result`, which would not let other threads go on while it waits."""
    while (unsent := server.flush()) or server.is_busy():
        poll = select.poll()
        poll.register(server.socket, select.POLLIN | select.POLLOUT if unsent else select.POLLIN)
        poll.poll()
        server.consume_input()
    return server.get_result()


def _check(server: pq.abc.PGconn, result: pq.abc.PGresult, *more: ExecStatus) -> pq.abc.PGresult:
    if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, *more):
        return result
    error = errors.error_from_result(result)
    if server.status == ConnStatus.BAD or error.sqlstate is None:
        # What has no SQLSTATE comes from libpq, not from the server: the server went away while it was asked.
        server.finish()
        raise psycopg.OperationalError("The connection to the database is lost.") from error
    raise error
