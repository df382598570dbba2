"""Recomputing the ledger from its rows: every cost from its price lines, these from the quantities, every state from
what led to it, every total from the events. In constant memory but for one sum a project and month, and re-pricings."""

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import NamedTuple

import msgspec

from apps.ledger.calls import Ending
from apps.ledger.columns import exact
from apps.ledger.models import METER_COLUMNS, Adjustment, PriceStatus, Repricing, UsageEvent
from apps.ledger.retention import adjustments_deleted_since, deleted_until
from apps.ledger.selectors import EventFilter, Totals, totals
from apps.ledger.selectors.filters import projects_with_events
from apps.ledger.selectors.pages import CHUNK, events_after
from apps.ledger.standing import standings
from apps.pricing.meters import OF_EVERY_CALL, Meter, exclusive
from apps.pricing.models import Discount, Price
from apps.pricing.providers import SELF_HOSTED, canonical, router_provider
from apps.pricing.rating import PLACES, Line, Reason, Rule

# As apps/pricing/rating.py reckons: no product or sum is rounded.
_EXACT = Context(prec=60)
_NOTHING = Decimal(0)
# How far apart the reports of one call may be said to lie: one with the time of its arrival may have come late.
_MOST_APART = timedelta(days=30)


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
    """An event after some of its adjustments: its own columns and their sums, whatever they come to. A meter that was
    not told is 0."""

    status: str
    reason: str
    rule: str
    same_call_as: uuid.UUID | None
    cost: Decimal
    currency: str
    meters: dict[Meter, int]

    @classmethod
    def of(cls, event: UsageEvent) -> "_State":
        is_duplicate = event.price_status == PriceStatus.DUPLICATE
        meters = {meter: 0 if is_duplicate else getattr(event, name) or 0 for meter, name in METER_COLUMNS.items()}
        return cls(
            event.price_status,
            event.price_reason,
            event.price_rule,
            event.same_call_as,
            event.cost or _NOTHING,
            event.currency,
            meters,
        )

    def after(self, adjustment: Adjustment) -> "_State":
        meters = {meter: self.meters[meter] + (getattr(adjustment, name) or 0) for meter, name in METER_COLUMNS.items()}
        cost = self.cost + (adjustment.cost or _NOTHING)
        return _State(
            adjustment.price_status,
            adjustment.price_reason,
            adjustment.price_rule,
            adjustment.same_call_as,
            cost,
            adjustment.currency or self.currency,
            meters,
        )


def verify(report: Report) -> Iterator[Difference]:
    """All differences in the organization in scope. Read it within `snapshot`: it takes many queries."""
    prices, repricings = _Prices(), _Repricings()
    everything = _Sum()
    deleted = deleted_until()
    for project_id in projects_with_events():
        month, start = _Sum(), None
        for rows in _chunks(project_id, report):
            duplicates: list[_Duplicate] = []
            for event, adjustments in rows:
                begins = event.occurred_at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
                if start is not None and begins != start:
                    # The rows come by time: this month is complete.
                    yield from _check_month(project_id, start, month, report)
                    month = _Sum()
                start = begins
                yield from _check_event(event, adjustments, prices)
                yield from repricings.check(event, adjustments)
                state = _State.of(event)
                for adjustment in adjustments:
                    state = state.after(adjustment)
                month.count(state, len(adjustments))
                everything.count(state, len(adjustments))
                if state.status == PriceStatus.DUPLICATE and state.same_call_as is not None:
                    duplicates.append(_Duplicate(event, state.same_call_as))
            yield from _check_duplicates(project_id, duplicates, deleted.get(project_id))
        if start is not None:
            yield from _check_month(project_id, start, month, report)
    yield from repricings.differences()
    report.sums += 1
    for problem in everything.differences(totals(EventFilter())):
        yield Difference("total of everything", problem)


def _chunks(project_id: uuid.UUID, report: Report) -> Iterator[list[tuple[UsageEvent, list[Adjustment]]]]:
    """A project's events by time, some at once, each with its adjustments."""
    where, last = EventFilter().where(), None
    while found := events_after(where, project_id, last, CHUNK):
        chains: dict[uuid.UUID, list[Adjustment]] = {event.id: [] for event in found}
        for adjustment in Adjustment.objects.filter(event_id__in=chains).order_by("event_id", "revision"):
            chains[adjustment.event_id].append(adjustment)
            report.adjustments += 1
        report.events += len(found)
        yield [(event, chains[event.id]) for event in found]
        last = found[-1]


def _check_month(project_id: uuid.UUID, start: datetime, counted: _Sum, report: Report) -> Iterator[Difference]:
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    report.sums += 1
    for problem in counted.differences(totals(EventFilter(project_ids=(project_id,), start=start, end=end))):
        yield Difference(f"total of project {project_id}, {start:%Y-%m}", problem)


def _check_event(event: UsageEvent, adjustments: Sequence[Adjustment], prices: "_Prices") -> Iterator[Difference]:
    subject, state = _subject(event), _State.of(event)
    for problem in [
        *(
            f"{name} is negative: {value}"
            for name in METER_COLUMNS.values()
            if (value := getattr(event, name) or 0) < 0
        ),
        *_check_state(event, state, event.price_lines, prices),
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
            *_check_state(event, state, adjustment.price_lines, prices),
        ]:
            yield Difference(name, problem)


def _subject(event: UsageEvent) -> str:
    return f"event {event.id} (project {event.project_id}, id {event.event_id})"


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


def _check_state(event: UsageEvent, state: _State, lines: Sequence[object], prices: "_Prices") -> Iterator[str]:
    for meter, quantity in state.meters.items():
        if quantity < 0:
            yield f"its {METER_COLUMNS[meter]} come to {quantity}"
        elif quantity and state.status == PriceStatus.DUPLICATE:
            yield f"it is a duplicate and counts for {quantity} {METER_COLUMNS[meter]}"
    if (state.status == PriceStatus.DUPLICATE) != (state.same_call_as is not None):
        yield f"it is {state.status} and says that {state.same_call_as or 'no row'} counts for it"
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
    # Quantities below 0 were named above; nothing can be taken apart that has them.
    if all(quantity >= 0 for quantity in state.meters.values()):
        yield from _check_quantities(event, state, priced, prices)


def _check_quantities(event: UsageEvent, state: _State, lines: Sequence[Line], prices: "_Prices") -> Iterator[str]:
    """Whether the lines are for what was used: for no more, and, as the status says, for all of it or not."""
    own, _ = exclusive(state.meters)
    tokens = {meter: quantity for meter, quantity in own.items() if quantity and meter not in OF_EVERY_CALL}
    is_told = state.meters[Meter.INPUT] > 0 and state.meters[Meter.OUTPUT] > 0
    counted: set[Meter] = set()
    for line in lines:
        meter = line.fallback_from or line.meter
        if meter in counted:
            yield f"two of its lines count {meter}"
        counted.add(meter)
        match meter:
            case Meter.REQUEST:
                # Without tokens an older release billed one request, however many there were.
                allowed = {state.meters[Meter.REQUEST] or 1} | (set() if is_told else {1})
            case Meter.DURATION:
                allowed = {round(event.total_duration_ms or 0)}
            case _:
                allowed = {own.get(meter, 0)}
        if line.quantity not in {max(quantity, prices.minimum(line)) for quantity in allowed}:
            yield f"its {meter} line counts {line.quantity}, its quantities come to {max(allowed)}"
    left = [meter for meter in tokens if meter not in counted]
    match state.status:
        case PriceStatus.PRICED:
            # Where a whole was not told, the price is for the call or its time, and no tokens count.
            is_for_the_call = bool(counted) and OF_EVERY_CALL.issuperset(counted) and not is_told
            if left and not is_for_the_call and not _is_free(event, state):
                yield f"it is priced, and no line counts its {', '.join(left)}"
        case PriceStatus.UNPRICED:
            if not state.reason:
                yield "it is unpriced and does not say why"
            elif lines and (state.reason != Reason.NO_METER_PRICE or not left):
                yield f"it is unpriced ({state.reason}), and its lines have a price for all that it used"
        case PriceStatus.FAILED:
            if event.ending != Ending.ERROR or lines:
                yield f"it is failed, ended {event.ending}, and has {len(lines)} price lines"
        case PriceStatus.DUPLICATE:
            if lines:
                yield f"it is a duplicate and has {len(lines)} price lines"


def _is_free(event: UsageEvent, state: _State) -> bool:
    """Whether what has no price costs nothing: on own machines, with or without a rate for something."""
    if state.reason == Reason.SELF_HOSTED:
        return True
    names = [canonical(event.provider)]
    for model in (event.model, event.request_model):
        if target := router_provider(names[0], model.strip().lower()):
            names.append(target[0])
    return state.rule == Rule.OVERRIDE and not SELF_HOSTED.isdisjoint(names)


class _Duplicate(NamedTuple):
    """An event for whose call another row counts now, and which."""

    event: UsageEvent
    same_call_as: uuid.UUID


def _check_duplicates(
    project_id: uuid.UUID, duplicates: Sequence[_Duplicate], deleted: datetime | None
) -> Iterator[Difference]:
    """Each must lead to a row that counts, if by way of other duplicates, or to one that retention deleted. `deleted`
    is when the last of those began."""
    leads_to = _leads(project_id, duplicates)
    for event, place in duplicates:
        passed = {event.event_id}
        while place not in passed and (further := leads_to.get(place)) is not None:
            passed.add(place)
            place = further
        if place in passed:
            yield Difference(_subject(event), "it is a duplicate, and none of the rows that it leads to counts")
        elif place not in leads_to and (deleted is None or event.occurred_at > deleted + _MOST_APART):
            yield Difference(_subject(event), f"it is a duplicate of {place}, which does not exist")


def _leads(project_id: uuid.UUID, duplicates: Sequence[_Duplicate]) -> Mapping[uuid.UUID, uuid.UUID | None]:
    """Of every row that they lead to which counts for it: None for one that counts itself. Those that don't exist are
    left out."""
    found: dict[uuid.UUID, uuid.UUID | None] = {}
    wanted = {same_call_as for _, same_call_as in duplicates}
    while wanted:
        rows = standings(UsageEvent.objects.filter(project_id=project_id, event_id__in=wanted))
        found |= {row.event.event_id: row.same_call_as for row in rows}
        wanted = {row.same_call_as for row in rows if row.same_call_as is not None} - found.keys()
    return found


class _Repricings:
    """What re-pricings say that they changed, against the adjustments that name them."""

    def __init__(self) -> None:
        self._known: dict[uuid.UUID, Repricing] = Repricing.objects.defer("filter", "preview").in_bulk()
        self._changed: Counter[uuid.UUID] = Counter()

    def check(self, event: UsageEvent, adjustments: Sequence[Adjustment]) -> Iterator[Difference]:
        """Counts an event's. Its last one can't be of a re-pricing that was taken back."""
        for adjustment in adjustments:
            name = f"revision {adjustment.revision} of {_subject(event)}"
            if adjustment.repricing_id is None:
                continue
            repricing = self._known.get(adjustment.repricing_id)
            if repricing is None:
                yield Difference(name, f"there is no re-pricing {adjustment.repricing_id}")
            elif adjustment.kind == Adjustment.Kind.REPRICE:
                self._changed[repricing.pk] += 1
                if adjustment is adjustments[-1] and repricing.status == Repricing.Status.REVERSED:
                    yield Difference(name, f"re-pricing {repricing.pk} was taken back, and this still stands")

    def differences(self) -> Iterator[Difference]:
        """After all events."""
        for repricing in self._known.values():
            missing = repricing.events_changed - self._changed[repricing.pk]
            # What retention deleted since was among them, or not.
            if missing and not 0 < missing <= adjustments_deleted_since(repricing.started_at or repricing.created_at):
                yield Difference(
                    f"re-pricing {repricing.pk}",
                    f"it changed {repricing.events_changed} events, its adjustments are {self._changed[repricing.pk]}",
                )


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
    """The price rows and discounts that lines name; each is asked for once. There are some ten thousand."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Decimal, int, str, int] | None] = {}
        self._discounts: dict[int, Decimal | None] = {}

    def check(self, line: Line) -> str | None:
        known = self._price(line)
        if known is None:
            return f"price {line.price_id} of its {line.meter} does not exist"
        if known[:3] != (line.unit_price, line.per, line.meter.value):
            return f"price {line.price_id} is {known[0]}/{known[1]} for {known[2]}, not what its {line.meter} line says"
        # Lines of older releases don't name theirs.
        if line.discount_id is not None and line.multiplier != (known_as := self._multiplier(line.discount_id)):
            return f"discount {line.discount_id} is {known_as}, not the {line.multiplier} of its {line.meter} line"
        return None

    def minimum(self, line: Line) -> int:
        """The least that is billed at the line's price."""
        known = self._price(line)
        return 0 if known is None else known[3]

    def _price(self, line: Line) -> tuple[Decimal, int, str, int] | None:
        if line.price_id not in self._known:
            row = Price.objects.filter(pk=line.price_id).values_list("unit_price", "per", "meter", "minimum").first()
            self._known[line.price_id] = row
        return self._known[line.price_id]

    def _multiplier(self, discount_id: int) -> Decimal | None:
        if discount_id not in self._discounts:
            row = Discount.objects.filter(pk=discount_id).values_list("multiplier", flat=True).first()
            self._discounts[discount_id] = row
        return self._discounts[discount_id]
