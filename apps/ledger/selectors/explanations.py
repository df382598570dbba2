"""Why an event costs what it costs: its price lines, everything that changed it, and the rows of the same call."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from apps.ledger.models import METER_COLUMNS, Adjustment, PriceStatus, UsageEvent
from apps.ledger.standing import Standing, standing_of, standings
from apps.pricing.meters import Meter
from apps.pricing.models import Discount, Price
from apps.pricing.rating import Line

# Rows of the same call that are shown: a page's worth, more would be a fault of the reporter.
MOST_SAME_CALL = 100

# What is behind apps.pricing.rating.Flag and apps.ledger.rows.Flag.
FLAGS = {
    "variant_unknown": "No price is known for its service tier or batch mode: priced as standard.",
    "counted_beside": "Cached or reasoning tokens exceeded the whole, so they were taken as counted beside it.",
    "by_request_model": "The response's model is not known: priced as the model that was asked for.",
    "by_routed_model": "The model's name says which vendor's price this is.",
    "clock_skew": "It begins or ends in the future by the reporter's clock, or ends before it begins.",
    "time_of_report": "The reporter named no time: it is the report's.",
}
REASONS = {
    "self_hosted": "Served by your own machines: 0 unless you set a rate.",
    "unknown_provider": "No prices are known for this provider.",
    "unknown_model": "No price is known for this model.",
    "no_meter_price": "The model has no price for some of what was used; half a cost would pass for the whole.",
    "missing_usage": "The report does not tell what was used.",
    "out_of_bounds": "Its price gives a cost of a trillion or more: look at the price.",
    "ambiguous_variant": "Two prices fit this call.",
    "within_call": "A call further out in the same trace is the same call.",
    "around_calls": "It does not say which model was asked, and the calls within it are reported by themselves.",
    "same_response": "Another report names the same response of the provider.",
    "possible_duplicate": "Another instrumentation reported the same model and counts at the same time: a guess.",
}
STATUSES = {
    PriceStatus.PRICED: "Priced.",
    PriceStatus.UNPRICED: "Not priced: its cost is unknown, which is not zero.",
    PriceStatus.FAILED: "It failed without usage: there is nothing to price.",
    PriceStatus.DUPLICATE: "Counted in another row.",
}


@dataclass(frozen=True, slots=True)
class PriceLine:
    """amount = quantity * unit_price * multiplier / per, exact; the cost is their sum, rounded once to 12 places.

    `fallback_from` is the meter that was counted, where it has no price of its own and costs what `meter` does.
    `source`, `version` and `known_since` name the price list, or are empty where the organization's own price is
    used (`is_own`). The price holds from `since` until before `until`. A price that is gone leaves provider and the
    like empty: the line itself says all that the amount depends on. `discount` is the organization's whose factor
    `multiplier` is; rows of older releases don't say which it was.
    """

    meter: Meter
    quantity: int
    unit_price: Decimal
    per: int
    amount: Decimal
    fallback_from: Meter | None
    multiplier: Decimal | None
    price_id: int
    provider: str = ""
    model: str = ""
    is_own: bool = False
    source: str = ""
    version: str = ""
    known_since: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None
    note: str = ""
    discount: Discount | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """An adjustment: what it added (signed), and how the event stood after it."""

    adjustment: Adjustment
    meters: Mapping[Meter, int]
    after: Standing
    lines: Sequence[PriceLine]


@dataclass(frozen=True, slots=True)
class Explanation:
    """`reported` is the event as it came in; `lines` are the ones that its cost comes from now.

    `counted_by` is the row that counts for the same call, where this one does not; `same_call` are the rows for which
    this one counts. `reported_cost_difference` is our cost less the reporter's, where both are known in US dollars.
    """

    standing: Standing
    reported: Standing
    lines: Sequence[PriceLine]
    reported_lines: Sequence[PriceLine]
    status: str
    reason: str
    flags: Sequence[str]
    changes: Sequence[Change]
    counted_by: Standing | None
    same_call: Sequence[Standing]

    @property
    def reported_cost_difference(self) -> Decimal | None:
        ours, theirs = self.standing.price, self.standing.event.reported_cost
        return None if ours.cost is None or theirs is None or ours.currency != "USD" else ours.cost - theirs


def explain(event_pk: uuid.UUID, *, project_ids: Sequence[uuid.UUID] | None = None) -> Explanation:
    """Of the row with this `id`. Raises UsageEvent.DoesNotExist, also for one that is not of `project_ids`.

    Seven queries at most.
    """
    events = UsageEvent.objects.all()
    if project_ids is not None:
        events = events.filter(project_id__in=project_ids)
    event = events.get(pk=event_pk)
    adjustments = list(Adjustment.objects.filter(event=event).order_by("revision"))
    states = [standing_of(event, adjustments[:count]) for count in range(len(adjustments) + 1)]
    priced = [_lines(state) for state in states]
    prices, discounts = _prices(priced), _discounts(priced)
    lines = [[_line(line, prices, discounts) for line in own] for own in priced]
    now = states[-1]
    return Explanation(
        standing=now,
        reported=states[0],
        lines=lines[-1],
        reported_lines=lines[0],
        status=STATUSES[now.price.status],
        reason=_words(REASONS, now.price.reason),
        flags=[_words(FLAGS, flag) for flag in now.flags],
        changes=[
            Change(adjustment, _deltas(adjustment), after, own)
            for adjustment, after, own in zip(adjustments, states[1:], lines[1:], strict=True)
        ],
        counted_by=_counted_by(now),
        same_call=_same_call(event),
    )


def _words(known: Mapping[str, str], name: str) -> str:
    """A newer release's name is shown as it is."""
    return known.get(name, name)


def _lines(state: Standing) -> list[Line]:
    return [msgspec.convert(line, Line, strict=False) for line in state.price.lines]


def _prices(priced: Iterable[Sequence[Line]]) -> dict[int, Price]:
    ids = {line.price_id for lines in priced for line in lines}
    # Not the snapshot's document, which is megabytes.
    prices = Price.objects.select_related("snapshot").defer("snapshot__document")
    return prices.in_bulk(list(ids)) if ids else {}


def _discounts(priced: Iterable[Sequence[Line]]) -> dict[int, Discount]:
    ids = {line.discount_id for lines in priced for line in lines if line.discount_id is not None}
    return Discount.objects.in_bulk(list(ids)) if ids else {}


def _line(line: Line, prices: Mapping[int, Price], discounts: Mapping[int, Discount]) -> PriceLine:
    price = prices.get(line.price_id)
    named: dict[str, Any] = {}
    if line.discount_id is not None:
        named["discount"] = discounts.get(line.discount_id)
    if price is not None:
        named |= {
            "provider": price.provider,
            "model": price.canonical_model,
            "is_own": price.organization_id is not None,
            "since": price.effective.lower,
            "until": price.effective.upper,
            "note": price.note,
        }
        if price.snapshot is not None:
            named |= {
                "source": price.snapshot.source,
                "version": price.snapshot.source_version,
                "known_since": price.snapshot.approved_at,
            }
    return PriceLine(
        line.meter,
        line.quantity,
        line.unit_price,
        line.per,
        line.amount,
        line.fallback_from,
        line.multiplier,
        line.price_id,
        **named,
    )


def _deltas(adjustment: Adjustment) -> dict[Meter, int]:
    return {meter: value for meter, name in METER_COLUMNS.items() if (value := getattr(adjustment, name)) is not None}


def _counted_by(state: Standing) -> Standing | None:
    if state.same_call_as is None:
        return None
    found = UsageEvent.objects.filter(project_id=state.event.project_id, event_id=state.same_call_as)
    return next(iter(standings(found)), None)


def _same_call(event: UsageEvent) -> list[Standing]:
    """The rows that name this one now. Each was said to at some time, by itself or by an adjustment."""
    named = {"project_id": event.project_id, "same_call_as": event.event_id}
    # One list of ids first: with an "or" of two subqueries PostgreSQL would read the whole table.
    by_itself = UsageEvent.objects.filter(**named).values_list("id")
    ids = by_itself.union(Adjustment.objects.filter(**named).values_list("event_id"))
    found = UsageEvent.objects.filter(id__in=[row_id for (row_id,) in ids])
    rows = standings(found.order_by("occurred_at", "id")[:MOST_SAME_CALL])
    return [row for row in rows if row.same_call_as == event.event_id]
