"""Newer list prices between releases: read from the package index, shown as a diff, in force once approved.

A snapshot that is read changes nothing in the table. Somebody approves it, or the rule does where what it changes is
small (`diffs.is_small`, settings PRICE_AUTO_APPROVE_PERCENT and PRICE_AUTO_APPROVE_CHANGES).
"""

import hashlib
import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.pricing.book import PriceList
from apps.pricing.diffs import Diff, diff_of, is_same, is_small
from apps.pricing.feeds import FEEDS
from apps.pricing.feeds.base import Feed, FeedError, Listing
from apps.pricing.models import PriceSnapshot
from apps.pricing.selectors import load_lists, precedence
from apps.pricing.services import (
    PriceImport,
    approval_time,
    lock_prices,
    put_in_force,
)
from apps.pricing.unpriced import unpriced_models
from web.errors import DomainError

logger = logging.getLogger(__name__)

# Who approved, where the rule did.
RULE = "rule"


class NoSnapshotError(DomainError):
    status = 404
    code = "no_such_snapshot"


class DecidedError(DomainError):
    status = 409
    code = "snapshot_decided"


class StaleDiffError(DomainError):
    status = 409
    code = "stale_diff"


class News(Enum):
    """What a refresh found."""

    # In the table already, or decided on before.
    NOTHING = "nothing"
    PENDING = "pending"
    # The rule has approved it.
    APPROVED = "approved"


@dataclass(frozen=True, slots=True)
class Refreshed:
    snapshot: PriceSnapshot
    news: News


def refresh_all() -> Mapping[str, Refreshed | FeedError]:
    """Every feed's newest state, or why it could not be had; a feed that fails changes nothing and stops no other."""
    results: dict[str, Refreshed | FeedError] = {}
    for source, feed in FEEDS.items():
        try:
            results[source] = refresh(feed)
        except FeedError as error:
            logger.warning("Prices of %s stay as they are: %s", source, error)
            results[source] = error
    return results


def refresh(feed: Feed) -> Refreshed:
    """Reads the feed's newest state from the package index and stores it as a snapshot, if it says something new.

    An earlier one that nobody has decided on is superseded. Raises FeedError: no network, or data that is not
    understood.
    """
    version, document = feed.newest()
    listing = feed.parse(document)
    sha256 = hashlib.sha256(document).hexdigest()
    with transaction.atomic():
        lock_prices()
        now = approval_time()
        known = PriceSnapshot.objects.filter(sha256=sha256).first()
        if known and known.status != PriceSnapshot.Status.SUPERSEDED:
            news = News.PENDING if known.status == PriceSnapshot.Status.PENDING else News.NOTHING
            return Refreshed(known, news)
        pending = PriceSnapshot.objects.filter(source=feed.source, status=PriceSnapshot.Status.PENDING)
        pending.update(status=PriceSnapshot.Status.SUPERSEDED, closed_at=now)
        snapshot = known or PriceSnapshot(source=feed.source, sha256=sha256, document=zlib.compress(document))
        snapshot.source_version, snapshot.fetched_at = version, now
        snapshot.status, snapshot.closed_at = PriceSnapshot.Status.PENDING, None
        snapshot.diff = _diff(feed.source, listing, now)
        snapshot.save()
        if not is_small(
            snapshot.diff,
            percent=settings.PRICE_AUTO_APPROVE_PERCENT,
            changes=settings.PRICE_AUTO_APPROVE_CHANGES,
        ):
            return Refreshed(snapshot, News.PENDING)
        put_in_force(snapshot, listing, now, by=RULE)
        return Refreshed(snapshot, News.APPROVED)


def approve(*, snapshot_id: int, by: str) -> PriceImport:
    """Puts a pending snapshot in force, from now on where its changes have no date of their own.

    Raises NoSnapshotError, DecidedError, and StaleDiffError where the table has changed since the diff was made; then
    the snapshot has a new diff to look at.
    """
    with transaction.atomic():
        lock_prices()
        snapshot = _pending(snapshot_id)
        listing = FEEDS[snapshot.source].parse(zlib.decompress(snapshot.document))
        now = approval_time()
        diff = _diff(snapshot.source, listing, now)
        if is_same(snapshot.diff or {}, diff):
            return put_in_force(snapshot, listing, now, by=_author(by))
        snapshot.diff = diff
        snapshot.save(update_fields=["diff"])
    raise StaleDiffError("The price table has changed since this diff was made. There is a new one: look at it first.")


def reject(*, snapshot_id: int, by: str, note: str = "") -> PriceSnapshot:
    """Sets a pending snapshot aside; the same document is not offered again. Raises NoSnapshotError, DecidedError."""
    with transaction.atomic():
        lock_prices()
        snapshot = _pending(snapshot_id)
        snapshot.status, snapshot.closed_at = PriceSnapshot.Status.REJECTED, timezone.now()
        snapshot.decided_by, snapshot.note = _author(by), note[:200]
        snapshot.save(update_fields=["status", "closed_at", "decided_by", "note"])
        return snapshot


def _pending(snapshot_id: int) -> PriceSnapshot:
    snapshot = PriceSnapshot.objects.filter(pk=snapshot_id).first()
    if snapshot is None:
        raise NoSnapshotError(f"There is no snapshot {snapshot_id}.")
    if snapshot.status != PriceSnapshot.Status.PENDING:
        raise DecidedError(f"Snapshot {snapshot_id} is {snapshot.status}; only a pending one can be decided on.")
    return snapshot


def _author(by: str) -> str:
    name = by.strip()
    if not name or len(name) > 254 or name in (RULE, "release"):
        raise DecidedError("Say who decides: an address.")
    return name


def _diff(source: str, listing: Listing, at: datetime) -> Diff:
    lists = load_lists()
    if source not in (prices.source for prices in lists):
        lists = sorted([*lists, PriceList(source, (), ())], key=lambda prices: precedence(prices.source))
    place = [prices.source for prices in lists].index(source)
    return diff_of(lists, place, listing, unpriced_models().values_list("provider", "model"), at)
