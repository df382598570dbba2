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
from apps.pricing.diffs import Diff, diff_of, is_same, is_small, size_of
from apps.pricing.feeds import FEEDS
from apps.pricing.feeds.base import Feed, FeedError, Listing
from apps.pricing.models import PriceSnapshot
from apps.pricing.selectors import load_lists, precedence
from apps.pricing.services import (
    PriceImport,
    approval_time,
    approved,
    known_snapshot,
    lock_prices,
    newer_in_force,
    put_in_force,
)
from apps.pricing.staff_users import check_staff, mail_waiting
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

    An earlier one that nobody has decided on is superseded; a release older than what is in force is nothing new. Staff
    hear of one that waits, by mail once. Raises FeedError: no network, or data that is not understood.
    """
    refreshed, is_new = _refresh(feed)
    if refreshed.news is News.PENDING:
        snapshot = refreshed.snapshot
        logger.warning("%s waits for approval: %s.", snapshot, size_of(snapshot.diff or {}))
        if is_new:
            mail_waiting(snapshot)
    return refreshed


def _refresh(feed: Feed) -> tuple[Refreshed, bool]:
    """And whether the snapshot was not among those that wait before."""
    version, document = feed.newest()
    listing = feed.parse(document)
    sha256 = hashlib.sha256(document).hexdigest()
    with transaction.atomic():
        lock_prices()
        now = approval_time()
        known = known_snapshot(sha256)
        if known and known.status != PriceSnapshot.Status.SUPERSEDED:
            news = News.PENDING if known.status == PriceSnapshot.Status.PENDING else News.NOTHING
            return Refreshed(known, news), False
        if newer := newer_in_force(feed.source, version):
            return Refreshed(newer, News.NOTHING), False
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
            return Refreshed(snapshot, News.PENDING), True
        put_in_force(snapshot, listing, now, by=RULE)
        return Refreshed(snapshot, News.APPROVED), True


def approve(*, snapshot_id: int, by: str) -> PriceImport:
    """Puts a pending snapshot in force, from now on where its changes have no date of their own.

    `by` is the address of one of staff. Raises NoSnapshotError, DecidedError, NotStaffError, and StaleDiffError where
    the table has changed since the diff was made; then the snapshot has a new diff to look at.
    """
    author = check_staff(by)
    with transaction.atomic():
        lock_prices()
        snapshot = _pending(snapshot_id)
        listing = FEEDS[snapshot.source].parse(zlib.decompress(snapshot.document))
        now = approval_time()
        diff = _diff(snapshot.source, listing, now)
        if is_same(snapshot.diff or {}, diff):
            return put_in_force(snapshot, listing, now, by=author)
        snapshot.diff = diff
        snapshot.save(update_fields=["diff"])
    raise StaleDiffError("The price table has changed since this diff was made. There is a new one: look at it first.")


def reject(*, snapshot_id: int, by: str, note: str = "") -> PriceSnapshot:
    """Sets a pending snapshot aside; the same document is not offered again, nor put in force by a release.

    Raises NoSnapshotError, DecidedError, NotStaffError.
    """
    author = check_staff(by)
    with transaction.atomic():
        lock_prices()
        snapshot = _pending(snapshot_id)
        snapshot.status, snapshot.closed_at = PriceSnapshot.Status.REJECTED, timezone.now()
        snapshot.decided_by, snapshot.note = author, note[:200]
        snapshot.save(update_fields=["status", "closed_at", "decided_by", "note"])
        return snapshot


def restore(*, snapshot_id: int, by: str, note: str) -> PriceImport:
    """Puts the document of an earlier snapshot in force again, as a snapshot of its own and from now on: the way back
    from an approval, and from a rejection. What calls cost until now stays, and models that only later snapshots have
    keep their prices.

    Raises NoSnapshotError, NotStaffError, and DecidedError for what waits, is in force, or is no feed's; FeedError for
    a document that this release doesn't understand any more.
    """
    author = check_staff(by)
    with transaction.atomic():
        lock_prices()
        earlier = _snapshot(snapshot_id)
        if earlier.source not in FEEDS:
            raise DecidedError(f"Snapshot {snapshot_id} is no feed's: set the price again instead.")
        if earlier.status not in (PriceSnapshot.Status.APPROVED, PriceSnapshot.Status.REJECTED):
            raise DecidedError(f"Snapshot {snapshot_id} is {earlier.status}; only what was decided on can be restored.")
        if earlier == approved(earlier.source).first():
            raise DecidedError(f"Snapshot {snapshot_id} is in force.")
        listing = FEEDS[earlier.source].parse(zlib.decompress(earlier.document))
        now = approval_time()
        snapshot = PriceSnapshot(
            source=earlier.source,
            source_version=earlier.source_version,
            sha256=earlier.sha256,
            restores=earlier,
            fetched_at=now,
            document=earlier.document,
            diff=_diff(earlier.source, listing, now),
            note=note[:200],
        )
        return put_in_force(snapshot, listing, now, by=author)


def _pending(snapshot_id: int) -> PriceSnapshot:
    snapshot = _snapshot(snapshot_id)
    if snapshot.status != PriceSnapshot.Status.PENDING:
        raise DecidedError(f"Snapshot {snapshot_id} is {snapshot.status}; only a pending one can be decided on.")
    return snapshot


def _snapshot(snapshot_id: int) -> PriceSnapshot:
    snapshot = PriceSnapshot.objects.filter(pk=snapshot_id).first()
    if snapshot is None:
        raise NoSnapshotError(f"There is no snapshot {snapshot_id}.")
    return snapshot


def _diff(source: str, listing: Listing, at: datetime) -> Diff:
    lists = load_lists()
    if source not in (prices.source for prices in lists):
        lists = sorted([*lists, PriceList(source, (), ())], key=lambda prices: precedence(prices.source))
    place = [prices.source for prices in lists].index(source)
    return diff_of(lists, place, listing, unpriced_models().values_list("provider", "model"), at)
