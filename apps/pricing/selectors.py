"""Reading the price table: the book of list prices and the organizations' terms that this process rates with."""

import gc
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import NamedTuple

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import QuerySet

from apps.pricing.book import Book, PriceList, Row
from apps.pricing.feeds import PRECEDENCE
from apps.pricing.feeds.base import Alias, PriceKey, Rate
from apps.pricing.meters import Meter
from apps.pricing.models import Discount, ModelAlias, OrganizationTerms, Price, PriceSnapshot
from apps.pricing.terms import EVERY_MODEL, DiscountRow, Terms

logger = logging.getLogger(__name__)

# How long a process may rate with prices that another has replaced.
REVALIDATE_SECONDS = 30.0


def newest_snapshot_id() -> int | None:
    """The snapshot approved last; None on an installation without prices."""
    approved = PriceSnapshot.objects.filter(status=PriceSnapshot.Status.APPROVED)
    return approved.order_by("-approved_at", "-id").values_list("id", flat=True).first()


def load_book() -> Book:
    """All list prices, past ones too: usage can be reported late. Three queries and some 200 ms."""
    return Book(newest_snapshot_id(), load_lists())


def load_lists() -> list[PriceList]:
    """What each source says now and said before, in order of precedence."""
    aliases: dict[str, list[Alias]] = {}
    rules = ModelAlias.objects.filter(organization_id=None, closed_by=None).order_by("provider", "priority")
    for source, *alias in rules.values_list("source", "provider", "rule", "canonical_provider", "canonical_model"):
        aliases.setdefault(source, []).append(Alias(*alias))
    rows: dict[str, list[Row]] = {}
    for source, row in _sourced_rows(Price.objects.filter(organization_id=None)):
        rows.setdefault(source, []).append(row)
    sources = sorted(aliases.keys() | rows.keys(), key=precedence)
    return [PriceList(source, aliases.get(source, []), rows.get(source, [])) for source in sources]


def precedence(source: str) -> tuple[int, str]:
    """A list's place among the others. A source that this release doesn't know any more comes last."""
    return (PRECEDENCE.index(source) if source in PRECEDENCE else len(PRECEDENCE), source)


# A release that is about to be replaced may meet the rows of its successor: it leaves out meters it doesn't know,
# which then cost what their parents do.
_METERS = {meter.value: meter for meter in Meter}


def list_price_rows(source: str | None = None) -> list[Row]:
    """The list prices, of one source or of all; those withdrawn before they counted left out."""
    prices = Price.objects.filter(organization_id=None)
    if source is not None:
        prices = prices.filter(source=source)
    return [row for _, row in _sourced_rows(prices)]


def _sourced_rows(prices: "QuerySet[Price]") -> Iterable[tuple[str, Row]]:
    columns = (
        prices.filter(effective__isempty=False)
        .order_by("id")
        .values_list(
            "id",
            "source",
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
    )
    for (
        price_id,
        source,
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
    ) in columns:
        if meter in _METERS:
            named = tuple(sorted(variant.items()))
            key = PriceKey(provider, model, _METERS[meter], tier_above, named, tod_start, tod_end, days)
            rate = Rate(unit_price, per, minimum, currency)
            yield source, Row(price_id, key, effective.lower, effective.upper, rate)


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
                    # A book has some hundred thousand objects that live as long as the process: without this the
                    # garbage collector looks through all of them again and again while requests are served. What is
                    # no cycle is freed as ever.
                    gc.collect()
                    gc.freeze()
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


# --- An organization's own terms ---


def overrides(organization_id: uuid.UUID) -> "QuerySet[Price]":
    """The organization's own prices, past ones and those to come too, without those withdrawn before they counted."""
    own = Price.objects.filter(organization_id=organization_id, effective__isempty=False)
    return own.order_by("provider", "canonical_model", "effective", "id")


def discounts(organization_id: uuid.UUID) -> "QuerySet[Discount]":
    """The organization's discounts, past ones and those to come too."""
    own = Discount.objects.filter(organization_id=organization_id, effective__isempty=False)
    return own.order_by("provider", "model", "effective", "id")


def price_rows(ids: Iterable[int]) -> dict[int, Price]:
    """Price rows by id, for explanations, each with its snapshot. Ids of no row are left out."""
    return Price.objects.select_related("snapshot").defer("snapshot__document").in_bulk(set(ids))


def terms_version(organization_id: uuid.UUID) -> int:
    """How often the organization's terms have changed; 0 where it has never had any."""
    versions = OrganizationTerms.objects.filter(organization_id=organization_id)
    return versions.values_list("version", flat=True).first() or 0


def price_versions(organization_ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Of each organization a name for the prices that its calls are rated with now: another one after any change of
    the lists or of its own terms. Two queries."""
    ids = list(organization_ids)
    terms = dict(OrganizationTerms.objects.filter(organization_id__in=ids).values_list("organization_id", "version"))
    snapshot_id = newest_snapshot_id() or 0
    return {each: f"{snapshot_id}.{terms.get(each, 0)}" for each in ids}


def price_version(organization_id: uuid.UUID) -> str:
    """`price_versions` of one."""
    return price_versions([organization_id])[organization_id]


def load_terms(organization_id: uuid.UUID, version: int) -> Terms:
    rows = [row for _, row in _sourced_rows(Price.objects.filter(organization_id=organization_id))]
    agreed = [
        DiscountRow(
            row.pk, row.provider, row.model or EVERY_MODEL, row.effective.lower, row.effective.upper, row.multiplier
        )
        for row in discounts(organization_id)
    ]
    return Terms(version, rows, agreed)


class _Kept(NamedTuple):
    good_until: float
    version: int
    # None: nothing but list prices.
    terms: Terms | None


class TermsShelf:
    """The terms of the organizations that this process rates for, each asked for at most every REVALIDATE_SECONDS.

    One query where nothing has changed. A database that can't be asked leaves the terms in place.
    """

    # Organizations remembered. Beyond it those go that were asked about longest ago.
    MEMORY = 4_096

    def __init__(
        self,
        load: Callable[[uuid.UUID, int], Terms] = load_terms,
        version: Callable[[uuid.UUID], int] = terms_version,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._version = version
        self._clock = clock
        # In order of the last question, the oldest first: as good as of the last use, to REVALIDATE_SECONDS.
        self._kept: dict[uuid.UUID, _Kept] = {}
        self._reordering = threading.Lock()

    def terms(self, organization_id: uuid.UUID) -> Terms | None:
        """The organization's terms; None where it has none. Raises a database error only where nothing is known."""
        kept = self._kept.get(organization_id)
        if kept is not None:
            now = self._clock()
            if now < kept.good_until:
                return kept.terms
            # Other threads go on with what is there while this one asks.
            self._keep(organization_id, _Kept(now + REVALIDATE_SECONDS, kept.version, kept.terms))
        return self._renew(organization_id, kept)

    def _renew(self, organization_id: uuid.UUID, kept: _Kept | None) -> Terms | None:
        try:
            # A savepoint where the caller is in a transaction: a failed query must not take that down.
            with transaction.atomic():
                version = self._version(organization_id)
                if kept is not None and kept.version == version:
                    return kept.terms
                terms = self._load(organization_id, version) if version else None
        except (DatabaseError, InterfaceError):
            if kept is None:
                raise
            logger.warning("Could not get an organization's newer prices; going on with those at hand.", exc_info=True)
            return kept.terms
        self._keep(organization_id, _Kept(self._clock() + REVALIDATE_SECONDS, version, terms))
        return terms

    def _keep(self, organization_id: uuid.UUID, kept: _Kept) -> None:
        with self._reordering:
            self._kept.pop(organization_id, None)
            self._kept[organization_id] = kept
            if len(self._kept) > self.MEMORY:
                del self._kept[next(iter(self._kept))]

    def forget(self, organization_id: uuid.UUID | None = None) -> None:
        """Makes the next call load anew: after a change in this process, and between tests (all of them)."""
        with self._reordering:
            if organization_id is None:
                self._kept.clear()
            else:
                self._kept.pop(organization_id, None)


_terms_shelf = TermsShelf()
current_terms = _terms_shelf.terms
forget_terms = _terms_shelf.forget
