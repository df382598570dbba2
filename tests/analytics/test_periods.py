"""What a period is compared with, and the stretches of time it is shown by."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from apps.analytics.periods import Period, Stretch, bucket, following
from apps.analytics.selectors import Granularity

BERLIN, KOLKATA = ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kolkata")
NOW = datetime(2026, 5, 15, 14, 37, tzinfo=BERLIN)


def at(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=BERLIN)


def test_a_period_that_is_over_is_compared_with_as_many_days() -> None:
    assert Period(date(2026, 4, 1), date(2026, 4, 30), NOW).before() == [Stretch(at(3, 2), at(4, 1))]


def test_one_under_way_is_compared_with_as_much_as_has_passed() -> None:
    week = Period(date(2026, 5, 9), date(2026, 5, 15), NOW)
    assert week.before() == [Stretch(at(5, 2), at(5, 8)), Stretch(at(5, 8), at(5, 8, 14, 30))]
    today = Period(date(2026, 5, 15), date(2026, 5, 15), NOW)
    assert today.before() == [Stretch(at(5, 14), at(5, 14, 14, 30))]
    # More days are to come: they are not compared.
    longer = Period(date(2026, 5, 14), date(2026, 5, 17), NOW)
    assert longer.before() == [Stretch(at(5, 10), at(5, 11)), Stretch(at(5, 11), at(5, 11, 14, 30))]
    midnight = Period(date(2026, 5, 15), date(2026, 5, 15), at(5, 15, 0, 7))
    assert midnight.before() == []


def test_what_has_not_begun_has_nothing_before() -> None:
    assert Period(date(2026, 6, 1), date(2026, 6, 2), NOW).before() == []


@pytest.mark.parametrize(
    ("days", "granularity", "number"),
    [
        (1, Granularity.HOUR, 24),
        (2, Granularity.HOUR, 48),
        (3, Granularity.DAY, 3),
        (92, Granularity.DAY, 92),
        (93, Granularity.WEEK, 14),
        (367, Granularity.MONTH, 13),
    ],
)
def test_stretches_follow_each_other(days: int, granularity: Granularity, number: int) -> None:
    # April has the change of clocks neither in Berlin nor in India; the last Sunday of March has it in Berlin.
    last = date(2026, 4, 30)
    for zone in (BERLIN, KOLKATA, UTC):
        period = Period(last - timedelta(days=days - 1), last, NOW.astimezone(zone))
        starts = list(period.starts())
        assert period.granularity is granularity
        assert len(starts) == number
        for start, end in pairwise(starts):
            assert following(start, granularity) == end
            assert bucket(end - timedelta(seconds=1), granularity) == start


def test_the_hour_that_clocks_skip_or_repeat() -> None:
    for day, hours in ((date(2026, 3, 29), 23), (date(2026, 10, 25), 25)):
        starts = list(Period(day, day, datetime(2026, 12, 1, tzinfo=BERLIN)).starts())
        assert len(starts) == len({start.astimezone(UTC) for start in starts}) == hours
