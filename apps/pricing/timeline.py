"""How a newer listing changes the price table: rows are closed and opened, never edited.

A usage event keeps the price it was rated with; re-rating it later must find the same row unless the vendor's
price at that time is known better. So a change without a date counts from its approval, a change with a date
that the table doesn't have yet from that date, and a price that is gone upstream stays when its whole model is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar

from apps.pricing.feeds.base import PriceKey, Rate, Segment

Row = TypeVar("Row", "Standing", Segment)


class Standing(NamedTuple):
    """A row of the table."""

    price_id: int
    start: datetime | None
    end: datetime | None
    rate: Rate


class Closing(NamedTuple):
    """A row's new end. Equal to the start where the row was to come into force later and now never will."""

    price_id: int
    start: datetime | None
    end: datetime


@dataclass(slots=True)
class Revision:
    closings: list[Closing] = field(default_factory=list)
    openings: list[tuple[PriceKey, Segment]] = field(default_factory=list)


def revise(
    table: Mapping[PriceKey, Sequence[Standing]], listed: Mapping[PriceKey, Sequence[Segment]], at: datetime
) -> Revision:
    """What to close and open, so that the table says what the listing, approved `at`, says."""
    revision = Revision()
    models_listed = {(key.provider, key.model) for key in listed}
    models_known = {(key.provider, key.model) for key in table}
    for key in dict.fromkeys((*table, *listed)):
        model = (key.provider, key.model)
        if model not in models_known:
            # A new model: its prices count for calls that came before it was listed, too.
            revision.openings += [(key, segment) for segment in listed[key]]
        elif model in models_listed:
            _revise_key(key, table.get(key, ()), listed.get(key, ()), at, revision)
    return revision


def _revise_key(
    key: PriceKey, old: Sequence[Standing], new: Sequence[Segment], at: datetime, revision: Revision
) -> None:
    old_bounds, new_bounds = _bounds(old), _bounds(new)
    moments = sorted({at} | old_bounds | new_bounds)
    closed: set[int] = set()
    opened: list[Segment] = []
    for start, end in zip((None, *moments), (*moments, None), strict=True):
        row, segment = _covering(old, start), _covering(new, start)
        wanted = segment if _counts(start, at, old_bounds, new_bounds) else row
        if row and (wanted is None or wanted.rate != row.rate) and row.price_id not in closed:
            assert start is not None  # a change begins at a moment: before all of them the table stays
            closed.add(row.price_id)
            revision.closings.append(Closing(row.price_id, row.start, start))
        if wanted and (row is None or row.price_id in closed):
            note = segment.note if segment and segment.rate == wanted.rate else ""
            if opened and opened[-1].end == start and opened[-1].rate == wanted.rate:
                opened[-1] = opened[-1].until(end)
            else:
                opened.append(Segment(start, end, wanted.rate, note))
    revision.openings += [(key, segment) for segment in opened]


def _counts(start: datetime | None, at: datetime, old: set[datetime], new: set[datetime]) -> bool:
    """Whether from `start` on the listing counts: from its approval, or from a date it brings as news.

    A date is news until the table's own next change, which was approved once and stays.
    """
    if start is None:
        return False
    if start >= at:
        return True
    dated = max((bound for bound in new if bound <= start), default=None)
    known = max((bound for bound in old if bound <= start), default=None)
    return dated is not None and (known is None or known < dated)


def _bounds(ranges: Iterable[Standing | Segment]) -> set[datetime]:
    return {bound for row in ranges for bound in (row.start, row.end) if bound is not None}


def _covering(ranges: Sequence[Row], moment: datetime | None) -> Row | None:
    """The row in force at `moment`; None stands for before all time's bounds."""
    for row in ranges:
        if moment is None:
            if row.start is None:
                return row
        elif (row.start is None or row.start <= moment) and (row.end is None or moment < row.end):
            return row
    return None
