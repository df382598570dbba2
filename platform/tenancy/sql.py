"""Prepared statements for the few paths where each microsecond is paid on every SDK call.

They run in the current scope on Django's own connection, beside the ORM, not around it: the scope rules and the
transaction are the same.
"""

from collections.abc import Sequence
from typing import Any

import psycopg
from django.db import connection


def fetch_one(query: str, params: Sequence[Any]) -> tuple[Any, ...] | None:
    """The first row of one statement with `$1` placeholders, prepared on the connection and kept there.

    A kept connection that the server has closed meanwhile (a restart) is replaced and the statement sent once
    more: callers use statements that may run twice. Raises Django's database errors.
    """
    with connection.wrap_database_errors:
        if connection.connection is not None and not connection.in_atomic_block:
            try:
                return _fetch_one(query, params)
            except psycopg.OperationalError:
                if not connection.connection.broken:
                    raise
                connection.close()
        return _fetch_one(query, params)


def _fetch_one(query: str, params: Sequence[Any]) -> tuple[Any, ...] | None:
    connection.ensure_connection()
    connection.follow_scope()  # type: ignore[attr-defined]  # of tenancy.backend
    return psycopg.RawCursor(connection.connection).execute(query.encode(), params, prepare=True).fetchone()
