"""Storing together what arrives at the same time.

A commit waits for the disk, and a statement costs the server more than a row. So while one thread of a process is
storing a tenant's rows, others of that tenant put theirs in a queue; the first of them then stores the whole queue
in one statement. Nobody waits for company: a row that comes alone is stored alone, at once. And nothing is
acknowledged early: `store` returns when the transaction with the row has been committed.
"""

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Generic, TypeVar

Row = TypeVar("Row")

# Rows a statement takes at most; threads of one process are far fewer.
MOST_ROWS = 256


class _Waiting(Generic[Row]):
    """A row in the queue and the thread that waits for it."""

    __slots__ = ("error", "row", "settled", "stored", "turn")

    def __init__(self, row: Row) -> None:
        self.row = row
        self.stored = False
        self.error: BaseException | None = None
        self.settled = False
        # Held until it is this thread's turn: to return, or to store the queue.
        self.turn = Lock()
        self.turn.acquire()


class GroupCommit(Generic[Row]):
    """`commit(rows)` stores rows in one transaction and says of each whether it was new."""

    def __init__(self, commit: Callable[[Sequence[Row]], Sequence[bool]]) -> None:
        self._commit = commit
        self._lock = Lock()
        # A tenant has an entry while one of its threads is storing.
        self._queues: dict[str, list[_Waiting[Row]]] = {}

    def store(self, tenant: str, row: Row) -> bool:
        """Whether `row` was new. Returns after its commit; raises what the commit raised."""
        mine = _Waiting(row)
        with self._lock:
            queue = self._queues.get(tenant)
            if queue is None:
                self._queues[tenant] = []
            else:
                queue.append(mine)
        if queue is not None:
            mine.turn.acquire()
        if not mine.settled:
            self._lead(tenant, mine)
        if mine.error is not None:
            raise mine.error
        return mine.stored

    def _lead(self, tenant: str, mine: _Waiting[Row]) -> None:
        """Stores this thread's row and all that are waiting, then hands over to the next thread in the queue."""
        with self._lock:
            queue = self._queues[tenant]
            batch = [mine, *queue[: MOST_ROWS - 1]]
            del queue[: MOST_ROWS - 1]
        try:
            self._settle(batch)
        finally:
            with self._lock:
                following = queue.pop(0) if queue else None
                if following is None:
                    del self._queues[tenant]
            for waiting in batch[1:]:
                waiting.turn.release()
            if following is not None:
                following.turn.release()

    def _settle(self, batch: list[_Waiting[Row]]) -> None:
        try:
            for waiting, stored in zip(batch, self._commit([waiting.row for waiting in batch]), strict=True):
                waiting.stored = stored
        except BaseException as error:  # noqa: BLE001 - handed to each thread that waits, which raises it
            for waiting in batch:
                waiting.error = error
        finally:
            for waiting in batch:
                waiting.settled = True
