"""Keeping the sums up to date, and making them again.

Whoever adds rows to the ledger leaves a note of them in the same transaction (apps.ledger.models.Outbox). Here notes
are taken and their rows counted, in one transaction too: so each row is counted once, whenever and in whatever order
they were committed, and wherever a worker dies. One worker at a time is at an organization's sums.
"""

import time as clock
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from enum import Enum
from functools import partial
from uuid import UUID
from zoneinfo import ZoneInfo

from django.db.models import Sum

from apps.activity.models import DailyUsage
from apps.activity.services import replace_days
from apps.analytics.counting import count_period, count_rows
from apps.analytics.models import DayRollup, QuarterRollup, RollupState
from apps.ledger.models import Outbox, UsageEvent
from apps.ledger.selectors.filters import projects_with_events
from apps.ledger.snapshot import alone_at, taken_at
from tenancy.scope import require_tenant_id

# Notes whose rows one statement counts: each is of one of the ledger's transactions, with up to some 1,000 rows.
NOTES = 200
# How much of a project's ledger one statement of a recount reads.
STRETCH = timedelta(days=7)
# Between two looks at whether another worker is done.
BUSY_SECONDS = 0.5


class Progress(Enum):
    """What became of an attempt: all that was noted is counted, some of it is, or another worker is at it."""

    DONE = "done"
    MORE = "more"
    BUSY = "busy"


def roll_up(time_zone: str) -> Progress:
    """Counts the next notes of the ledger, in one transaction. `time_zone` is the organization's: where the sums were
    made for another one, or never, all of the ledger is counted again."""

    def work() -> Progress:
        state = RollupState.objects.first()
        if state is None or state.time_zone != time_zone:
            return _recount(time_zone)
        return _count_notes(state)

    return _alone(work)


def until_done(work: Callable[[], Progress]) -> None:
    """Does it, such as `roll_up`, until nothing is left to do. For commands: it waits for other workers."""
    while (progress := work()) is not Progress.DONE:
        if progress is Progress.BUSY:
            clock.sleep(BUSY_SECONDS)


def is_due(time_zone: str) -> bool:
    """Whether the sums were made for another time zone, or never."""
    return not RollupState.objects.filter(time_zone=time_zone).exists()


def recount(time_zone: str) -> Progress:
    """Makes all sums again from the ledger, in one transaction; the ledger may be added to meanwhile."""
    return _alone(partial(_recount, time_zone))


def _alone(work: Callable[[], Progress]) -> Progress:
    """Does it unless another worker is at the sums."""
    return alone_at("rollups", work) or Progress.BUSY


def _count_notes(state: RollupState) -> Progress:
    notes = list(Outbox.objects.order_by("id")[:NOTES])
    if any(note.recount_project_id for note in notes):
        # A recount reads all that has been committed: what is noted of that must be gone afterwards.
        notes = list(Outbox.objects.order_by("id"))
    days: set[datetime] = set()
    for start in range(0, len(notes), NOTES):
        some = notes[start : start + NOTES]
        events = [event for note in some for event in note.events]
        adjustments = [adjustment for note in some for adjustment in note.adjustments]
        if events or adjustments:
            days |= count_rows(events, adjustments, state.time_zone)
    zone = ZoneInfo(state.time_zone)
    for project, first, last in _periods(notes):
        days |= _recount_days(project, _day_of(first, zone), _day_of(last, zone) + timedelta(days=1), zone)
    Outbox.objects.filter(id__in=[note.id for note in notes]).delete()
    _sum_up(sorted(days), zone)
    if len(notes) == NOTES:
        return Progress.MORE
    state.as_of = taken_at()
    state.save(update_fields=["as_of"])
    return Progress.DONE


def _periods(notes: Iterable[Outbox]) -> list[tuple[UUID, datetime, datetime]]:
    """Of each project that is to be counted again: from the first to the last call in question."""
    found: dict[UUID, tuple[datetime, datetime]] = {}
    for note in notes:
        if note.recount_project_id and note.recount_from and note.recount_to:
            first, last = found.get(note.recount_project_id, (note.recount_from, note.recount_to))
            found[note.recount_project_id] = min(first, note.recount_from), max(last, note.recount_to)
    return [(project, first, last) for project, (first, last) in found.items()]


def _recount_days(project: UUID, start: datetime, end: datetime, zone: ZoneInfo) -> set[datetime]:
    """Makes the sums of whole days again."""
    period = {"project_id": project, "starts_at__gte": start, "starts_at__lt": end}
    days = set(DayRollup.objects.filter(**period).values_list("starts_at", flat=True))
    for model in (QuarterRollup, DayRollup):
        model.objects.filter(**period).delete()
    return days | _count_days(project, start, end, zone)


def _recount(time_zone: str) -> Progress:
    zone = ZoneInfo(time_zone)
    Outbox.objects.all().delete()
    for model in (QuarterRollup, DayRollup):
        model.objects.all().delete()
    days: set[datetime] = set()
    for project in projects_with_events():
        days |= _count_days(project, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), zone)
    RollupState.objects.all().delete()
    RollupState.objects.create(time_zone=time_zone, as_of=taken_at())
    replace_days(require_tenant_id(), None, _daily(sorted(days), zone))
    return Progress.DONE


def _count_days(project: UUID, start: datetime, end: datetime, zone: ZoneInfo) -> set[datetime]:
    """Counts a project's calls of whole days, in stretches, passing over time without any."""
    days: set[datetime] = set()
    events = UsageEvent.objects.filter(project_id=project).order_by("occurred_at")
    while first := events.filter(occurred_at__gte=start, occurred_at__lt=end).values_list("occurred_at", flat=True)[:1]:
        begin = _day_of(first[0], zone)
        start = min(_day_of(begin + STRETCH, zone), end)
        days |= count_period(project, begin, start, zone.key)
    return days


def _day_of(moment: datetime, zone: ZoneInfo) -> datetime:
    """When the day began there that the moment lies in."""
    return datetime.combine(moment.astimezone(zone).date(), time(), zone)


def _sum_up(days: Sequence[datetime], zone: ZoneInfo) -> None:
    if days:
        replace_days(require_tenant_id(), [day.astimezone(zone).date() for day in days], _daily(days, zone))


_OF_A_DAY = ("calls", "failed", "unpriced", "input_tokens", "output_tokens", "cost")


def _daily(days: Sequence[datetime], zone: ZoneInfo) -> list[DailyUsage]:
    found = DayRollup.objects.filter(starts_at__in=days)
    organization_id = require_tenant_id()
    sums = found.values("starts_at", "currency").annotate(*map(Sum, _OF_A_DAY))
    return [
        DailyUsage(
            organization_id=organization_id,
            day=starts_at.astimezone(zone).date(),
            currency=currency,
            **dict(zip(_OF_A_DAY, values, strict=True)),
        )
        for starts_at, currency, *values in sums.values_list("starts_at", "currency", *(f"{n}__sum" for n in _OF_A_DAY))
    ]
