"""A process that dies at a place of one's choice: what is not committed then has not happened."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from django.db import connection, transaction

from tenancy.sql import Statement


class KilledError(Exception):
    """Stands for the process's end."""


@contextmanager
def killed_after(statements: int) -> Iterator[None]:
    """Lets so many statements through and dies at the next, whichever way it takes. What begins or ends a transaction
    doesn't count: inside a test's own these are statements, too."""
    left, fetch_all = statements, Statement.fetch_all

    def count() -> None:
        nonlocal left
        if not left:
            raise KilledError
        left -= 1

    def through_a_cursor(execute: Any, sql: str, *arguments: Any) -> Any:
        if not sql.startswith(("SAVEPOINT", "RELEASE", "ROLLBACK")):
            count()
        return execute(sql, *arguments)

    def prepared(self: Statement, *values: Any) -> Any:
        count()
        return fetch_all(self, *values)

    with connection.execute_wrapper(through_a_cursor), mock.patch.object(Statement, "fetch_all", prepared):
        try:
            yield
        except KilledError:
            # Django takes it for an error of the database, after which the test's own transaction could do nothing.
            transaction.set_rollback(False)
            raise
