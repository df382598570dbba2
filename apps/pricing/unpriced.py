"""The queue of models that were called and have no price. Staff see names only; whose calls they were is not kept."""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from django.db import DatabaseError, InterfaceError, connection, transaction
from django.db.models import QuerySet

from apps.pricing.book import Book, Found
from apps.pricing.models import Price, PriceSnapshot, UnpricedModel
from apps.pricing.providers import canonical
from apps.pricing.rating import Reason
from apps.pricing.selectors import load_book

logger = logging.getLogger(__name__)

# A pair is written at most once in this time by a process.
AGAIN_SECONDS = 3600.0
# Pairs remembered; beyond it the oldest are forgotten, and written again a little early.
MEMORY = 4_096
# Who sends made-up names fills the queue, not the disk.
LONGEST_QUEUE = 10_000

# What a price would help against. A call without usage has nothing to price.
WORTH_NOTING = frozenset(
    (Reason.UNKNOWN_PROVIDER, Reason.UNKNOWN_MODEL, Reason.NO_METER_PRICE, Reason.AMBIGUOUS_VARIANT)
)

Pair = tuple[str, str]


class Noted:
    """When this process wrote a pair last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._written: dict[tuple[str, str, str], float] = {}
        self._lock = threading.Lock()

    def due(self, rows: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
        """Those of the rows that are to be written now; they count as written."""
        now = self._clock()
        with self._lock:
            due = [row for row in dict.fromkeys(rows) if now - self._written.get(row, -AGAIN_SECONDS) >= AGAIN_SECONDS]
            for row in due:
                self._written.pop(row, None)
                self._written[row] = now
            while len(self._written) > MEMORY:
                del self._written[next(iter(self._written))]
        return due

    def forget(self) -> None:
        """After a pair was taken off the queue, when it may come back at once; and between tests."""
        with self._lock:
            self._written.clear()


_noted = Noted()
forget_noted = _noted.forget


def note_unpriced(pairs: Iterable[tuple[str, str, str]]) -> None:
    """Enters (provider, model, reason) of calls that came out unpriced. Called after the calls were stored, outside
    their transaction: a database that fails costs the note, never the call."""
    rows = [
        (canonical(provider)[:64], model.strip()[:256], reason)
        for provider, model, reason in pairs
        if reason in WORTH_NOTING and model.strip() and "\0" not in provider + model
    ]
    if not rows or not (due := _noted.due(rows)):
        return
    # In one order everywhere: two processes that note the same pairs wait for each other, never in a circle. A pair
    # can stand in it once, with its last reason.
    last = {(provider, model): reason for provider, model, reason in due}
    providers, models, reasons = zip(*sorted((*pair, reason) for pair, reason in last.items()), strict=True)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO pricing_unpricedmodel AS queued (provider, model, reason, first_seen, last_seen)"
                " SELECT given.provider, given.model, given.reason, now(), now()"
                " FROM unnest(%s::text[], %s::text[], %s::text[]) AS given (provider, model, reason)"
                " WHERE EXISTS (SELECT FROM pricing_unpricedmodel known"
                " WHERE known.provider = given.provider AND known.model = given.model)"
                " OR (SELECT count(*) FROM pricing_unpricedmodel) < %s"
                " ON CONFLICT (provider, model) DO UPDATE SET reason = excluded.reason,"
                " last_seen = greatest(queued.last_seen, excluded.last_seen)",
                [list(providers), list(models), list(reasons), LONGEST_QUEUE],
            )
    except (DatabaseError, InterfaceError):
        logger.warning("Could not enter %s models without a price.", len(last), exc_info=True)


def unpriced_models() -> "QuerySet[UnpricedModel]":
    """The queue, the latest call first."""
    return UnpricedModel.objects.order_by("-last_seen", "provider", "model")


def take_off_queue(snapshot: PriceSnapshot) -> int:
    """Takes off what has a price now that `snapshot` is in the table; how many. In the transaction that put it there.

    A model that had one before and lacked a meter's comes off if the snapshot priced it anew; if that was not what
    was missing, its next call puts it back.
    """
    queued = list(UnpricedModel.objects.all())
    if not queued:
        return 0
    book = load_book()
    opened = set(Price.objects.filter(snapshot=snapshot).values_list("provider", "canonical_model").distinct())
    done = [row.pk for row in queued if _is_priced(row, book, opened)]
    UnpricedModel.objects.filter(pk__in=done).delete()
    if done:
        transaction.on_commit(forget_noted)
    return len(done)


def _is_priced(row: UnpricedModel, book: Book, opened: set[Pair]) -> bool:
    found = book.find(row.provider, row.model, None).found
    if not isinstance(found, Found):
        return False
    return row.reason in (Reason.UNKNOWN_PROVIDER, Reason.UNKNOWN_MODEL) or (found.provider, found.model) in opened
