"""Reading one state of the ledger with many queries, also while a response is sent."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TypeVar

from django.db import connection, transaction

Item = TypeVar("Item")


@contextmanager
def snapshot(*, writes: bool = False) -> Iterator[None]:
    """All reads inside see the ledger as it is at the first of them. Raises RuntimeError inside a transaction, whose
    reads have begun. Where it `writes`, what somebody else has changed since fails (psycopg's SerializationFailure)."""
    outermost = not connection.in_atomic_block
    if outermost:
        with connection.cursor():
            # The connection follows the tenant's scope with a query, and SET TRANSACTION has to come before any.
            pass
    with transaction.atomic(durable=True):
        if outermost:
            with connection.cursor() as cursor:
                access = "READ WRITE" if writes else "READ ONLY"
                cursor.execute(f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, {access}")
        yield


def kept_in_scope(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """`items`, made in the scope in which this is called: a response is sent after its view has left it.

    The scope is not around the code that takes the items. Closing it, as a client that goes away does, closes `items`.
    """
    context = copy_context()

    def remaining() -> Generator[Item, None, None]:
        done = object()
        try:
            while (item := context.run(next, items, done)) is not done:
                yield item  # type: ignore[misc]  # not `done`
        finally:
            context.run(items.close)

    return remaining()
