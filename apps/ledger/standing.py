"""What an event counts for now: its facts and all its adjustments. And how the next adjustment is made.

Whoever adjusts holds the project's lock (`lock_project`), so that revisions follow one another; ingestion of spans
holds it too.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
from django.db import connection

from apps.ledger.models import METER_COLUMNS, Adjustment, PriceStatus, UsageEvent
from apps.ledger.prices import Price
from apps.pricing.meters import Meter

_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Standing:
    """`event` as it was reported, and what became of it.

    `meters` and `cost` are what totals hold of it: nothing for a duplicate. `revision` and `last_kind` are its last
    adjustment's number and kind, 0 and "" without any.
    """

    event: UsageEvent
    revision: int
    price: Price
    same_call_as: uuid.UUID | None
    meters: Mapping[Meter, int]
    service_tier: str
    last_kind: str = ""

    # What a price depends on (apps.ledger.prices.Priceable).

    @property
    def provider(self) -> str:
        return self.event.provider

    @property
    def model(self) -> str:
        return self.event.model

    @property
    def request_model(self) -> str:
        return self.event.request_model

    @property
    def operation(self) -> str:
        return self.event.operation

    @property
    def is_batch(self) -> bool:
        return self.event.is_batch

    @property
    def ending(self) -> str:
        return self.event.ending

    @property
    def total_duration_ms(self) -> float | None:
        return self.event.total_duration_ms


def lock_project(project_id: uuid.UUID) -> None:
    """One at a time may adjust a project's events or store its spans, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"ledger:{project_id}"])


def reported_meters(event: UsageEvent) -> dict[Meter, int]:
    """The quantities as they were reported; those that were not are left out."""
    return {meter: value for meter, name in METER_COLUMNS.items() if (value := getattr(event, name)) is not None}


def standings(events: Iterable[UsageEvent]) -> list[Standing]:
    """Of each event, in the same order. One query for all adjustments."""
    events = list(events)
    adjustments: dict[uuid.UUID, list[Adjustment]] = {}
    found = Adjustment.objects.filter(event__in=[event.id for event in events]).order_by("event_id", "revision")
    for adjustment in found:
        adjustments.setdefault(adjustment.event_id, []).append(adjustment)
    return [standing_of(event, adjustments.get(event.id, ())) for event in events]


def standing_of(event: UsageEvent, adjustments: Sequence[Adjustment]) -> Standing:
    """`adjustments` are all of the event's, by revision."""
    if not adjustments:
        is_duplicate = event.price_status == PriceStatus.DUPLICATE
        meters = {} if is_duplicate else reported_meters(event)
        return Standing(event, 0, _price(event, event.cost), event.same_call_as, meters, event.service_tier)
    last = adjustments[-1]
    rows: list[Any] = [] if event.price_status == PriceStatus.DUPLICATE else [event]
    rows += adjustments
    meters = {}
    if last.price_status != PriceStatus.DUPLICATE:
        for meter, name in METER_COLUMNS.items():
            values = [value for row in rows if (value := getattr(row, name)) is not None]
            if values:
                meters[meter] = sum(values)
    cost = None
    if last.price_status == PriceStatus.PRICED:
        cost = sum((row.cost for row in rows if row.cost is not None), _NOTHING)
    tier = next((each.service_tier for each in reversed(adjustments) if each.service_tier), event.service_tier)
    return Standing(event, last.revision, _price(last, cost), last.same_call_as, meters, tier, last.kind)


def _price(row: UsageEvent | Adjustment, cost: Decimal | None) -> Price:
    return Price(
        PriceStatus(row.price_status),
        row.price_reason,
        row.price_rule,
        row.price_snapshot_id,
        row.price_lines,
        cost,
        row.currency,
    )


def duplicate_price(rule: str) -> Price:
    """Of a row whose call another row counts; `rule` says how that was found."""
    return Price(PriceStatus.DUPLICATE, rule)


def adjust(
    standing: Standing,
    *,
    price: Price,
    meters: Mapping[Meter, int],
    kind: Adjustment.Kind,
    reason: str,
    same_call_as: uuid.UUID | None = None,
    service_tier: str = "",
    author_id: uuid.UUID | None = None,
    repricing_id: uuid.UUID | None = None,
) -> Adjustment | None:
    """The row, not stored yet, that makes the event count for `meters` at `price`; None where it does already.

    For a duplicate, `price` is a `duplicate_price`, `meters` are empty and `same_call_as` names the row that counts.
    Raises ValueError for a change of currency: one sum can't hold both.
    """
    before, cost = standing.price, _NOTHING
    is_duplicate = price.status == PriceStatus.DUPLICATE
    if is_duplicate != (same_call_as is not None) or (is_duplicate and meters):
        raise ValueError("A duplicate names the row that counts for it, and counts for nothing itself.")
    if before.currency and price.currency and before.currency != price.currency:
        raise ValueError(f"The event is in {before.currency}, the price in {price.currency}.")
    if before.cost is not None:
        cost -= before.cost
    if price.cost is not None:
        cost += price.cost
    deltas = {
        METER_COLUMNS[meter]: delta
        for meter in METER_COLUMNS
        if (delta := meters.get(meter, 0) - standing.meters.get(meter, 0))
    }
    is_same = (before.status, before.reason, standing.same_call_as) == (price.status, price.reason, same_call_as)
    if is_same and not cost and not deltas:
        return None
    return Adjustment(
        event_id=standing.event.id,
        revision=standing.revision + 1,
        project_id=standing.event.project_id,
        occurred_at=standing.event.occurred_at,
        kind=kind,
        reason=reason,
        author_id=author_id,
        repricing_id=repricing_id,
        calls=_calls(price) - _calls(before),
        unpriced=_unpriced(price) - _unpriced(before),
        cost=cost or None,
        currency=price.currency or before.currency,
        price_status=price.status,
        price_reason=price.reason,
        price_rule=price.rule,
        price_snapshot_id=price.snapshot_id,
        price_lines=msgspec.to_builtins(price.lines),
        same_call_as=same_call_as,
        service_tier=service_tier,
        **deltas,
    )


def _calls(price: Price) -> int:
    return int(price.status != PriceStatus.DUPLICATE)


def _unpriced(price: Price) -> int:
    return int(price.status == PriceStatus.UNPRICED)


def store(adjustments: Iterable[Adjustment | None]) -> int:
    """How many there were to store."""
    rows = [adjustment for adjustment in adjustments if adjustment is not None]
    Adjustment.objects.bulk_create(rows, batch_size=500)
    return len(rows)
