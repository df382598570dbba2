"""Storing together what arrives at the same time.

A commit waits for the disk, and a statement costs the server more than a row. So while one thread of a process is
storing a tenant's rows, others of that tenant put theirs in a queue; the first of them then stores the whole queue
in one statement. Nobody waits for company: a row that comes alone is stored alone, at once. And nothing is
acknowledged early: `store` returns when the transaction with the row has been committed.
"""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar, cast

from django.db import DataError, IntegrityError, connection

# What is wrong with a row, not with the database: nothing of the batch was stored, but its other rows may be.
_ONE_ROWS = (DataError, IntegrityError)

Row = TypeVar("Row")
Result = TypeVar("Result")


def refuse_transaction() -> None:
    """RuntimeError inside a transaction: other threads' rows may go into this thread's commit, and would be
    acknowledged before it. (As `atomic(durable=True)` does, without the transaction; tests' own do not count.)"""
    blocks = connection.atomic_blocks
    if blocks and not blocks[-1]._from_testcase:  # type: ignore[attr-defined]  # missing in the stubs
        raise RuntimeError("Usage is stored outside any transaction: it is committed with others'.")


class _Waiting(Generic[Row, Result]):
    """A row in the queue and the thread that waits for it."""

    __slots__ = ("error", "result", "row", "settled", "turn")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.result: Result | None = None
        self.error: BaseException | None = None
        self.settled = False
        # Held until it is this thread's turn: to return, or to store the queue.
        self.turn = Lock()
        self.turn.acquire()


class GroupCommit(Generic[Row, Result]):
    """`commit(rows)` stores rows of a queue in one transaction and says of each what became of it. Rows that the
    database refuses together it gets again one by one, so that one's error is no other's.

    `most` is how much goes in one transaction, by `weight`; a row that is heavier goes alone.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Row]], Sequence[Result]],
        *,
        most: int,
        weight: Callable[[Row], int] = lambda _: 1,
    ) -> None:
        self._commit = commit
        self._most = most
        self._weight = weight
        self._lock = Lock()
        # A queue has an entry while one of its threads is storing.
        self._queues: dict[str, list[_Waiting[Row, Result]]] = {}

    def store(self, name: str, row: Row) -> Result:
        """What became of `row`. Returns after its commit; raises what its commit raised. `name` is the queue's: rows of
        one are stored in the scope of whichever thread comes first, so it is a tenant's, or a part of one's."""
        mine: _Waiting[Row, Result] = _Waiting(row)
        with self._lock:
            queue = self._queues.get(name)
            if queue is None:
                self._queues[name] = []
            else:
                queue.append(mine)
        if queue is not None:
            mine.turn.acquire()
        if not mine.settled:
            self._lead(name, mine)
        if mine.error is not None:
            raise mine.error
        return cast("Result", mine.result)

    def _lead(self, name: str, mine: _Waiting[Row, Result]) -> None:
        """Stores this thread's row and all that are waiting, then hands over to the next thread in the queue."""
        with self._lock:
            queue = self._queues[name]
            batch, room = [mine], self._most - self._weight(mine.row)
            while queue and (room := room - self._weight(queue[0].row)) >= 0:
                batch.append(queue.pop(0))
        try:
            self._settle(batch)
        finally:
            with self._lock:
                following = queue.pop(0) if queue else None
                if following is None:
                    del self._queues[name]
            for waiting in batch[1:]:
                waiting.turn.release()
            if following is not None:
                following.turn.release()

    def _settle(self, batch: list[_Waiting[Row, Result]]) -> None:
        try:
            for waiting, result in zip(batch, self._commit([waiting.row for waiting in batch]), strict=True):
                waiting.result = result
        except BaseException as error:  # noqa: BLE001 - handed to each thread that waits, which raises it
            if len(batch) > 1 and isinstance(error, _ONE_ROWS):
                for waiting in batch:
                    self._settle([waiting])
            else:
                for waiting in batch:
                    waiting.error = error
        finally:
            for waiting in batch:
                waiting.settled = True
