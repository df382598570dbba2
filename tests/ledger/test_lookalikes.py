"""Rule C where many calls of the same tokens run at once: two reports of one call are found, two calls stay two."""

import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from apps.ledger.settling import Report, fingerprint, settle
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
