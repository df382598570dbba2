"""Rating past events again, by the prices that are known now for the time of each event.

    repricing = preview(EventFilter(…), reason="Found the price of …", author_id=…)
    start(repricing)
    reverse(repricing, reason="The discount was another customer's.", author_id=…)

Nothing is written to the ledger before `start`, and then only adjustments, one for each event that costs something
else. The work goes in batches (the task `ledger.run_repricing`), each a transaction under the locks of the projects
whose events it changes: a batch stands together with the place where the next begins, or has not happened. So it can
be killed at any moment and begun again, and what two workers do at once is done once.
"""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.utils import timezone

from apps.ledger.models import Adjustment, PriceStatus, Repricing, UsageEvent
from apps.ledger.prices import Price, price_of
from apps.ledger.selectors.filters import EventFilter
from apps.ledger.selectors.pages import events_after, stream
from apps.ledger.snapshot import snapshot
from apps.ledger.standing import Standing, adjust, lock_project, standing_of, standings, store
from apps.pricing.selectors import current_book, forget_book, forget_terms, newest_snapshot_id, price_version
from tenancy.scope import require_tenant_id
from tenancy.tasks import ask_for
from web.errors import DomainError

# Events a transaction takes: about a tenth of a second for which ingestion of the project's spans waits.
BATCH = 500
LONGEST_REASON = 500
AUTOMATIC = "There is a price for it now."

_LEAST = uuid.UUID(int=0)
Status = Repricing.Status


class RepricingError(DomainError):
    """What keeps a re-pricing from going on; says what to do."""

    status = 409
    code = "repricing_refused"


class PricesChangedError(RepricingError):
    code = "prices_changed"

    def __init__(self) -> None:
        super().__init__("Prices have changed since this preview was made. Make a new one.")


@dataclass(slots=True)
class Month:
    """A line of a preview: a project's events of one month (UTC) but for duplicates. Amounts by currency, exact.

    `changed` events would get an adjustment. `refused` have a price in another currency than before, and stay.
    """

    project_id: uuid.UUID
    month: str
    events: int = 0
    changed: int = 0
    refused: int = 0
    unpriced_before: int = 0
    unpriced_after: int = 0
    costs_before: dict[str, Decimal] = field(default_factory=dict)
    costs_after: dict[str, Decimal] = field(default_factory=dict)

    @property
    def differences(self) -> dict[str, Decimal]:
        """What would be added to the costs, signed."""
        nothing = Decimal(0)
        currencies = sorted(self.costs_before.keys() | self.costs_after.keys())
        return {each: self.costs_after.get(each, nothing) - self.costs_before.get(each, nothing) for each in currencies}

    def count(self, before: Price, after: Price) -> None:
        self.events += 1
        self.unpriced_before += before.status == PriceStatus.UNPRICED
        self.unpriced_after += after.status == PriceStatus.UNPRICED
        for costs, price in ((self.costs_before, before), (self.costs_after, after)):
            if price.cost is not None:
                costs[price.currency] = costs.get(price.currency, Decimal(0)) + price.cost


def months(repricing: Repricing) -> list[Month]:
    """What its preview says."""
    return msgspec.convert(repricing.preview, list[Month], strict=False)


def _lines(found: Mapping[tuple[uuid.UUID, str], Month]) -> list[dict[str, Any]]:
    """As they are kept: in order of their keys, project and month."""
    lines: list[dict[str, Any]] = msgspec.to_builtins([asdict(found[key]) for key in sorted(found)])
    return lines


def _month_of(row: Standing) -> tuple[uuid.UUID, str]:
    return row.event.project_id, f"{row.event.occurred_at:%Y-%m}"


# --- Preview ---


def preview(wanted: EventFilter, *, reason: str, author_id: uuid.UUID | None) -> Repricing:
    """Works out what rating these events again would change. Some 5,000 events a second: where nobody can wait for
    that, `request_preview`. Raises RepricingError for a reason that is none."""
    return work_out(_new(wanted, reason, author_id))


def request_preview(wanted: EventFilter, *, reason: str, author_id: uuid.UUID | None) -> Repricing:
    """As `preview`, worked out by the task `ledger.preview_repricing`: `previewing` until it is done."""
    repricing = _new(wanted, reason, author_id)
    _ask_for("ledger.preview_repricing", repricing)
    return repricing


def _new(wanted: EventFilter, reason: str, author_id: uuid.UUID | None) -> Repricing:
    return Repricing.objects.create(
        status=Status.PREVIEWING, filter=wanted.to_json(), reason=_checked(reason), author_id=author_id
    )


def _checked(reason: str) -> str:
    reason = reason.strip()
    if not reason or len(reason) > LONGEST_REASON or "\0" in reason:
        raise RepricingError(f"Say why, in 1 to {LONGEST_REASON} characters: it stands with every changed amount.")
    return reason


def work_out(repricing: Repricing) -> Repricing:
    """Fills in the preview. One that is there stays as it is, also where another worker makes it meanwhile."""
    if repricing.status != Status.PREVIEWING:
        return repricing
    version = fresh_prices()
    found: dict[tuple[uuid.UUID, str], Month] = {}
    with snapshot():
        for row in stream(EventFilter.from_json(repricing.filter)):
            if row.price.status == PriceStatus.DUPLICATE:
                continue
            key = _month_of(row)
            month = found.setdefault(key, Month(*key))
            price = _price_now(row)
            if _changes_currency(row, price):
                month.refused += 1
            elif _adjustment(row, price, reason=repricing.reason) is not None:
                month.changed += 1
                month.count(row.price, price)
                continue
            month.count(row.price, row.price)
    # Prices that changed meanwhile were used for a part of it: `start` will refuse a version that never was.
    version = version if _price_version() == version else ""
    lines = _lines(found)
    # Another worker may have been quicker, and the re-pricing may have been started since.
    unfinished = Repricing.objects.filter(pk=repricing.pk, status=Status.PREVIEWING)
    unfinished.update(price_version=version, preview=lines, status=Status.PREVIEWED)
    repricing.refresh_from_db()
    return repricing


# --- Starting ---


def start(repricing: Repricing) -> Repricing:
    """Lets a previewed re-pricing run. Raises PricesChangedError, and RepricingError where it is no preview any more or
    another one runs. Of one that runs already it asks for the task again, should that have been lost."""
    with transaction.atomic():
        repricing = Repricing.objects.select_for_update().get(pk=repricing.pk)
        if repricing.status != Status.RUNNING:
            if repricing.status != Status.PREVIEWED:
                raise RepricingError("This re-pricing has run, or its preview is not there yet.")
            if repricing.price_version != _price_version():
                raise PricesChangedError
            repricing.status, repricing.cursor, repricing.started_at = Status.RUNNING, None, timezone.now()
            try:
                with transaction.atomic():
                    repricing.save(update_fields=["status", "cursor", "started_at"])
            except IntegrityError:
                raise RepricingError("Another re-pricing is running. Wait until it is done.") from None
        _ask_for("ledger.run_repricing", repricing)
    return repricing


def reverse(repricing: Repricing, *, reason: str, author_id: uuid.UUID | None) -> Repricing:
    """Has what a re-pricing did taken back by opposite adjustments. Events that something else has changed since keep
    what they have: `kept` counts them. Raises RepricingError before it has run and after it was reversed."""
    with transaction.atomic():
        repricing = Repricing.objects.select_for_update().get(pk=repricing.pk)
        if repricing.status != Status.REVERSING:
            if repricing.status not in (Status.DONE, Status.STOPPED):
                raise RepricingError("This re-pricing has not run to its end, or was taken back already.")
            repricing.status, repricing.cursor = Status.REVERSING, None
            repricing.reversed_by_id, repricing.reversal_reason = author_id, _checked(reason)
            repricing.save(update_fields=["status", "cursor", "reversed_by_id", "reversal_reason"])
        _ask_for("ledger.run_repricing", repricing)
    return repricing


def kept(repricing: Repricing) -> int:
    """Of one that was reversed: how many events it changed that still stand so, because something changed them after
    it."""
    own = Adjustment.objects.filter(repricing_id=repricing.pk)
    changed = own.filter(kind=Adjustment.Kind.REPRICE).values("event_id").distinct().count()
    return changed - own.filter(kind=Adjustment.Kind.REVERSAL).values("event_id").distinct().count()


def unfinished() -> list[Repricing]:
    """Those that a worker should be at."""
    states = [Status.PREVIEWING, Status.RUNNING, Status.REVERSING]
    return list(Repricing.objects.filter(status__in=states).order_by("id"))


def ask_again(repricing: Repricing) -> None:
    """Asks for the task of an unfinished one once more: harmless where it is under way."""
    is_preview = repricing.status == Status.PREVIEWING
    _ask_for("ledger.preview_repricing" if is_preview else "ledger.run_repricing", repricing)


def _ask_for(task: str, repricing: Repricing) -> None:
    ask_for(task, repricing_id=str(repricing.pk))


# --- Running, batch by batch ---


def run(repricing_id: uuid.UUID, *, batches: int) -> bool:
    """Up to so many batches; whether there is more to do."""
    fresh_prices()
    return all(step(repricing_id) for _ in range(batches))


def step(repricing_id: uuid.UUID) -> bool:
    """One batch of a re-pricing or of its reversal, or its end; whether there is more to do. False also where another
    worker is at it."""
    with transaction.atomic():
        repricing = Repricing.objects.select_for_update(skip_locked=True).filter(pk=repricing_id).first()
        if repricing is None:
            return False
        match repricing.status:
            case Status.RUNNING:
                return _run_batch(repricing)
            case Status.REVERSING:
                return _reverse_batch(repricing)
    return False


def _run_batch(repricing: Repricing) -> bool:
    wanted = EventFilter.from_json(repricing.filter)
    found = _next_events(wanted, repricing.cursor)
    if not found:
        return _finish(repricing, Status.DONE)
    adjustments = [
        _adjustment(row, price, reason=repricing.reason, author_id=repricing.author_id, repricing_id=repricing.pk)
        for row in _locked(found)
        if wanted.status in (None, row.price.status) and not _changes_currency(row, price := _price_now(row))
    ]
    # The book of prices that they were rated with is at least as old as `run` and at most as young as this.
    if _price_version() != repricing.price_version:
        return _finish(repricing, Status.STOPPED)
    repricing.events_changed += store(adjustments)
    return _go_on(repricing, found[-1].id)


def _next_events(wanted: EventFilter, cursor: uuid.UUID | None) -> list[UsageEvent]:
    """The events after the cursor's, all of one project. From the beginning where that event is gone: what was done
    already is no difference any more.

    Without a lock: where few events match, the search is long, and ingestion of spans would wait for it.
    """
    where, projects = wanted.where(), sorted(wanted.projects())
    last = UsageEvent.objects.filter(pk=cursor).first() if cursor else None
    for project_id in projects:
        if last is not None and project_id < last.project_id:
            continue
        begin = last if last is not None and last.project_id == project_id else None
        if found := events_after(where, project_id, begin, BATCH):
            return found
    return []


def _reverse_batch(repricing: Repricing) -> bool:
    own = Adjustment.objects.filter(repricing_id=repricing.pk, kind=Adjustment.Kind.REPRICE)
    after = own.filter(event_id__gt=repricing.cursor or _LEAST).order_by("event_id")
    ids = list(after.values_list("event_id", flat=True).distinct()[:BATCH])
    if not ids:
        return _finish(repricing, Status.REVERSED)
    events = list(UsageEvent.objects.filter(id__in=ids))
    _lock_projects(events)
    chains: dict[uuid.UUID, list[Adjustment]] = {each: [] for each in ids}
    for adjustment in Adjustment.objects.filter(event_id__in=ids).order_by("event_id", "revision"):
        chains[adjustment.event_id].append(adjustment)
    store(_opposite(event, chains[event.id], repricing) for event in events)
    return _go_on(repricing, ids[-1])


def _opposite(event: UsageEvent, chain: Sequence[Adjustment], repricing: Repricing) -> Adjustment | None:
    """None where the re-pricing's adjustment is not the event's last one."""
    if not chain or chain[-1].repricing_id != repricing.pk or chain[-1].kind != Adjustment.Kind.REPRICE:
        return None
    before = standing_of(event, chain[:-1])
    return adjust(
        standing_of(event, chain),
        price=before.price,
        meters=before.meters,
        kind=Adjustment.Kind.REVERSAL,
        reason=repricing.reversal_reason,
        author_id=repricing.reversed_by_id,
        repricing_id=repricing.pk,
    )


def _go_on(repricing: Repricing, cursor: uuid.UUID) -> bool:
    repricing.cursor = cursor
    repricing.save(update_fields=["cursor", "events_changed"])
    return True


def _finish(repricing: Repricing, status: Status) -> bool:
    repricing.status, repricing.finished_at = status, timezone.now()
    repricing.save(update_fields=["status", "finished_at"])
    return False


# --- What has no price yet ---

Cursor = tuple[str, ...]


def price_unpriced(run_id: uuid.UUID, cursor: Cursor = ()) -> tuple[int, Cursor]:
    """Rates the next BATCH of events that have no price, and adjusts those that have one now, by the platform itself.
    How many, and the cursor of the next batch: () after the last.

    First events without adjustments, by provider and model, then those that an adjustment left without a price, unless
    somebody took their price back. What the run with this id does stands in a Repricing with the same id, without an
    author, once there is something; reversing that ends the run.
    """
    if not cursor or cursor[0] == "reported":
        after = cursor[1:] or ("", "", str(_LEAST))
        events = list(UsageEvent.objects.raw(_UNPRICED, [*after, BATCH]))
        if len(events) < BATCH:
            following: Cursor = ("adjusted", str(_LEAST))
        else:
            following = ("reported", events[-1].provider, events[-1].model, str(events[-1].id))
    else:
        events = list(UsageEvent.objects.raw(_LEFT_UNPRICED, [cursor[1], BATCH]))
        following = ("adjusted", str(events[-1].id)) if len(events) == BATCH else ()
    # Most have no price still: what they are is found without keeping ingestion waiting.
    hopeful = [row.event for row in standings(events) if _found_price(row) is not None]
    if not hopeful:
        return 0, following
    with transaction.atomic():
        # Before the projects, as in `step`, so that the two never wait for each other.
        done, is_new = Repricing.objects.select_for_update().get_or_create(pk=run_id, defaults=_automatic())
        if done.status != Status.DONE:
            return 0, ()
        found = {(month.project_id, month.month): month for month in months(done)}
        adjustments = []
        for row in _locked(hopeful):
            price = _found_price(row)
            if price is not None and (one := _adjustment(row, price, reason=AUTOMATIC, repricing_id=run_id)):
                adjustments.append(one)
                month = found.setdefault(_month_of(row), Month(*_month_of(row)))
                month.changed += 1
                month.count(row.price, price)
        if is_new and not adjustments:
            # Another worker was quicker with all of them.
            done.delete()
            return 0, following
        done.events_changed += store(adjustments)
        done.preview, done.finished_at = _lines(found), timezone.now()
        done.save(update_fields=["events_changed", "preview", "finished_at"])
    return len(adjustments), following


def _automatic() -> dict[str, Any]:
    """What the platform's own re-pricing is: done after each batch, so that it can be taken back whatever becomes of
    its worker. Its preview says what it did."""
    return {
        "status": Status.DONE,
        "filter": EventFilter(status=PriceStatus.UNPRICED).to_json(),
        "reason": AUTOMATIC,
        "price_version": _price_version(),
        "started_at": timezone.now(),
    }


_UNPRICED = """
    SELECT e.* FROM ledger_usageevent e
     WHERE e.price_status = 'unpriced' AND (e.provider, e.model, e.id) > (%s, %s, %s::uuid)
       AND NOT EXISTS (SELECT FROM ledger_adjustment a WHERE a.event_id = e.id)
     ORDER BY e.provider, e.model, e.id LIMIT %s
"""
_LEFT_UNPRICED = """
    SELECT e.* FROM ledger_adjustment a JOIN ledger_usageevent e ON e.id = a.event_id
     WHERE a.price_status = 'unpriced' AND a.kind <> 'reversal' AND a.event_id > %s::uuid
       AND NOT EXISTS (SELECT FROM ledger_adjustment later
                        WHERE later.event_id = a.event_id AND later.revision > a.revision)
     ORDER BY a.event_id LIMIT %s
"""


def _found_price(row: Standing) -> Price | None:
    """None also for what somebody took back: the platform doesn't know better."""
    if row.price.status != PriceStatus.UNPRICED or row.last_kind == Adjustment.Kind.REVERSAL:
        return None
    price = _price_now(row)
    return price if price.status == PriceStatus.PRICED and not _changes_currency(row, price) else None


# --- Prices ---


def _price_now(row: Standing) -> Price:
    """What is known now of the time of the call. A duplicate's price is that it is one."""
    if row.price.status == PriceStatus.DUPLICATE:
        return row.price
    return price_of(row, row.meters, row.event.occurred_at)


def _changes_currency(row: Standing, price: Price) -> bool:
    return bool(row.price.currency and price.currency and row.price.currency != price.currency)


def _adjustment(
    row: Standing,
    price: Price,
    *,
    reason: str,
    author_id: uuid.UUID | None = None,
    repricing_id: uuid.UUID | None = None,
) -> Adjustment | None:
    """None where it is what stands."""
    if row.price.status == PriceStatus.DUPLICATE:
        return None
    return adjust(
        row,
        price=price,
        meters=row.meters,
        kind=Adjustment.Kind.REPRICE,
        reason=reason,
        author_id=author_id,
        repricing_id=repricing_id,
    )


def _locked(events: Sequence[UsageEvent]) -> list[Standing]:
    """The events as they stand once nobody else can adjust them. Read again: meanwhile one may have been adjusted, or
    deleted for its age, which leaves it out here."""
    _lock_projects(events)
    return standings(UsageEvent.objects.filter(id__in=[event.id for event in events]))


def _lock_projects(events: Iterable[UsageEvent]) -> None:
    """In one order, so that two of these never wait for each other."""
    for project_id in sorted({event.project_id for event in events}):
        lock_project(project_id)


def _price_version() -> str:
    return price_version(require_tenant_id())


def fresh_prices() -> str:
    """Has this process rate by what is in the database now, and names it: if that is still its name afterwards, nothing
    else was used."""
    version = _price_version()
    if current_book().snapshot_id != newest_snapshot_id():
        forget_book()
    forget_terms(require_tenant_id())
    return version
