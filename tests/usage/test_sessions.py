"""Pages of sessions: a list by the filter of the ledger, and one session as a timeline whose totals are the ledger's."""

import re
import uuid
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client as Browser
from django.utils import timezone

from apps.ledger.labels import hidden
from apps.ledger.models import UsageEvent
from apps.ledger.selectors import sessions
from apps.ledger.standing import standings
from apps.projects.models import Project
from apps.projects.services import create_project
from apps.usage import session_views
from apps.usage.timeline import MOST_LANES, Timeline, timeline
from tenancy import tenant_scope
from tests.analytics.test_pages import ledger, same
from tests.cast import Member, Workspace
from tests.ledger import facts
from tests.usage.events import add_event
from tests.usage.test_ledger import rows_of, text_of

NOW = datetime.fromisoformat("2026-05-04T10:00:00+00:00")


@pytest.fixture
def browser(alice: Member) -> Browser:
    return alice.browser()


def listed(answer: Any) -> list[tuple[str, str]]:
    """The project and the label of each session of the list."""
    assert answer.status_code == 200, text_of(answer)
    return [(str(line.session.project_id), line.session.label) for line in answer.context["lines"]]


def address(acme: Workspace, project: Project, label: str) -> str:
    return acme.url(f"usage/sessions/{project.id}/?session={label}")


def test_without_sessions_the_page_says_how_to_name_them(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        add_event(acme.project)
    shown = text_of(browser.get(acme.url("usage/sessions/")))
    assert "No session yet" in shown
    assert "gen_ai.conversation.id" in shown


def test_sessions_beyond_what_is_looked_through_are_no_reason_to_explain_them(
    acme: Workspace, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "LOOKED_AT", 1)
    monkeypatch.setattr(sessions, "ROUNDS", 1)
    now = timezone.now()
    with tenant_scope(acme.organization):
        other = create_project(name="Other")
        add_event(acme.project, session="old", at=now - timedelta(hours=1))
        for _ in range(3):
            add_event(acme.project, at=now)
        add_event(other)
    shown = text_of(browser.get(acme.url(f"usage/sessions/?project={other.id}")))
    assert "No session matches" in shown
    assert "No session yet" not in shown


def test_the_list_and_what_each_session_comes_to(acme: Workspace, browser: Browser) -> None:
    now = timezone.now()
    with tenant_scope(acme.organization):
        other = create_project(name="Other")
        first = add_event(acme.project, session="a chat/1", at=now - timedelta(hours=2), total_duration_ms=1_500.0)
        add_event(acme.project, session="a chat/1", at=now - timedelta(hours=1), model="no-such-model")
        add_event(acme.project, {}, session="a chat/1", at=now - timedelta(hours=1), ending="error", error_type="T")
        add_event(acme.project, session="a chat/1", same_call_as=first.event_id)
        facts.reprice(first, "0.5")
        add_event(other, session="a chat/1", at=now - timedelta(minutes=5))
        add_event(acme.project)
        old = add_event(acme.project, session="old", at=now - timedelta(days=40))
    answer = browser.get(acme.url("usage/sessions/"))
    assert listed(answer) == [(str(acme.project.id), "a chat/1"), (str(other.id), "a chat/1")]
    shown = text_of(answer)
    for part in ("production (production)", "gpt-4o-mini no-such-model", "3 1 error", "3.00k", "$0.50 1 unpriced, 50%"):
        assert part in shown, part
    for line in answer.context["lines"]:
        same_calls = ledger(browser, acme, line.rows_query)
        assert (line.session.calls, line.session.tokens) == (same_calls.calls, same_calls.tokens)
        assert line.session.costs == same_calls.costs
        assert browser.get(acme.url(f"usage/sessions/{line.session.project_id}/?{line.query}")).status_code == 200
    assert listed(browser.get(acme.url("usage/sessions/?period=all")))[-1] == (str(old.project_id), "old")
    assert listed(browser.get(acme.url(f"usage/sessions/?project={other.id}"))) == [(str(other.id), "a chat/1")]
    assert listed(browser.get(acme.url("usage/sessions/?status=unpriced"))) == [(str(acme.project.id), "a chat/1")]
    assert listed(browser.get(acme.url("usage/sessions/?session=old&period=all"))) == [(str(old.project_id), "old")]
    assert "No session matches" in text_of(browser.get(acme.url("usage/sessions/?model=nothing")))
    assert browser.get(acme.url("usage/sessions/?from=nonsense")).status_code == 422


def test_pages_of_the_list(acme: Workspace, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 4)
    now = timezone.now()
    with tenant_scope(acme.organization):
        for number in range(10):
            add_event(acme.project, session=f"chat-{number}", at=now - timedelta(minutes=number))
    path, seen = acme.url("usage/sessions/?provider=openai"), []
    for size in (4, 4, 2):
        answer = browser.get(path)
        assert len(listed(answer)) == size
        seen += [label for _, label in listed(answer)]
        [earlier] = re.findall(r'href="([^"]+)" rel="next"', answer.content.decode()) or [""]
        path = acme.url("usage/sessions/") + unescape(earlier)
    assert seen == [f"chat-{number}" for number in range(10)]
    assert not earlier
    assert 'rel="first"' in answer.content.decode()
    broken = browser.get(acme.url("usage/sessions/?provider=openai&cursor=nonsense"))
    assert (broken.status_code, broken["Location"]) == (302, acme.url("usage/sessions/?provider=openai"))
    # Where calls name no session for long, the page says how far it looked.
    monkeypatch.setattr(sessions, "LOOKED_AT", 2)
    monkeypatch.setattr(sessions, "ROUNDS", 1)
    with tenant_scope(acme.organization):
        for _ in range(4):
            add_event(acme.project, at=now + timedelta(seconds=1))
    shown = text_of(browser.get(acme.url("usage/sessions/")))
    assert "No session so far" in shown
    assert "Calls were looked through back to" in shown
    assert "Look further back" in shown


def test_one_session(acme: Workspace, browser: Browser) -> None:
    now = timezone.now().replace(microsecond=0)
    with tenant_scope(acme.organization):
        events = [
            add_event(
                acme.project,
                session="a chat/1",
                at=now - timedelta(minutes=30 - number),
                total_duration_ms=2_000.0,
                model=["gpt-4o-mini", "gpt-4o", "no-such-model"][number % 3],
            )
            for number in range(6)
        ]
        add_event(acme.project, session="a chat/1", same_call_as=events[0].event_id, at=now - timedelta(minutes=30))
        facts.reprice(events[1], "0.123456789012")
        facts.make_duplicate(events[2], events[1].event_id)
        add_event(create_project(name="Other"), session="a chat/1")
    answer = browser.get(address(acme, acme.project, "a%20chat/1"))
    shown = text_of(answer)
    assert "Sessions a chat/1 A session of production (production)" in shown
    assert "lasted 5 min 2 s" in shown
    # Every call leads to its row, the oldest first, and the totals are those of the ledger's same calls.
    assert rows_of(answer) == [str(row.id) for row in sorted(ids(answer), key=lambda row: (row.occurred_at, row.id))]
    assert len(rows_of(answer)) == 7
    whole = answer.context["whole"].totals
    assert (whole.calls, whole.duplicates, whole.unpriced) == (5, 2, 1)
    same(whole, ledger(browser, acme, answer.context["rows_address"].partition("?")[2]))
    assert len(answer.context["timeline"].bars) == 5
    for row in (events[0], events[5]):
        page = browser.get(acme.url(f"ledger/{row.id}/")).content.decode()
        [link] = re.findall(r'<a href="([^"]*usage/sessions/[^"]*)">a chat/1</a>', page)
        assert browser.get(unescape(link)).status_code == 200


def ids(answer: Any) -> list[UsageEvent]:
    return [row.event for row in answer.context["rows"]]


def test_a_long_session_is_shown_in_pages(acme: Workspace, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_views, "ROWS_ON_A_PAGE", 5)
    monkeypatch.setattr(sessions, "MOST_SUMMED", 10)
    monkeypatch.setattr(session_views, "MOST_SUMMED", 10)
    now = timezone.now()
    with tenant_scope(acme.organization):
        events = [add_event(acme.project, session="long", at=now - timedelta(minutes=number)) for number in range(12)]
        # No call of its own, so no bar.
        facts.make_duplicate(events[1], events[0].event_id)
    answer, seen = browser.get(address(acme, acme.project, "long")), list[str]()
    shown = text_of(answer)
    assert "It has more than 10 calls: these figures are of the latest" in shown
    assert "Timeline 4 of its calls; the others are on further pages." in shown
    assert "Calls 9" in shown
    while True:
        seen = rows_of(answer) + seen
        found = re.findall(r'href="([^"]+)" rel="prev"', answer.content.decode())
        if not found:
            break
        answer = browser.get(acme.url(f"usage/sessions/{acme.project.id}/") + unescape(found[0]))
    assert seen == [str(event.id) for event in reversed(events)]
    broken = browser.get(address(acme, acme.project, "long&cursor=nonsense"))
    assert (broken.status_code, broken["Location"]) == (302, address(acme, acme.project, "long"))


@pytest.mark.parametrize("query", ["?session=nothing", "?session=a%00b", "?session=" + "x" * 201])
def test_what_is_no_session_is_not_found(acme: Workspace, browser: Browser, query: str) -> None:
    assert browser.get(acme.url(f"usage/sessions/{acme.project.id}/{query}")).status_code == 404


def test_without_a_label_it_is_the_projects_sessions(acme: Workspace, browser: Browser) -> None:
    answer = browser.get(acme.url(f"usage/sessions/{acme.project.id}/?session="))
    assert (answer.status_code, answer["Location"]) == (302, acme.url(f"usage/sessions/?project={acme.project.id}"))


def test_of_a_hidden_label_there_is_a_fingerprint(acme: Workspace, browser: Browser) -> None:
    label = hidden(acme.project.id, "ada@example.com")
    with tenant_scope(acme.organization):
        Project.objects.filter(id=acme.project.id).update(hides_labels=True)
        add_event(acme.project, session=label)
        add_event(acme.project, session="from before")
    page = browser.get(acme.url("usage/sessions/")).content.decode()
    assert re.findall(r'class="session-hidden"[^>]*>([^<]+)<', page) == [label]
    assert "Only a fingerprint of its label is kept" in text_of(browser.get(address(acme, acme.project, label)))
    assert "Only a fingerprint" not in text_of(browser.get(address(acme, acme.project, "from%20before")))


def test_another_organizations_sessions_are_not_found(acme: Workspace, globex: Workspace, charlie: Member) -> None:
    with tenant_scope(acme.organization):
        add_event(acme.project, session="secret")
    theirs = charlie.browser()
    assert theirs.get(address(acme, acme.project, "secret")).status_code == 404
    assert theirs.get(address(globex, acme.project, "secret")).status_code == 404
    assert "secret" not in theirs.get(globex.url("usage/sessions/?period=all")).content.decode()


# --- The drawing ---


def drawn(spans: list[tuple[float, float]]) -> Timeline:
    """Of calls that begin after so many seconds and take so many."""
    rows = [
        UsageEvent(
            event_id=uuid.uuid4(),
            occurred_at=NOW + timedelta(seconds=begin),
            total_duration_ms=took * 1_000,
            model="m",
            price_status="priced",
            cost=0,
        )
        for begin, took in sorted(spans)
    ]
    found = timeline(standings(rows), {"m": 3})
    assert found is not None
    return found


@pytest.fixture
def scope(acme: Workspace) -> Any:
    with tenant_scope(acme.organization):
        yield


@pytest.mark.usefixtures("scope")
class TestTimeline:
    def test_bars_are_to_scale_and_apart(self) -> None:
        found = drawn([(0, 10), (10, 5), (16, 4), (2, 3)])
        assert [(round(bar.x), round(bar.width), bar.y) for bar in found.bars] == [
            (0, 50, 3),
            (10, 15, 23),
            (50, 25, 3),
            (80, 20, 3),
        ]
        assert found.pauses == []
        assert [(tick.x, tick.moment) for tick in found.ticks] == [
            (part, NOW + timedelta(seconds=part / 5)) for part in (0, 25, 50, 75, 100)
        ]
        assert {bar.colour for bar in found.bars} == {3}

    def test_long_pauses_are_cut(self) -> None:
        found = drawn([(0, 4), (3_600, 4), (7_200, 8)])
        assert [round(pause.length.total_seconds()) for pause in found.pauses] == [3_596, 3_596]
        assert [round(bar.width, 1) for bar in found.bars] == [23.5, 23.5, 47.0]
        assert round(found.bars[-1].x + found.bars[-1].width, 6) == 100

    @pytest.mark.parametrize(
        "spans",
        [
            [(0.0, 0.0)],
            [(0.0, 0.0)] * 5,
            [(0.0, 0.0), (60.0, 0.0)],
            [(0.0, 1e-6), (86_400.0, 1e9), (86_401.0, 0.0)],
            [(float(number), 100.0) for number in range(100)],
            [(number * 1_000.0, 1.0) for number in range(100)],
        ],
    )
    def test_everything_lies_within(self, spans: list[tuple[float, float]]) -> None:
        found = drawn(spans)
        assert len(found.bars) == len(spans)
        assert found.height <= MOST_LANES * 20
        for bar in found.bars:
            assert -1e-6 <= bar.x <= bar.x + bar.width <= 100 + 1e-6
            assert bar.width > 0
        assert sum(pause.width for pause in found.pauses) <= 45 + 1e-6
        assert [bar.x for bar in found.bars] == sorted(bar.x for bar in found.bars)

    def test_nothing_is_drawn_of_nothing(self) -> None:
        assert timeline([], {}) is None
