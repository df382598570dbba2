"""Reading the price table: the book of list prices that this process rates with."""

import logging
import threading
import time
from collections.abc import Callable

from django.db import DatabaseError, InterfaceError, transaction

from apps.pricing.book import Book, Row
from apps.pricing.feeds.base import Alias, PriceKey, Rate
from apps.pricing.meters import Meter
from apps.pricing.models import ModelAlias, Price, PriceSnapshot

logger = logging.getLogger(__name__)

# How long a process may rate with prices that another has replaced.
REVALIDATE_SECONDS = 30.0


def newest_snapshot_id() -> int | None:
    """The snapshot approved last; None on an installation without prices."""
    return PriceSnapshot.objects.filter(approved_at__isnull=False).order_by("-id").values_list("id", flat=True).first()


def load_book() -> Book:
    """All list prices, past ones too: usage can be reported late. Two queries and some 100 ms."""
    snapshot_id = newest_snapshot_id()
    aliases = (
        Alias(*row)
        for row in ModelAlias.objects.filter(organization_id=None, closed_by=None)
        .order_by("provider", "priority")
        .values_list("provider", "rule", "canonical_provider", "canonical_model")
    )
    return Book(snapshot_id, list(aliases), list_price_rows())


# A release that is about to be replaced may meet the rows of its successor: it leaves out meters it doesn't know,
# which then cost what their parents do.
_METERS = {meter.value: meter for meter in Meter}


def list_price_rows(source: str | None = None) -> list[Row]:
    """The list prices, of one feed or of all; those withdrawn before they counted left out."""
    prices = Price.objects.filter(organization_id=None, effective__isempty=False)
    if source is not None:
        prices = prices.filter(snapshot__source=source)
    columns = prices.order_by("id").values_list(
        "id",
        "provider",
        "canonical_model",
        "meter",
        "tier_above",
        "variant",
        "tod_start",
        "tod_end",
        "weekday_mask",
        "effective",
        "unit_price",
        "per",
        "minimum",
        "currency",
    )
    return [
        Row(
            price_id,
            PriceKey(
                provider, model, _METERS[meter], tier_above, tuple(sorted(variant.items())), tod_start, tod_end, days
            ),
            effective.lower,
            effective.upper,
            Rate(unit_price, per, minimum, currency),
        )
        for (
            price_id,
            provider,
            model,
            meter,
            tier_above,
            variant,
            tod_start,
            tod_end,
            days,
            effective,
            unit_price,
            per,
            minimum,
            currency,
        ) in columns
        if meter in _METERS
    ]


class Shelf:
    """Holds the process's book and replaces it when there is a newer snapshot.

    Asks at most every REVALIDATE_SECONDS, and only one thread does: the others go on with the book they have. A
    database that can't be asked leaves the book in place until the next time.
    """

    def __init__(
        self,
        load: Callable[[], Book] = load_book,
        newest: Callable[[], int | None] = newest_snapshot_id,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._newest = newest
        self._clock = clock
        self._book: Book | None = None
        self._good_until = 0.0
        self._asking = threading.Lock()

    def book(self) -> Book:
        """The current book. Raises a database error only if there is none yet and none can be loaded."""
        book = self._book
        if book is not None and self._clock() < self._good_until:
            return book
        if not self._asking.acquire(blocking=book is None):
            assert book is not None
            return book
        try:
            if self._book is None or self._clock() >= self._good_until:
                self._renew()
            assert self._book is not None
            return self._book
        finally:
            self._asking.release()

    def _renew(self) -> None:
        try:
            # A savepoint where the caller is in a transaction: a failed query must not take that down.
            with transaction.atomic():
                if self._book is None or self._newest() != self._book.snapshot_id:
                    self._book = self._load()
        except (DatabaseError, InterfaceError, ValueError):
            # ValueError: a rule that this release can't read.
            if self._book is None:
                raise
            logger.warning("Could not get newer prices; going on with those at hand.", exc_info=True)
        self._good_until = self._clock() + REVALIDATE_SECONDS

    def forget(self) -> None:
        """Makes the next call load anew: after an import in this process, and between tests."""
        with self._asking:
            self._book = None


_shelf = Shelf()
current_book = _shelf.book
forget_book = _shelf.forget
