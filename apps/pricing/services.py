"""Writing the price table: imports of feeds."""

import hashlib
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.utils import timezone

from apps.pricing.feeds import FEEDS
from apps.pricing.feeds.base import Alias, PriceKey, Segment
from apps.pricing.models import ModelAlias, Price, PriceSnapshot
from apps.pricing.selectors import forget_book, list_price_rows
from apps.pricing.timeline import Closing, Standing, revise

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
    """Brings the table to the state of every installed feed. Raises FeedError."""
    return [import_prices(source=source) for source in FEEDS]


def import_prices(*, source: str, at: datetime | None = None) -> PriceImport:
    """Reads a feed and changes the table where it says something new, all or nothing.

    The pinned package is the approval: changes without a date of their own count from `at`, by default now.
    Idempotent, and safe to run twice at once. Raises KeyError for an unknown source and FeedError for a document
    that can't be understood.
    """
    feed = FEEDS[source]
    version, document = feed.read()
    sha256 = hashlib.sha256(document).hexdigest()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [IMPORT_LOCK])
        if known := PriceSnapshot.objects.filter(sha256=sha256).first():
            _warn_if_replaced(known)
            return PriceImport(known, is_new=False)
        listing = feed.parse(document)
        now = at or timezone.now()
        snapshot = PriceSnapshot.objects.create(
            source=source,
            source_version=version,
            sha256=sha256,
            fetched_at=now,
            approved_at=now,
            decided_by="release",
            document=zlib.compress(document),
        )
        aliases_opened, aliases_closed = _write_aliases(snapshot, listing.aliases)
        table: dict[PriceKey, list[Standing]] = {}
        for row in list_price_rows(source):
            table.setdefault(row.key, []).append(Standing(row.price_id, row.start, row.end, row.rate))
        revision = revise(table, listing.prices, now)
        # Closed first: an opened row may start where its predecessor ends.
        _close_prices(snapshot, revision.closings)
        _open_prices(snapshot, revision.openings)
        transaction.on_commit(forget_book)
    return PriceImport(
        snapshot,
        is_new=True,
        prices_opened=len(revision.openings),
        prices_closed=len(revision.closings),
        aliases_opened=aliases_opened,
        aliases_closed=aliases_closed,
    )


def _warn_if_replaced(snapshot: PriceSnapshot) -> None:
    newer = PriceSnapshot.objects.filter(source=snapshot.source, id__gt=snapshot.id).order_by("-id").first()
    if newer:
        logger.warning("%s was imported before, and replaced by %s, which stays in force.", snapshot, newer)


def _write_aliases(snapshot: PriceSnapshot, listed: Sequence[Alias]) -> tuple[int, int]:
    """Rules of models that are gone upstream stay in force, after all listed ones. How many opened and closed."""
    standing = {
        (row.provider, row.canonical_provider, row.canonical_model): row
        for row in ModelAlias.objects.filter(organization_id=None, source=snapshot.source, closed_by=None).order_by(
            "provider", "priority"
        )
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


def _close_prices(snapshot: PriceSnapshot, closings: Sequence[Closing]) -> None:
    rows = [
        Price(pk=closing.price_id, effective=DateTimeTZRange(closing.start, closing.end, "[)"), closed_by=snapshot)
        for closing in closings
    ]
    Price.objects.bulk_update(rows, ["effective", "closed_by"], batch_size=BATCH)


def _open_prices(snapshot: PriceSnapshot, openings: Sequence[tuple[PriceKey, Segment]]) -> None:
    Price.objects.bulk_create(
        [
            Price(
                provider=key.provider,
                canonical_model=key.model,
                meter=key.meter.value,
                per=segment.rate.per,
                tier_above=key.tier_above,
                variant=dict(key.variant),
                tod_start=key.tod_start,
                tod_end=key.tod_end,
                weekday_mask=key.weekday_mask,
                effective=DateTimeTZRange(segment.start, segment.end, "[)"),
                unit_price=segment.rate.unit_price,
                minimum=segment.rate.minimum,
                currency=segment.rate.currency,
                source=snapshot.source,
                snapshot=snapshot,
                note=segment.note,
            )
            for key, segment in openings
        ],
        batch_size=BATCH,
    )
