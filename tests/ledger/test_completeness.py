"""What the ledger says of its own gaps: numbers that never came, keys that stay silent, rows to read with care."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from apps.ledger.completeness import CLOCKS, LATE, Fetch, Gap, completeness, missing_reports, silent
from apps.ledger.selectors import EventFilter
from tenancy import tenant_scope
from tests.cast import Workspace
from tests.ledger import facts
from tests.ledger.facts import MAY

MINUTE = timedelta(minutes=1)


@pytest.fixture
def project(acme: Workspace) -> Iterator[uuid.UUID]:
    with tenant_scope(acme.organization):
        yield uuid.uuid4()


def of(*projects: uuid.UUID, **choices: Any) -> EventFilter:
    return EventFilter(project_ids=projects, **choices)


def numbered(project: uuid.UUID, source: str, *numbers: int, **changes: Any) -> None:
    for number in numbers:
        facts.event(project, sequence_source=source, sequence_number=number, **changes)


class TestGaps:
    def test_are_counted_and_their_first_numbers_named(self, project: uuid.UUID) -> None:
        numbered(project, "worker-1", 5, 1, 2, 9)
        numbered(project, "worker-2", 1, 100)
        numbered(project, "worker-3", 7, 8, 9)
        numbered(other := uuid.uuid4(), "worker-1", 3, 4)
        facts.event(project)
        found = completeness(of(project, other))
        assert found.gaps == [
            Gap(project, "worker-2", 98, list(range(2, 12))),
            Gap(project, "worker-1", 5, [3, 4, 6, 7, 8]),
        ]
        assert missing_reports(of(project, other)) == 103
        assert missing_reports(of(project, provider="nobody")) == 0

    def test_many_small_ones_name_only_the_first(self, project: uuid.UUID) -> None:
        numbered(project, "worker-1", *range(0, 40, 2))
        [gap] = completeness(of(project)).gaps
        assert (gap.missing, gap.first_numbers) == (19, list(range(1, 21, 2)))
        assert missing_reports(of(project)) == 19

    def test_order_of_arrival_does_not_matter_nor_does_a_duplicate(self, project: uuid.UUID) -> None:
        numbered(project, "worker-1", 3, 1)
        numbered(project, "worker-1", 2, price_status="duplicate", same_call_as=uuid.uuid4())
        assert completeness(of(project)).gaps == []
        assert missing_reports(of(project)) == 0

    def test_the_highest_number_there_can_be_has_none_after_it(self, project: uuid.UUID) -> None:
        most = 2**63 - 1
        numbered(project, "worker-1", 0, most, most, most - 1)
        numbered(project, "worker-2", most)
        [gap] = completeness(of(project)).gaps
        assert (gap.source, gap.missing, gap.first_numbers) == ("worker-1", most - 2, list(range(1, 11)))
        assert missing_reports(of(project)) == most - 2

    def test_only_of_the_time_asked_for(self, project: uuid.UUID) -> None:
        numbered(project, "worker-1", 1, 4)
        numbered(project, "worker-1", 5, 7, occurred_at=MAY + 60 * MINUTE)
        [gap] = completeness(of(project, start=MAY + MINUTE)).gaps
        assert gap.first_numbers == [6]
        assert missing_reports(of(project, start=MAY + MINUTE)) == 1


def test_rows_to_read_with_care_are_counted_as_they_stand_now(project: uuid.UUID) -> None:
    facts.event(project, received_at=MAY)
    facts.event(project, received_at=MAY + LATE)
    facts.event(project, received_at=MAY + LATE + MINUTE)
    facts.event(project, received_at=MAY, flags=["by_request_model", "clock_skew"])
    guessed: dict[str, Any] = {
        "price_status": "duplicate",
        "price_reason": "possible_duplicate",
        "same_call_as": uuid.uuid4(),
    }
    facts.event(project, received_at=MAY, **guessed)
    facts.detail(facts.event(project, received_at=MAY, **guessed), input=1, output=1)
    facts.event(project, received_at=MAY, **{**guessed, "price_reason": "same_response"})
    facts.event(project, received_at=MAY, model="gpt-of-tomorrow")
    facts.reprice(facts.event(project, received_at=MAY, model="gpt-of-tomorrow"), "0.5")
    found = completeness(of(project))
    assert (found.events, found.skewed, found.late) == (9, 1, 1)
    assert (found.possible_duplicates, found.unpriced) == (1, 1)


class TestSilent:
    NOW = MAY + 600 * MINUTE

    def silent(self, *fetches: Fetch) -> list[Fetch]:
        return silent(fetches, now=self.NOW)

    def test_a_key_that_nothing_was_reported_with(self, project: uuid.UUID) -> None:
        used, unused = uuid.uuid4(), uuid.uuid4()
        facts.event(project, provider_key_id=used, occurred_at=MAY + MINUTE)
        facts.event(project, provider_key_id=unused, occurred_at=MAY - 60 * MINUTE)
        facts.event(uuid.uuid4(), provider_key_id=unused, occurred_at=MAY + MINUTE)
        fetches = [Fetch(project, MAY, key, "anthropic") for key in (used, unused)]
        assert self.silent(*fetches) == [fetches[1]]

    def test_a_client_that_reported_nothing(self, project: uuid.UUID) -> None:
        facts.event(project, client_name="batch-3", occurred_at=MAY + MINUTE)
        fetches = [Fetch(project, MAY, client_name=name) for name in ("batch-3", "batch-4", "")]
        assert self.silent(*fetches) == fetches[1:]

    def test_spans_name_the_provider_instead_of_the_key(self, project: uuid.UUID) -> None:
        facts.event(project, provider="gcp.gemini", occurred_at=MAY + MINUTE)
        fetches = [Fetch(project, MAY, uuid.uuid4(), provider) for provider in ("gemini", "openai")]
        assert self.silent(*fetches) == [fetches[1]]
        later = replace(fetches[0], at=MAY + 60 * MINUTE)
        assert self.silent(later) == [later]

    def test_a_recent_fetch_is_given_time(self, project: uuid.UUID) -> None:
        recent = Fetch(project, self.NOW - 29 * MINUTE, uuid.uuid4(), "openai")
        assert self.silent(recent) == []
        assert self.silent(replace(recent, at=self.NOW - 30 * MINUTE)) != []

    def test_clocks_may_differ_a_little(self, project: uuid.UUID) -> None:
        key = uuid.uuid4()
        facts.event(project, provider_key_id=key, occurred_at=MAY)
        fetch = Fetch(project, MAY + CLOCKS, key, "anthropic")
        assert self.silent(fetch) == []
        assert self.silent(replace(fetch, at=fetch.at + MINUTE)) != []

    def test_nothing_asked_nothing_silent(self, acme: Workspace) -> None:
        assert self.silent() == []
