"""The calls of a session as bars on an axis of time. Long pauses are cut short, or a talk of an hour would be one of
slivers: calls take seconds, and people take their time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from apps.ledger.standing import Standing

# Parts of the whole width, in percent: how wide a pause is that was cut, and all of them at most.
PAUSE, PAUSES = 3.0, 45.0
# A pause is cut that is longer than this part of the time in which calls ran, and than a second.
LONG = 1 / 8
# The least that a bar takes, so that calls in a lane stay apart, and how many lanes there are.
LEAST, MOST_LANES = 0.6, 24
LANE, BAR = 20, 14
AXIS = 26


@dataclass(frozen=True, slots=True)
class Bar:
    """A call: `x` and `width` in percent, `y` in pixels. `colour` as apps.analytics.charts.Series has it."""

    row: Standing
    x: float
    width: float
    y: int
    colour: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Where time was cut: how long it was."""

    x: float
    width: float
    length: timedelta


@dataclass(frozen=True, slots=True)
class Tick:
    x: float
    moment: datetime


@dataclass(frozen=True, slots=True)
class Timeline:
    """`height` in pixels, of the lanes; `has_days` where a time of day alone would not say when."""

    bars: Sequence[Bar]
    pauses: Sequence[Pause]
    ticks: Sequence[Tick]
    height: int
    has_days: bool

    @property
    def with_axis(self) -> int:
        return self.height + AXIS

    @property
    def bar_height(self) -> int:
        return BAR


def timeline(rows: Sequence[Standing], colours: Mapping[str, int]) -> Timeline | None:
    """Of calls in the order in which they began, each in the first lane that is free; None of none."""
    if not rows:
        return None
    spans = [(row, row.event.occurred_at, _end(row)) for row in rows]
    scale = _Scale([(begin, end) for _, begin, end in spans])
    bars, free = [], list[float]()
    for row, begin, end in spans:
        x = scale.place(begin)
        width = max(scale.place(end) - x, LEAST)
        x = min(x, 100 - width)
        lane = next((lane for lane, until in enumerate(free) if until <= x), None)
        if lane is None and len(free) < MOST_LANES:
            lane = len(free)
            free.append(0)
        elif lane is None:
            lane = free.index(min(free))
        free[lane] = x + width
        y = lane * LANE + (LANE - BAR) // 2
        bars.append(Bar(row, x, width, y, colours.get(row.event.model, 0)))
    first, last = spans[0][1], max(end for _, _, end in spans)
    ticks = [Tick(x, moment) for x in (0, 25, 50, 75, 100) if (moment := scale.moment(x)) is not None]
    return Timeline(bars, scale.pauses, ticks, len(free) * LANE, last - first >= timedelta(hours=12))


def _end(row: Standing) -> datetime:
    return row.event.occurred_at + timedelta(milliseconds=row.event.total_duration_ms or 0)


class _Scale:
    """Where a moment stands, 0 to 100: stretches with calls to scale, what lies between them cut short."""

    def __init__(self, spans: Sequence[tuple[datetime, datetime]]) -> None:
        busy = _together(spans, timedelta(0))
        ran = sum((end - begin for begin, end in busy), timedelta(0))
        # Where nobody said how long calls took, when they came is all there is to see.
        longest = max(ran * LONG, timedelta(seconds=1)) if ran else timedelta.max
        self._stretches = _together(spans, longest)
        number = len(self._stretches) - 1
        pause = min(PAUSE, PAUSES / number) if number else 0.0
        shown = sum((end - begin for begin, end in self._stretches), timedelta(0))
        self._per_second = (100 - number * pause) / (shown.total_seconds() or 1)
        self._starts, x = list[float](), 0.0
        for begin, end in self._stretches:
            self._starts.append(x)
            x += (end - begin).total_seconds() * self._per_second + pause
        self.pauses = [
            Pause(start - pause, pause, after[0] - before[1])
            for start, (before, after) in zip(self._starts[1:], pairwise(self._stretches), strict=True)
        ]

    def place(self, moment: datetime) -> float:
        """Of a moment within a stretch."""
        for (begin, _), start in zip(reversed(self._stretches), reversed(self._starts), strict=True):
            if moment >= begin:
                return start + (moment - begin).total_seconds() * self._per_second
        return 0.0

    def moment(self, place: float) -> datetime | None:
        """Which one stands there; None in a pause."""
        for (begin, end), start in zip(self._stretches, self._starts, strict=True):
            seconds = (place - start) / self._per_second
            if -1e-9 <= seconds <= (end - begin).total_seconds() + 1e-9:
                return begin + timedelta(seconds=max(seconds, 0))
        return None


def _together(spans: Sequence[tuple[datetime, datetime]], longest: timedelta) -> list[tuple[datetime, datetime]]:
    """Stretches without a longer pause. `spans` by when they begin."""
    found: list[tuple[datetime, datetime]] = []
    for begin, end in spans:
        if found and begin - found[-1][1] <= longest:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found
