"""Recomputing the ledger from its rows: every cost from its price lines, every state from what led to it, every total
from the events. In constant memory but for one sum a project and month."""

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import NamedTuple

import msgspec

from apps.ledger.columns import exact
from apps.ledger.models import METER_COLUMNS, Adjustment, PriceStatus, UsageEvent
from apps.ledger.selectors import EventFilter, Totals, totals
from apps.ledger.selectors.filters import projects_with_events
from apps.ledger.selectors.pages import CHUNK, events_after
from apps.pricing.meters import Meter
from apps.pricing.models import Price
from apps.pricing.rating import PLACES, Line

# As apps/pricing/rating.py reckons: no product or sum is rounded.
_EXACT = Context(prec=60)
_NOTHING = Decimal(0)


class Difference(NamedTuple):
    """What is not as it should be. `subject` names the row or the sum."""

    subject: str
    problem: str


@dataclass(slots=True)
class Report:
    """How much was looked at, once all differences are taken."""

    events: int = 0
    adjustments: int = 0
    sums: int = 0


@dataclass(slots=True)
class _Sum:
    """Totals, added up from rows."""

    events: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    meters: Counter[Meter] = field(default_factory=Counter)
    tokens: int = 0
    unpriced_tokens: int = 0
    costs: dict[str, Decimal] = field(default_factory=dict)
    adjustments: int = 0

    def count(self, state: "_State", adjustments: int) -> None:
        self.events += 1
        self.adjustments += adjustments
        self.statuses[state.status] += 1
        self.meters.update(state.meters)
        tokens = state.meters[Meter.INPUT] + state.meters[Meter.OUTPUT]
        self.tokens += tokens
        if state.status == PriceStatus.UNPRICED:
            self.unpriced_tokens += tokens
        if state.cost:
            self.costs[state.currency] = self.costs.get(state.currency, _NOTHING) + state.cost

    def differences(self, found: Totals) -> Iterator[str]:
        """From what the database adds up."""
        for name, ours, theirs in [
            ("events", self.events, found.events),
            ("calls", self.events - self.statuses[PriceStatus.DUPLICATE], found.calls),
            ("duplicates", self.statuses[PriceStatus.DUPLICATE], found.duplicates),
            ("failed", self.statuses[PriceStatus.FAILED], found.failed),
            ("unpriced", self.statuses[PriceStatus.UNPRICED], found.unpriced),
            ("unpriced tokens", self.unpriced_tokens, found.unpriced_tokens),
            ("adjustments", self.adjustments, found.adjustments),
            *((column, self.meters[meter], found.meters.get(meter, 0)) for meter, column in METER_COLUMNS.items()),
        ]:
            if ours != theirs:
                yield f"{name}: the rows come to {ours}, the total is {theirs}"
        for currency in sorted(self.costs.keys() | found.costs.keys()):
            cost, total = self.costs.get(currency, _NOTHING), found.costs.get(currency, _NOTHING)
            if cost != total:
                yield f"cost: the rows come to {exact(cost)} {currency}, the total is {exact(total)} {currency}"


@dataclass(slots=True)
class _State:
    """An event after some of its adjustments: its own columns and their sums, whatever they come to."""

    status: str
    cost: Decimal
    currency: str
    meters: dict[Meter, int]

    @classmethod
    def of(cls, event: UsageEvent) -> "_State":
        is_duplicate = event.price_status == PriceStatus.DUPLICATE
        meters = {meter: 0 if is_duplicate else getattr(event, name) or 0 for meter, name in METER_COLUMNS.items()}
        return cls(event.price_status, event.cost or _NOTHING, event.currency, meters)

    def after(self, adjustment: Adjustment) -> "_State":
        meters = {meter: self.meters[meter] + (getattr(adjustment, name) or 0) for meter, name in METER_COLUMNS.items()}
        cost = self.cost + (adjustment.cost or _NOTHING)
        return _State(adjustment.price_status, cost, adjustment.currency or self.currency, meters)


def verify(report: Report) -> Iterator[Difference]:
    """All differences in the organization in scope. Read it within `snapshot`: it takes many queries."""
    prices = _Prices()
    everything = _Sum()
    for project_id in projects_with_events():
        month, start = _Sum(), None
        for event, adjustments in _rows(project_id, report):
            begins = event.occurred_at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            if start is not None and begins != start:
                # The rows come by time: this month is complete.
                yield from _check_month(project_id, start, month, report)
                month = _Sum()
            start = begins
            yield from _check_event(event, adjustments, prices)
            state = _State.of(event)
            for adjustment in adjustments:
                state = state.after(adjustment)
            month.count(state, len(adjustments))
            everything.count(state, len(adjustments))
        if start is not None:
            yield from _check_month(project_id, start, month, report)
    report.sums += 1
    for problem in everything.differences(totals(EventFilter())):
        yield Difference("total of everything", problem)


def _rows(project_id: uuid.UUID, report: Report) -> Iterator[tuple[UsageEvent, list[Adjustment]]]:
    where, last = EventFilter().where(), None
    while found := events_after(where, project_id, last, CHUNK):
        chains: dict[uuid.UUID, list[Adjustment]] = {event.id: [] for event in found}
        for adjustment in Adjustment.objects.filter(event_id__in=chains).order_by("event_id", "revision"):
            chains[adjustment.event_id].append(adjustment)
            report.adjustments += 1
        report.events += len(found)
        for event in found:
            yield event, chains[event.id]
        last = found[-1]


def _check_month(project_id: uuid.UUID, start: datetime, counted: _Sum, report: Report) -> Iterator[Difference]:
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    report.sums += 1
    for problem in counted.differences(totals(EventFilter(project_ids=(project_id,), start=start, end=end))):
        yield Difference(f"total of project {project_id}, {start:%Y-%m}", problem)


def _check_event(event: UsageEvent, adjustments: Sequence[Adjustment], prices: "_Prices") -> Iterator[Difference]:
    subject = f"event {event.id} (project {event.project_id}, id {event.event_id})"
    state = _State.of(event)
    for problem in [
        *(
            f"{name} is negative: {value}"
            for name in METER_COLUMNS.values()
            if (value := getattr(event, name) or 0) < 0
        ),
        *_check_state(state, event.price_lines, prices),
    ]:
        yield Difference(subject, problem)
    if [each.revision for each in adjustments] != list(range(1, len(adjustments) + 1)):
        numbers = ", ".join(str(each.revision) for each in adjustments)
        yield Difference(subject, f"its adjustments are not numbered from 1 on without a gap: {numbers}")
    for adjustment in adjustments:
        name = f"revision {adjustment.revision} of {subject}"
        before, state = state, state.after(adjustment)
        for problem in [
            *_check_change(event, before, adjustment),
            *_check_state(state, adjustment.price_lines, prices),
        ]:
            yield Difference(name, problem)


def _check_change(event: UsageEvent, before: _State, adjustment: Adjustment) -> Iterator[str]:
    if (adjustment.project_id, adjustment.occurred_at) != (event.project_id, event.occurred_at):
        yield "its project or its time is not the event's"
    calls = _is_call(adjustment.price_status) - _is_call(before.status)
    if adjustment.calls != calls:
        yield f"it changes the number of calls by {adjustment.calls}, its state by {calls}"
    unpriced = _is_unpriced(adjustment.price_status) - _is_unpriced(before.status)
    if adjustment.unpriced != unpriced:
        yield f"it changes the number of unpriced calls by {adjustment.unpriced}, its state by {unpriced}"
    if before.cost and adjustment.currency not in ("", before.currency):
        yield f"it is in {adjustment.currency}, the event in {before.currency}"


def _check_state(state: _State, lines: Sequence[object], prices: "_Prices") -> Iterator[str]:
    for meter, quantity in state.meters.items():
        if quantity < 0:
            yield f"its {METER_COLUMNS[meter]} come to {quantity}"
        elif quantity and state.status == PriceStatus.DUPLICATE:
            yield f"it is a duplicate and counts for {quantity} {METER_COLUMNS[meter]}"
    try:
        priced = msgspec.convert(lines, list[Line], strict=False)
    except msgspec.ValidationError as error:
        yield f"its price lines can't be read: {error}"
        return
    total = _NOTHING
    for line in priced:
        try:
            amount = _amount(line)
        except ArithmeticError:
            yield f"the amount of its {line.meter} can't be computed: {line.quantity} at {line.unit_price}/{line.per}"
            return
        if amount != line.amount:
            yield f"the amount of its {line.meter} is {line.amount}, its quantity and price come to {amount}"
        if (problem := prices.check(line)) is not None:
            yield problem
        total = _EXACT.add(total, amount)
    if state.status != PriceStatus.PRICED:
        if state.cost:
            yield f"it is {state.status} and costs {exact(state.cost)}"
    elif state.cost != (computed := total.quantize(PLACES, ROUND_HALF_UP, _EXACT)):
        yield f"its cost is {exact(state.cost)}, its lines come to {exact(computed)}"


def _amount(line: Line) -> Decimal:
    product = _EXACT.multiply(line.unit_price, line.quantity)
    if line.multiplier is not None:
        product = _EXACT.multiply(product, line.multiplier)
    return _EXACT.divide(product, Decimal(line.per))


def _is_call(status: str) -> int:
    return int(status != PriceStatus.DUPLICATE)


def _is_unpriced(status: str) -> int:
    return int(status == PriceStatus.UNPRICED)


class _Prices:
    """The price rows that lines name; each is asked for once. There are some ten thousand."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Decimal, int, str] | None] = {}

    def check(self, line: Line) -> str | None:
        if line.price_id not in self._known:
            row = Price.objects.filter(pk=line.price_id).values_list("unit_price", "per", "meter").first()
            self._known[line.price_id] = row
        known = self._known[line.price_id]
        if known is None:
            return f"price {line.price_id} of its {line.meter} does not exist"
        if known != (line.unit_price, line.per, line.meter.value):
            return f"price {line.price_id} is {known[0]}/{known[1]} for {known[2]}, not what its {line.meter} line says"
        return None
