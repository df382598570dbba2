"""What a newer listing does to the table: close and open, never edit."""

import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.pricing.feeds.base import PriceKey, Rate, Segment
from apps.pricing.meters import Meter
from apps.pricing.timeline import Closing, Standing, revise
from tests.pricing.paper import key

KEY = key(Meter.INPUT)
AT = datetime(2026, 9, 5, 14, 30, tzinfo=UTC)
AUGUST = datetime(2026, 8, 21, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)
JANUARY = datetime(2027, 1, 1, tzinfo=UTC)
Span = tuple[datetime | None, datetime | None, int]


def changes(old: Sequence[Span], new: Sequence[Span]) -> tuple[list[Closing], list[Span]]:
    """Closings and openings of one key of a model that stays listed; rows are numbered from 1."""
    anchor = key(Meter.OUTPUT)
    table = {anchor: [Standing(99, None, None, _rate(1))]}
    listed = {anchor: [Segment(None, None, _rate(1))]}
    if old:
        table[KEY] = [Standing(number, start, end, _rate(price)) for number, (start, end, price) in enumerate(old, 1)]
    if new:
        listed[KEY] = [Segment(start, end, _rate(price)) for start, end, price in new]
    revision = revise(table, listed, AT)
    assert all(changed == KEY for changed, _ in revision.openings)
    opened = [(segment.start, segment.end, int(segment.rate.unit_price)) for _, segment in revision.openings]
    return revision.closings, opened


def _rate(price: int) -> Rate:
    return Rate(Decimal(price), 1_000_000)


@pytest.mark.parametrize(
    ("old", "new", "closings", "openings"),
    [
        pytest.param([(None, None, 5)], [(None, None, 5)], [], [], id="nothing new"),
        pytest.param(
            [(None, None, 5)], [(None, None, 4)], [Closing(1, None, AT)], [(AT, None, 4)], id="from its approval"
        ),
        pytest.param(
            [(None, None, 5)],
            [(None, AUGUST, 5), (AUGUST, None, 4)],
            [Closing(1, None, AUGUST)],
            [(AUGUST, None, 4)],
            id="from its date, though past",
        ),
        pytest.param(
            [(None, None, 5)],
            [(None, JANUARY, 5), (JANUARY, None, 10)],
            [Closing(1, None, JANUARY)],
            [(JANUARY, None, 10)],
            id="from its date to come",
        ),
        pytest.param(
            [(None, None, 5)],
            [(None, JUNE, 9), (JUNE, AUGUST, 5), (AUGUST, None, 4)],
            [Closing(1, None, AUGUST)],
            [(AUGUST, None, 4)],
            id="another past before all dates is not believed",
        ),
        pytest.param(
            [(None, AUGUST, 5), (AUGUST, None, 4)],
            [(None, AUGUST, 5), (AUGUST, None, 3)],
            [Closing(2, AUGUST, AT)],
            [(AT, None, 3)],
            id="a known date's new price, from its approval",
        ),
        pytest.param(
            [(None, AUGUST, 5), (AUGUST, None, 4)],
            [(None, JUNE, 5), (JUNE, None, 4)],
            [Closing(1, None, JUNE)],
            [(JUNE, AUGUST, 4)],
            id="an earlier date, until the one that stands",
        ),
        pytest.param(
            [(None, JANUARY, 5), (JANUARY, None, 10)],
            [(None, None, 5)],
            [Closing(2, JANUARY, JANUARY)],
            [(JANUARY, None, 5)],
            id="an announcement withdrawn",
        ),
        pytest.param([(None, None, 5)], [], [Closing(1, None, AT)], [], id="a price gone, its model listed"),
        pytest.param([], [(None, None, 5)], [], [(AT, None, 5)], id="a new meter of a known model"),
        pytest.param([], [(AUGUST, None, 5)], [], [(AUGUST, None, 5)], id="a new meter of a known model, with a date"),
        pytest.param([(None, JUNE, 5)], [(None, None, 7)], [], [(AT, None, 7)], id="a price that comes back"),
    ],
)
def test_one_key(old: Sequence[Span], new: Sequence[Span], closings: list[Closing], openings: list[Span]) -> None:
    assert changes(old, new) == (closings, openings)


def test_a_new_models_prices_count_for_all_time() -> None:
    segments = [Segment(None, AUGUST, _rate(5)), Segment(AUGUST, None, _rate(4))]
    revision = revise({}, {KEY: segments}, AT)
    assert (revision.closings, revision.openings) == ([], [(KEY, segments[0]), (KEY, segments[1])])


def test_a_model_gone_upstream_keeps_its_prices() -> None:
    gone = PriceKey("testco", "retired", Meter.INPUT)
    table = {KEY: [Standing(1, None, None, _rate(5))], gone: [Standing(2, None, None, _rate(1))]}
    revision = revise(table, {KEY: [Segment(None, None, _rate(5))]}, AT)
    assert (revision.closings, revision.openings) == ([], [])


def test_random_histories_keep_the_past_and_never_overlap() -> None:
    """Whatever comes: what was in force before an import stays unless the listing dates a change there, from the
    import on the listing holds, rows of a key never overlap, and importing again changes nothing."""
    rng = random.Random(42)
    day = timedelta(days=1)
    for _ in range(60):
        rows: list[Standing] = []
        at = JUNE
        for _ in range(4):
            dates = sorted(JUNE + rng.randrange(-50, 250) * day for _ in range(rng.randrange(3)))
            bounds = [None, *dict.fromkeys(dates), None]
            listed = [
                Segment(start, end, _rate(rng.randrange(3)))
                for start, end in itertools.pairwise(bounds)
                if rng.random() < 0.9
            ]
            anchor = key(Meter.OUTPUT)
            table = {anchor: [Standing(0, None, None, _rate(1))], KEY: rows}
            revision = revise(table, {anchor: [Segment(None, None, _rate(1))], KEY: listed}, at)
            after = apply(rows, revision.closings, [segment for _, segment in revision.openings])
            for offset in range(-60, 260):
                moment = JUNE + offset * day + timedelta(hours=1)
                wanted, before, now = in_force(listed, moment), in_force(rows, moment), in_force(after, moment)
                assert len(now) <= 1
                if moment >= at:
                    assert now == wanted
                elif not any(bound and bound <= moment for segment in listed for bound in segment[:2]):
                    assert now == before
            again = revise({**table, KEY: after}, {anchor: [Segment(None, None, _rate(1))], KEY: listed}, at)
            assert (again.closings, again.openings) == ([], [])
            rows = after
            at += rng.randrange(1, 60) * day + timedelta(hours=3)


def apply(rows: list[Standing], closings: list[Closing], opened: list[Segment]) -> list[Standing]:
    ends = {closing.price_id: closing.end for closing in closings}
    kept = [Standing(row.price_id, row.start, ends.get(row.price_id, row.end), row.rate) for row in rows]
    first = max((row.price_id for row in rows), default=0) + 1
    kept += [Standing(number, segment.start, segment.end, segment.rate) for number, segment in enumerate(opened, first)]
    return [row for row in kept if row.start is None or row.start != row.end]


def in_force(ranges: Sequence[Standing | Segment], moment: datetime) -> list[Rate]:
    return [
        row.rate
        for row in ranges
        if (row.start is None or row.start <= moment) and (row.end is None or moment < row.end)
    ]
