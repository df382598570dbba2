"""Stretches of time that pages show and compare. Days, weeks and months are those of a time zone."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from apps.analytics.selectors import Granularity

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
# The longest period, in days, that is shown by hours, by days and by weeks.
BY_HOUR, BY_DAY, BY_WEEK = 2, 92, 366


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `start` on and before `end`."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Period:
    """Days, both included. `now` is the time there, with its zone."""

    first: date
    last: date
    now: datetime

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def is_under_way(self) -> bool:
        return self.first <= self.now.date() <= self.last

    @property
    def granularity(self) -> Granularity:
        """As fine as a chart can show it."""
        if self.days <= BY_HOUR:
            return Granularity.HOUR
        if self.days <= BY_DAY:
            return Granularity.DAY
        return Granularity.WEEK if self.days <= BY_WEEK else Granularity.MONTH

    def begin(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.now.tzinfo)

    def before(self) -> list[Stretch]:
        """The period of as many days before it; of one under way only as much of that as has passed of this one, which
        are whole days and a part of one. None of one that has not begun."""
        length = self.days * DAY
        if self.now.date() > self.last:
            return [Stretch(self.begin(self.first - length), self.begin(self.first))]
        if self.now.date() < self.first:
            return []
        passed = self.now.date() - length
        whole, until = self.begin(passed), self.now.replace(minute=self.now.minute // 15 * 15, second=0, microsecond=0)
        part = Stretch(whole, datetime.combine(passed, until.time(), self.now.tzinfo))
        stretches = [Stretch(self.begin(self.first - length), whole), part]
        return [each for each in stretches if each.start < each.end]

    def starts(self) -> Iterator[datetime]:
        """When each stretch of the granularity begins, up to now. A week's or month's may lie before the first day."""
        end = min(self.begin(self.last + DAY), self.now)
        start = bucket(self.begin(self.first), self.granularity)
        while start < end:
            yield start
            start = following(start, self.granularity)


def bucket(moment: datetime, granularity: Granularity) -> datetime:
    """When the stretch begins that a (local) time lies in."""
    if granularity is Granularity.HOUR:
        return moment.replace(minute=0, second=0, microsecond=0)
    day = moment.date()
    if granularity is Granularity.WEEK:
        day -= timedelta(days=day.weekday())
    elif granularity is Granularity.MONTH:
        day = day.replace(day=1)
    return datetime.combine(day, time(), moment.tzinfo)


def following(start: datetime, granularity: Granularity) -> datetime:
    """When the next stretch begins."""
    if granularity is Granularity.HOUR:
        # Hours pass evenly, whatever clocks do.
        return (start.astimezone(UTC) + HOUR).astimezone(start.tzinfo)
    days = {Granularity.DAY: 1, Granularity.WEEK: 7}.get(granularity, 32)
    return bucket(start + timedelta(days=days), granularity)
