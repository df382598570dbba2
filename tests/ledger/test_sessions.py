"""Sessions: which there are, latest first, and what each comes to: what the ledger's totals say of the same calls."""

import uuid
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from apps.ledger.calls import Ending
from apps.ledger.models import PriceStatus, UsageEvent
from apps.ledger.selectors import EventFilter, Session, extent, page_of_sessions, sessions, totals
from apps.pricing.meters import Meter
from apps.projects.services import create_project
from tenancy import tenant_scope
from tests.cast import Workspace
from tests.ledger import facts
from tests.ledger.facts import MAY

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def scope(acme: Workspace) -> Iterator[None]:
    with tenant_scope(acme.organization):
        yield


def call(project: uuid.UUID, label: str, hours: float, **changes: Any) -> UsageEvent:
    return facts.event(project, session=label, occurred_at=MAY + hours * HOUR, **changes)


def labels(wanted: EventFilter, cursor: str = "") -> list[str]:
    return [each.label for each in page_of_sessions(wanted, cursor=cursor).sessions]


def same_as_totals(found: Session, wanted: EventFilter) -> None:
    whole = totals(
        EventFilter.from_json(
            {**wanted.to_json(), "project_ids": [str(found.project_id)], "session": found.label},
        )
    )
    assert (found.calls, found.failed, found.unpriced, found.tokens, found.unpriced_share) == (
        whole.calls,
        whole.failed,
        whole.unpriced,
        whole.tokens,
        whole.unpriced_share,
    )
    assert {unit: cost for unit, cost in found.costs.items() if cost} == {
        unit: cost for unit, cost in whole.costs.items() if cost
    }


def test_what_a_session_comes_to_is_what_the_ledger_says(acme: Workspace) -> None:
    dice, rows = Random(3), facts.a_mix(acme.project.id, count=120)
    assert not page_of_sessions(EventFilter()).sessions
    for row in rows:
        # Rows never change, so those with a label are other ones.
        label = f"chat-{dice.randrange(9)}"
        made = call(acme.project.id, label, dice.uniform(0, 90), model=row.model, total_duration_ms=1_500.0)
        match dice.randrange(6):
            case 0:
                facts.reprice(made, "0.000000000007")
            case 1:
                facts.make_duplicate(made, uuid.uuid4())
            case 2:
                facts.detail(made, input=dice.randrange(10**6))
    call(acme.project.id, "chat-1", 3, meters={}, price_status="failed", ending="error", error_type="Timeout")
    first = call(acme.project.id, "chat-2", 4, meters={Meter.INPUT: 5})
    duplicate = {"price_status": "duplicate", "price_reason": "same_response", "same_call_as": first.event_id}
    call(acme.project.id, "chat-2", 4, meters={Meter.INPUT: 5}, **duplicate)
    for wanted in (
        EventFilter(),
        EventFilter(start=MAY + 20 * HOUR, end=MAY + 60 * HOUR),
        EventFilter(model="gpt-4o"),
        EventFilter(status=PriceStatus.UNPRICED),
        EventFilter(ending=Ending.ERROR),
        EventFilter(session="chat-3"),
        EventFilter(project_ids=(acme.project.id,)),
    ):
        page = page_of_sessions(wanted)
        assert page.sessions
        assert page.next_cursor is None
        for found in page.sessions:
            same_as_totals(found, wanted)
            assert not found.is_cut
    assert sum(found.errors for found in page_of_sessions(EventFilter()).sessions) == 1


def test_latest_first_by_the_last_call_that_matches(acme: Workspace) -> None:
    project = acme.project.id
    call(project, "old", 1)
    call(project, "new", 2)
    call(project, "old", 3, model="gpt-4o", total_duration_ms=90_000.0)
    call(project, "", 4)
    [old, new] = page_of_sessions(EventFilter()).sessions
    assert (old.label, new.label) == ("old", "new")
    assert old.models == ["gpt-4o", "gpt-4o-mini"]
    assert (old.first, old.duration) == (MAY + HOUR, 2 * HOUR + timedelta(seconds=90))
    assert labels(EventFilter(model="gpt-4o-mini")) == ["new", "old"]
    assert labels(EventFilter(end=MAY + 3 * HOUR)) == ["new", "old"]
    assert labels(EventFilter(session="")) == []


def test_the_same_label_in_two_projects_is_two_sessions(acme: Workspace) -> None:
    other = create_project(name="Other")
    call(acme.project.id, "chat", 1)
    call(other.id, "chat", 2)
    page = page_of_sessions(EventFilter())
    assert [(each.project_id, each.calls) for each in page.sessions] == [(other.id, 1), (acme.project.id, 1)]
    assert extent(acme.project.id, "chat").totals.calls == 1  # type: ignore[union-attr]  # there is one
    assert extent(other.id, "nothing") is None
    assert extent(uuid.uuid4(), "chat") is None


@pytest.mark.parametrize(("looked_at", "rounds"), [(250, 6), (3, 2), (1, 1), (7, 3)])
def test_pages_have_every_session_once(
    acme: Workspace, monkeypatch: pytest.MonkeyPatch, looked_at: int, rounds: int
) -> None:
    dice, other, last = Random(5), create_project(name="Other"), dict[tuple[uuid.UUID, str], float]()
    for number in range(150):
        project = dice.choice([acme.project.id, other.id])
        label = dice.choice(["", f"chat-{dice.randrange(40)}"])
        call(project, label, number)
        if label:
            last[project, label] = number
    monkeypatch.setattr(sessions, "LOOKED_AT", looked_at)
    monkeypatch.setattr(sessions, "ROUNDS", rounds)
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 10)
    seen, cursor, pages = list[tuple[uuid.UUID, str]](), "", 0
    while True:
        page = page_of_sessions(EventFilter(), cursor=cursor)
        assert len(page.sessions) <= 10
        seen += [(each.project_id, each.label) for each in page.sessions]
        pages += 1
        if page.next_cursor is None:
            assert page.looked_until is None
            break
        assert (page.looked_until is not None) or len(page.sessions) == 10
        cursor = page.next_cursor
    assert seen == sorted(last, key=lambda key: last[key], reverse=True)
    assert pages >= len(last) / 10


@pytest.mark.parametrize(("between", "is_listed_again"), [(4, False), (5, True)])
def test_whether_a_session_was_on_an_earlier_page_is_looked_for_to_a_bound(
    acme: Workspace, monkeypatch: pytest.MonkeyPatch, between: int, is_listed_again: bool
) -> None:
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 2)
    monkeypatch.setattr(sessions, "MOST_LISTED", 5)
    call(acme.project.id, "default", 0)
    # The page ends with this one's.
    call(acme.project.id, "other", 1)
    for number in range(between):
        call(acme.project.id, "default", 2 + number, client_name="another")
    call(acme.project.id, "default", 50)
    call(acme.project.id, "older", -1)
    wanted = EventFilter(client_name="")
    page = page_of_sessions(wanted)
    assert [each.label for each in page.sessions] == ["default", "other"]
    assert page.next_cursor is not None
    assert labels(wanted, page.next_cursor) == (["default", "older"] if is_listed_again else ["older"])


def test_a_long_session_is_summed_to_a_bound_and_says_so(acme: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_LISTED", 5)
    monkeypatch.setattr(sessions, "MOST_SUMMED", 8)
    for number in range(12):
        call(acme.project.id, "long", number)
    call(acme.project.id, "short", 1)
    for number in range(5):
        call(acme.project.id, "as long as the bound", -1 - number)
    [long, short, bound] = page_of_sessions(EventFilter()).sessions
    assert (long.calls, long.is_cut, long.first) == (5, True, MAY + 7 * HOUR)
    assert (bound.calls, bound.is_cut, bound.first) == (5, False, MAY - 5 * HOUR)
    assert (short.calls, short.is_cut) == (1, False)
    whole = extent(acme.project.id, "long")
    assert whole is not None
    assert (whole.first, whole.summed_from, whole.totals.calls) == (MAY, MAY + 4 * HOUR, 8)
