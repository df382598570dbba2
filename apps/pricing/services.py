"""Writing the price table: imports of feeds."""

import hashlib
import json
import logging
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import QuerySet
from django.utils import timezone

from apps.pricing.feeds import FEEDS
from apps.pricing.feeds.base import Alias, FeedMissingError, Listing, PriceKey, Segment
from apps.pricing.models import ModelAlias, Price, PriceSnapshot
from apps.pricing.selectors import forget_book, list_price_rows
from apps.pricing.timeline import Closing, Standing, revise
from apps.pricing.unpriced import take_off_queue

logger = logging.getLogger(__name__)

# Of all imports, one at a time: PostgreSQL's advisory lock with this number ("pricing" in ASCII).
IMPORT_LOCK = int.from_bytes(b"pricing")
BATCH = 2_000


@dataclass(frozen=True, slots=True)
class PriceImport:
    """What an import did. `is_new` is false where the table had this document already: nothing was written."""

    snapshot: PriceSnapshot
    is_new: bool
    prices_opened: int = 0
    prices_closed: int = 0
    aliases_opened: int = 0
    aliases_closed: int = 0


def import_genai_prices() -> PriceSnapshot:
    """Brings the table to the state of the installed genai-prices package."""
    return import_prices(source="genai-prices").snapshot


def import_all() -> list[PriceImport]:
    """Brings the table to the state of every installed feed. Raises FeedError.

    A feed whose file is not on this machine is passed over with a warning: its prices stay as they are.
    """
    imports = []
    for source in FEEDS:
        try:
            imports.append(import_prices(source=source))
        except FeedMissingError as error:
            logger.warning("Prices of %s are left as they are. %s", source, error)
    return imports


def import_prices(*, source: str, at: datetime | None = None) -> PriceImport:
    """Reads an installed feed and changes the table where it says something new, all or nothing.

    The pinned package is the approval: changes without a date of their own count from `at`, by default now. A
    document that staff rejected is passed over, and so is one that is older than what is in force. Idempotent, and
    safe to run twice at once. Raises KeyError for an unknown source and FeedError for a document that can't be
    understood.
    """
    feed = FEEDS[source]
    version, document = feed.read()
    with transaction.atomic():
        lock_prices()
        sha256 = hashlib.sha256(document).hexdigest()
        known = known_snapshot(sha256)
        if known and known.status == PriceSnapshot.Status.APPROVED:
            _warn_if_replaced(known)
            return PriceImport(known, is_new=False)
        if known and known.status == PriceSnapshot.Status.REJECTED:
            logger.warning("%s was rejected by %s: it is passed over.", known, known.decided_by)
            return PriceImport(known, is_new=False)
        if newer := newer_in_force(source, version):
            return PriceImport(newer, is_new=False)
        listing = feed.parse(document)
        now = at or approval_time()
        snapshot = known or PriceSnapshot(source=source, sha256=sha256, fetched_at=now)
        snapshot.source_version = version
        snapshot.document = zlib.compress(document)
        return put_in_force(snapshot, listing, now, by="release")


def lock_prices() -> None:
    """Of everything that changes list prices one at a time, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [IMPORT_LOCK])


def approved(source: str | None = None) -> "QuerySet[PriceSnapshot]":
    """Snapshots in force, the one approved last first; of one source or of all."""
    snapshots = PriceSnapshot.objects.filter(status=PriceSnapshot.Status.APPROVED).order_by("-approved_at", "-id")
    return snapshots if source is None else snapshots.filter(source=source)


def approval_time() -> datetime:
    """Now, or right after the last approval if that was by a clock that is ahead: books go by who was last."""
    now = timezone.now()
    last = approved().values_list("approved_at", flat=True).first()
    return now if last is None or last < now else last + timedelta(microseconds=1)


def put_in_force(snapshot: PriceSnapshot, listing: Listing, now: datetime, *, by: str) -> PriceImport:
    """Approves a snapshot and makes the table say what it says. Under `lock_prices`."""
    snapshot.status = PriceSnapshot.Status.APPROVED
    snapshot.approved_at, snapshot.closed_at, snapshot.decided_by = now, None, by
    snapshot.save()
    aliases_opened, aliases_closed = _write_aliases(snapshot, listing.aliases)
    revision = revise(standing_prices(snapshot.source), listing.prices, now)
    # Closed first: an opened row may start where its predecessor ends.
    close_prices(snapshot, revision.closings)
    open_prices(snapshot, revision.openings)
    take_off_queue(snapshot)
    transaction.on_commit(forget_book)
    return PriceImport(
        snapshot,
        is_new=True,
        prices_opened=len(revision.openings),
        prices_closed=len(revision.closings),
        aliases_opened=aliases_opened,
        aliases_closed=aliases_closed,
    )


def standing_prices(source: str) -> dict[PriceKey, list[Standing]]:
    """The table's rows of one source."""
    table: dict[PriceKey, list[Standing]] = {}
    for row in list_price_rows(source):
        table.setdefault(row.key, []).append(Standing(row.price_id, row.start, row.end, row.rate))
    return table


def standing_aliases(source: str) -> list[ModelAlias]:
    """The rules of one source that are in force."""
    rules = ModelAlias.objects.filter(organization_id=None, source=source, closed_by=None)
    return list(rules.order_by("provider", "priority"))


def known_snapshot(sha256: str) -> PriceSnapshot | None:
    """The snapshot of a document, with what was decided on it last."""
    return PriceSnapshot.objects.filter(sha256=sha256).order_by("-id").first()


def newer_in_force(source: str, version: str) -> PriceSnapshot | None:
    """The snapshot in force if that is of a newer release than `version`, logged as a warning."""
    newest = approved(source).first()
    if newest is None or _release(newest.source_version) <= _release(version):
        return None
    logger.warning("%s %s is older than %s, which stays in force.", source, version, newest)
    return newest


def _release(version: str) -> tuple[int, ...]:
    """A version to compare by: its numbers. 1.109.1 comes after 1.99.0."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _warn_if_replaced(snapshot: PriceSnapshot) -> None:
    newer = approved(snapshot.source).first()
    if newer and newer != snapshot:
        logger.warning("%s was imported before, and replaced by %s, which stays in force.", snapshot, newer)


def _write_aliases(snapshot: PriceSnapshot, listed: Sequence[Alias]) -> tuple[int, int]:
    """Rules of models that are gone upstream stay in force, after all listed ones. How many opened and closed."""
    standing = {
        (row.provider, row.canonical_provider, row.canonical_model): row for row in standing_aliases(snapshot.source)
    }
    places: dict[str, int] = {}
    opened: list[ModelAlias] = []
    closed: list[int] = []
    moved: list[ModelAlias] = []
    for alias in listed:
        priority = places.get(alias.provider, 0)
        places[alias.provider] = priority + 1
        row = standing.pop((alias.provider, alias.canonical_provider, alias.canonical_model), None)
        if row and row.rule == alias.rule:
            if row.priority != priority:
                row.priority = priority
                moved.append(row)
            continue
        if row:
            closed.append(row.pk)
        opened.append(
            ModelAlias(
                provider=alias.provider,
                rule=alias.rule,
                canonical_provider=alias.canonical_provider,
                canonical_model=alias.canonical_model,
                priority=priority,
                source=snapshot.source,
                snapshot=snapshot,
            )
        )
    for row in standing.values():
        priority = places.get(row.provider, 0)
        places[row.provider] = priority + 1
        if row.priority != priority:
            row.priority = priority
            moved.append(row)
    ModelAlias.objects.filter(pk__in=closed).update(closed_by=snapshot)
    ModelAlias.objects.bulk_update(moved, ["priority"], batch_size=BATCH)
    ModelAlias.objects.bulk_create(opened, batch_size=BATCH)
    return len(opened), len(closed)


def close_prices(snapshot: PriceSnapshot, closings: Sequence[Closing]) -> None:
    rows = [
        Price(pk=closing.price_id, effective=DateTimeTZRange(closing.start, closing.end, "[)"), closed_by=snapshot)
        for closing in closings
    ]
    Price.objects.bulk_update(rows, ["effective", "closed_by"], batch_size=BATCH)


def open_prices(snapshot: PriceSnapshot, openings: Sequence[tuple[PriceKey, Segment]]) -> None:
    """By COPY: a list has tens of thousands of prices, and rows of the ORM take several times as long."""
    columns = (
        *("provider", "canonical_model", "meter", "per", "tier_above", "variant", "tod_start", "tod_end"),
        *("weekday_mask", "effective", "unit_price", "minimum", "currency", "source", "snapshot_id", "note"),
    )
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(f"COPY pricing_price ({', '.join(columns)}) FROM STDIN") as copy,
    ):
        for key, segment in openings:
            copy.write_row(
                (
                    key.provider,
                    key.model,
                    key.meter.value,
                    segment.rate.per,
                    key.tier_above,
                    json.dumps(dict(key.variant)),
                    key.tod_start,
                    key.tod_end,
                    key.weekday_mask,
                    DateTimeTZRange(segment.start, segment.end, "[)"),
                    segment.rate.unit_price,
                    segment.rate.minimum,
                    segment.rate.currency,
                    snapshot.source,
                    snapshot.pk,
                    segment.note,
                )
            )
