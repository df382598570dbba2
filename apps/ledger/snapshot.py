"""Reading one state of the ledger with many queries, also while a response is sent."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from datetime import datetime
from typing import TypeVar

from django.db import connection, transaction
from django.db.utils import OperationalError
from psycopg.errors import SerializationFailure

from tenancy.scope import require_scope

Item = TypeVar("Item")
# An advisory lock's number, by name.
_LOCK = "hashtextextended(%s, 0)"


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


def taken_at() -> datetime:
    """When the snapshot that this is read in was begun: all that was committed before is in it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT transaction_timestamp()")
        moment: datetime = cursor.fetchone()[0]
        return moment


def alone_at(work: str, do: Callable[[], Item]) -> Item | None:
    """What `do` returns, done in a transaction of one state of the ledger that may write, while nobody else of the
    organization is at the `work` of this name. None where somebody is, or was a moment ago."""
    try:
        with snapshot(writes=True):
            return do() if is_alone_at(work) else None
    except OperationalError as error:
        if isinstance(error.__cause__, SerializationFailure):
            # Another worker's transaction ended between our snapshot and the lock.
            return None
        raise


def is_alone_at(work: str) -> bool:
    """Whether nobody else is at it, who then isn't until the transaction ends. Without waiting: the snapshot would be
    from before the wait."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_try_advisory_xact_lock({_LOCK})", [_named(work)])
        return bool(cursor.fetchone()[0])


def wait_to_be_alone_at(work: str) -> None:
    """As `is_alone_at`, but waits for who is at it. For counting what there may be only so much of, outside a snapshot:
    the next query has to see what they did."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_advisory_xact_lock({_LOCK})", [_named(work)])


def _named(work: str) -> str:
    return f"{work}:{require_scope().schema_name}"


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
