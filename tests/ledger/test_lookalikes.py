"""Rule C where many calls of the same tokens run at once: two reports of one call are found, two calls stay two."""

import uuid
from datetime import UTC, datetime, timedelta
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from apps.ledger import settling
from apps.ledger.settling import LONGEST_CALL, Report, fingerprint, settle
from apps.pricing.meters import Meter

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
METERS = {Meter.INPUT: 1_200, Meter.OUTPUT: 300}


def report(scope: str, start: int, end: int) -> Report:
    """Of a call between two milliseconds."""
    return Report(
        event_id=uuid.uuid4(),
        parent_event_id=None,
        source=scope,
        scope=scope,
        provider="openai",
        models=frozenset(("gpt-4o-mini",)),
        response_id="",
        fingerprint=fingerprint("one process", METERS),
        started_at=BEGIN + timedelta(milliseconds=start),
        duration_ms=end - start,
        meters=METERS,
        service_tier="",
    )


def calls(*reports: Report) -> int:
    return sum(verdict.same_call_as is None for verdict in settle(reports, {}).values())


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(10, 60)), min_size=1, max_size=12))
def test_of_calls_at_once_none_is_lost(times: list[tuple[int, int]]) -> None:
    """Who belongs to whom may be taken wrongly, how many there are must not be too few."""
    outer = [report("langchain", start, start + length) for start, length in times]
    inner = [report("openai", start + 1, start + length - 1) for start, length in times]
    assert len(times) <= calls(*outer, *inner) <= 2 * len(times)


@given(st.integers(1, 40))
def test_calls_that_begin_together_are_all_found(count: int) -> None:
    outer = [report("langchain", 0, 20 + 2 * number) for number in range(count)]
    inner = [report("openai", 1, 19 + 2 * number) for number in range(count)]
    assert calls(*outer, *inner) == count


def test_a_report_that_is_written_a_little_late() -> None:
    """Logfire's of a stream begins with the answer's first part and ends after the stream did."""
    assert calls(report("anthropic", 0, 110), report("logfire", 20, 112)) == 1
    assert calls(report("anthropic", 0, 6), report("logfire", 5, 8)) == 1
    # One that begins and ends much later is another call.
    assert calls(report("anthropic", 0, 300), report("logfire", 150, 440)) == 2


def test_calls_one_after_the_other_are_not_one() -> None:
    """A quick chain's second call is no part of its first, near as it is."""
    first = report("langchain", 0, 20), report("openai", 2, 18)
    second = report("langchain", 25, 45), report("openai", 27, 43)
    assert calls(*first, *second) == 2
    assert calls(first[0], second[1]) == 2


def test_thousands_of_the_same_call_are_compared_with_those_around_them_only() -> None:
    """A program that asks the same thing all day, below two instrumentations."""
    outer = [report("langchain", 50 * number, 50 * number + 40) for number in range(3_000)]
    inner = [report("openai", 50 * number + 5, 50 * number + 35) for number in range(3_000)]
    with mock.patch.object(settling, "_look_alike", wraps=settling._look_alike) as compared:
        assert calls(*inner) == 3_000
        assert compared.call_count == 0
        assert calls(*outer, *inner) == 3_000
        assert compared.call_count <= 4 * 3_000


def test_no_call_is_longer_than_the_search_for_its_other_report_reaches() -> None:
    """Else it would matter whether both reports come in one request."""
    hour = LONGEST_CALL // timedelta(milliseconds=1)
    assert calls(report("langchain", 0, 3 * hour), report("openai", hour, 2 * hour)) == 1
    assert calls(report("langchain", 0, 3 * hour), report("openai", hour + 1, 2 * hour)) == 2
