"""The ledger's pages: filters that live in the address, pages by key, and one call that explains itself."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.test import Client as Browser
from django.utils import timezone

from apps.ledger.models import Adjustment, PriceStatus, UsageEvent
from apps.ledger.prices import Price
from apps.ledger.standing import adjust, standings, store
from apps.organizations.models import Membership, Organization
from apps.pricing.meters import Meter
from apps.projects.models import Client
from apps.projects.services import archive_project, create_project, delete_project
from apps.vault.models import ProviderKey
from tenancy import tenant_scope
from tests.cast import Member, Workspace
from tests.usage.events import add_event


@pytest.fixture
def browser(alice: Member) -> Browser:
    return alice.browser()


def text_of(answer: Any) -> str:
    """What there is to read, in one line."""
    body = re.sub(r"<(script|style|datalist|select).*?</\1>", " ", answer.content.decode(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def rows_of(answer: Any) -> list[str]:
    """The ids of the calls that a page lists, in its order."""
    return re.findall(
        r'<th scope="row" class="ledger-when"><a href="[^"]*/ledger/([0-9a-f-]{36})/"', answer.content.decode()
    )


def ids(*events: UsageEvent) -> list[str]:
    return [str(event.id) for event in events]


def test_an_empty_ledger_says_how_to_fill_it(globex: Workspace, charlie: Member) -> None:
    answer = charlie.browser().get(globex.url("ledger/"))
    assert "No call yet" in text_of(answer)
    assert "ingest token" in text_of(answer)


def test_a_row_and_its_totals(acme: Workspace, browser: Browser) -> None:
    meters = {Meter.INPUT: 1_200, Meter.OUTPUT: 300, Meter.CACHE_READ: 1_000}
    with tenant_scope(acme.organization):
        event = add_event(
            acme.project, meters, client_name="batch-3", total_duration_ms=4_210.0, time_to_first_token_ms=87.4
        )
        add_event(acme.project, model="no-such-model")
        add_event(acme.project, {}, ending="error", error_type="RateLimitError")
        add_event(acme.project, same_call_as=event.event_id)
    answer = browser.get(acme.url("ledger/"))
    shown = text_of(answer)
    assert len(rows_of(answer)) == 4
    for part in (
        "gpt-4o-mini OpenAI",
        "production production · batch-3",
        "1,200 1,000 cached",
        "4.2 s first 87 ms",
        "$0.000285",
        "1 call unpriced",
        "Calls 3 1 failed",
        "Left out 1 duplicate of calls counted above",
    ):
        assert part in shown, part
    assert 'title="$0.000285"' in answer.content.decode()


def test_filters_live_in_the_address(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        other = create_project(name="Other")
        mini = add_event(acme.project, session="s-1", user_label="ada", provider_key_id=None)
        claude = add_event(other, provider="anthropic", model="claude-sonnet-4-5", client_name="web")
        unknown = add_event(other, model="no-such-model")
        failed = add_event(acme.project, {}, ending="error")
        cancelled = add_event(acme.project, ending="cancelled")
        old = add_event(acme.project, at=timezone.now() - timedelta(days=40))
    everything = [mini, claude, unknown, failed, cancelled]

    def found(query: str) -> set[str]:
        answer = browser.get(acme.url(f"ledger/?{query}"))
        assert answer.status_code == 200
        return set(rows_of(answer))

    assert found("") == set(ids(*everything))
    assert found("period=all") == set(ids(*everything, old))
    assert found("period=today") <= set(ids(*everything))
    assert found(f"project={other.id}") == set(ids(claude, unknown))
    assert found("provider=anthropic") == found("model=claude-sonnet-4-5") == found("client=web") == set(ids(claude))
    assert found("status=unpriced") == set(ids(unknown))
    assert found("status=failed") == set(ids(failed))
    assert found("status=cancelled") == set(ids(cancelled))
    assert found("session=s-1") == found("user=ada") == set(ids(mini))
    assert found("provider=anthropic&status=unpriced") == set()
    day = (timezone.now() - timedelta(days=40)).date()
    assert found(f"from={day}&to={day}") == found(f"period=custom&to={day}") == set(ids(old))
    # What was chosen is shown as chosen.
    page = browser.get(acme.url(f"ledger/?project={other.id}&model=claude-sonnet-4-5&period=7")).content.decode()
    assert f'<option value="{other.id}" selected>' in page
    assert 'value="claude-sonnet-4-5"' in page
    assert '<option value="7" selected>' in page
    assert '<details class="filter-more" open>' in page


def test_no_match_is_no_empty_ledger(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        add_event(acme.project)
    shown = text_of(browser.get(acme.url("ledger/?model=nothing")))
    assert "No call matches" in shown
    assert "No call yet" not in shown


@pytest.mark.parametrize(
    "query",
    [
        "project=nonsense",
        f"project={uuid.UUID(int=1)}",
        "period=moon",
        "status=sold",
        "from=yesterday",
        "from=2026-02-30",
        "from=2026-03-02&to=2026-03-01",
        "to=9999-12-31",
        "from=0001-01-01",
        "key=1",
        "model=a%00b",
        "provider=" + "x" * 65,
    ],
)
def test_what_cannot_be_meant_is_said(acme: Workspace, browser: Browser, query: str) -> None:
    answer = browser.get(acme.url(f"ledger/?{query}"))
    assert answer.status_code == 422
    assert b'aria-invalid="true"' in answer.content


def test_days_are_the_organizations(acme: Workspace, browser: Browser) -> None:
    Organization.objects.filter(pk=acme.organization.pk).update(time_zone="Pacific/Auckland")
    with tenant_scope(acme.organization):
        # The tenth of March there, from eleven in the morning of the ninth here.
        before = add_event(acme.project, at=datetime(2026, 3, 9, 10, 59, 59, tzinfo=UTC))
        first = add_event(acme.project, at=datetime(2026, 3, 9, 11, 0, tzinfo=UTC))
        last = add_event(acme.project, at=datetime(2026, 3, 10, 10, 59, 59, tzinfo=UTC))
        after = add_event(acme.project, at=datetime(2026, 3, 10, 11, 0, tzinfo=UTC))
    answer = browser.get(acme.url("ledger/?from=2026-03-10&to=2026-03-10"))
    assert rows_of(answer) == ids(last, first)
    assert "10 Mar, 00:00:00" in text_of(answer)
    assert "times in Pacific/Auckland" in text_of(answer)
    assert {str(before.id), str(after.id)}.isdisjoint(rows_of(answer))


@pytest.mark.parametrize("hour", [0, 1])
def test_an_hour_is_one_when_clocks_are_set_back(acme: Workspace, browser: Browser, hour: int) -> None:
    Organization.objects.filter(pk=acme.organization.pk).update(time_zone="Europe/Berlin")
    begin = datetime(2026, 10, 25, hour, tzinfo=UTC)
    with tenant_scope(acme.organization):
        first, last, after = (add_event(acme.project, at=begin + timedelta(minutes=minutes)) for minutes in (0, 59, 60))
    answer = browser.get(acme.url(f"ledger/?hour={begin:%Y-%m-%dT%H:%MZ}"))
    assert rows_of(answer) == ids(last, first)
    assert answer.context["totals"].calls == 2
    assert str(after.id) not in rows_of(answer)


def test_pages_go_by_key(acme: Workspace, browser: Browser) -> None:
    now = timezone.now()
    with tenant_scope(acme.organization):
        events = [add_event(acme.project, at=now - timedelta(minutes=number)) for number in range(1, 121)]
    address, seen = acme.url("ledger/?provider=openai"), []
    for size in (50, 50, 20):
        answer = browser.get(address)
        assert len(rows_of(answer)) == size
        seen += rows_of(answer)
        [older] = re.findall(r'href="([^"]+)" rel="next"', answer.content.decode()) or [""]
        assert ("cursor=" in older) is (size == 50)
        address = acme.url("ledger/") + unescape(older)
    assert seen == ids(*events)
    [newer] = re.findall(r'href="([^"]+)" rel="prev"', answer.content.decode())
    assert "provider=openai" in newer
    assert rows_of(browser.get(acme.url("ledger/") + unescape(newer))) == seen[50:100]
    # A cursor that is none leads to the first page of the same filter.
    broken = browser.get(acme.url("ledger/?provider=openai&cursor=nonsense"))
    assert (broken.status_code, broken["Location"]) == (302, acme.url("ledger/?provider=openai"))


# --- One call ---


def test_a_call_explains_itself(acme: Workspace, browser: Browser) -> None:
    meters = {Meter.INPUT: 1_200, Meter.OUTPUT: 300, Meter.CACHE_READ: 1_000, Meter.REASONING: 100}
    with tenant_scope(acme.organization):
        event = add_event(
            acme.project, meters, reported_cost=Decimal("0.00042"), response_id="resp-1", session="s-1", scope="any-llm"
        )
    shown = text_of(browser.get(acme.url(f"ledger/{event.id}/")))
    for part in (
        "$0.000285",
        "Priced as gpt-4o-mini of OpenAI, by the list of genai-prices",
        "Input tokens from cache 1,000 $0.075 per 1M tokens",
        "Reasoning tokens no price of their own: they cost what output tokens cost 100 $0.60 per 1M tokens",
        "Its reporter thinks it cost $0.00042: $0.000135 more than we count",
        "Response ID resp-1",
        "Session s-1",
        "Instrumentation any-llm",
        "the ANY_LLM_KEY, generation 1",
    ):
        assert part in shown, part
    assert "History" not in shown


def test_all_that_is_stored_is_shown(acme: Workspace, browser: Browser) -> None:
    """A column that the page leaves out would be one that nobody can see."""
    marks: dict[str, Any] = {
        field.name: f"mark-{field.name}"[:32]
        for field in UsageEvent._meta.concrete_fields
        if field.get_internal_type() == "CharField"
        and field.name not in {"currency", "price_status", "price_reason", "price_rule", "ending"}
    }
    numbers: dict[str, Any] = {
        field.name: 7_000 + place
        for place, field in enumerate(UsageEvent._meta.concrete_fields)
        if field.get_internal_type() in {"BigIntegerField", "FloatField"}
        and field.name not in {"price_snapshot_id", "fingerprint"}
    }
    traced: dict[str, Any] = {"trace_id": uuid.uuid4(), "parent_event_id": uuid.uuid4()}
    with tenant_scope(acme.organization):
        event = add_event(acme.project, {}, fingerprint=-1, **marks, **numbers, **traced)
    shown = text_of(browser.get(acme.url(f"ledger/{event.id}/")))
    for name, mark in marks.items():
        assert mark in shown, name
    for name, number in numbers.items():
        forms = {f"{number:,}", f"{number / 1000:.1f} s", f"{number:.1f}", f"{number:,.1f}"}
        assert any(form in shown for form in forms), name
    assert str(traced["trace_id"]) in shown
    assert "ffffffffffffffff" in shown


def test_a_call_shows_what_was_measured_and_names_the_rest(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        some = add_event(acme.project, total_duration_ms=2_400.0, chunks_received=1_381, tokens_per_second=209.64)
        none = add_event(acme.project)
    shown = text_of(browser.get(acme.url(f"ledger/{some.id}/")))
    assert "Took 2.4 s Tokens a second 209.6 Chunks 1,381 Not reported: first token, last token, chunk size" in shown
    shown = text_of(browser.get(acme.url(f"ledger/{none.id}/")))
    assert "Performance Not reported: how long it took, first token" in shown


def test_price_lines_stand_in_the_order_in_which_meters_are_named(acme: Workspace, browser: Browser) -> None:
    meters = {Meter.INPUT: 14_200, Meter.CACHE_READ: 12_000, Meter.OUTPUT: 1_830, Meter.REASONING: 640}
    with tenant_scope(acme.organization):
        event = add_event(acme.project, meters)
    page = browser.get(acme.url(f"ledger/{event.id}/")).content.decode()
    lines = re.findall(r'<th scope="row"><span class="cell-main">([^<]+)', page)
    assert lines == ["Input tokens", "Output tokens", "Input tokens from cache", "Reasoning tokens"]


def test_the_year_stands_with_calls_of_other_years(acme: Workspace, browser: Browser) -> None:
    now = timezone.now()
    with tenant_scope(acme.organization):
        add_event(acme.project, at=now)
        assert f"{now:%Y} gpt-4o-mini" not in text_of(browser.get(acme.url("ledger/?period=all")))
        add_event(acme.project, at=datetime(2024, 5, 3, 10, tzinfo=UTC))
    assert "3 May, 10:00:00 2024 gpt-4o-mini" in text_of(browser.get(acme.url("ledger/?period=all")))


def test_no_totals_of_nothing(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        event = add_event(acme.project)
        add_event(acme.project, same_call_as=event.event_id)
    page = browser.get(acme.url("ledger/?model=nothing"))
    assert b'class="totals"' not in page.content
    assert "No call matches" in text_of(page)
    # All that matches is counted elsewhere.
    assert "Cost $0.00 no call counts" in text_of(browser.get(acme.url("ledger/?status=duplicate")))


def test_an_unpriced_call_says_why_and_offers_a_price(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        event = add_event(acme.project, model="house/model+1")
    answer = browser.get(acme.url(f"ledger/{event.id}/"))
    assert "Not priced: its cost is unknown, which is not zero. No price is known for this model." in text_of(answer)
    assert "prices/add/?provider=openai&amp;model=house%2Fmodel%2B1" in answer.content.decode()
    viewer = acme.join("vera", Membership.Role.VIEWER).browser()
    assert "prices/add/" not in viewer.get(acme.url(f"ledger/{event.id}/")).content.decode()


def test_history_names_what_changed_and_who(acme: Workspace, alice: Member, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        event = add_event(acme.project, model="no-such-model")
        [standing] = standings([event])
        price = Price(PriceStatus.PRICED, "", "override", None, [], Decimal("0.0125"), "USD")
        change = adjust(
            standing,
            price=price,
            meters=standing.meters,
            kind=Adjustment.Kind.REPRICE,
            reason="The contract of May",
            author_id=alice.user.id,
        )
        assert store([change]) == 1
    shown = text_of(browser.get(acme.url(f"ledger/{event.id}/")))
    for part in ("Reported", "Re-priced", "by Alice", "The contract of May", "+$0.0125"):
        assert part in shown, part
    assert "$0.0125" in text_of(browser.get(acme.url("ledger/")))


def test_reports_of_one_call_lead_to_each_other(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        counted = add_event(acme.project)
        left_out = add_event(acme.project, same_call_as=counted.event_id, source="openinference")
    of_one = browser.get(acme.url(f"ledger/{counted.id}/"))
    assert "Other reports of this call" in text_of(of_one)
    assert f"ledger/{left_out.id}/" in of_one.content.decode()
    of_other = browser.get(acme.url(f"ledger/{left_out.id}/"))
    assert "Counted elsewhere" in text_of(of_other)
    assert f"ledger/{counted.id}/" in of_other.content.decode()


def test_calls_of_a_deleted_project_stay(acme: Workspace, alice: Member, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        gone = create_project(name="Gone")
        event = add_event(gone)
        archive_project(project_id=gone.id, actor=alice.user)
        delete_project(project_id=gone.id, actor=alice.user)
    assert "Gone production, deleted" in text_of(browser.get(acme.url("ledger/")))
    assert browser.get(acme.url(f"ledger/{event.id}/")).status_code == 200


def test_another_organizations_calls_are_not_found(acme: Workspace, globex: Workspace, charlie: Member) -> None:
    with tenant_scope(acme.organization):
        event = add_event(acme.project)
    theirs = charlie.browser()
    assert theirs.get(acme.url(f"ledger/{event.id}/")).status_code == 404
    assert theirs.get(globex.url(f"ledger/{event.id}/")).status_code == 404
    assert rows_of(theirs.get(globex.url(f"ledger/?project={acme.project.id}"))) == []


# --- How complete it is ---


def completeness(answer: Any) -> Any:
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_what_is_missing_in_a_few_words(acme: Workspace, globex: Workspace, browser: Browser) -> None:
    url = acme.url("ledger/completeness")
    with tenant_scope(acme.organization):
        add_event(acme.project, sequence_source="web-1", sequence_number=1)
    complete = {"is_complete": True, "text": "Nothing seems to be missing"}
    assert completeness(browser.get(url)) == complete
    acme.add_provider_key("openai", "sk-acme")
    with tenant_scope(acme.organization):
        add_event(acme.project, sequence_source="web-1", sequence_number=4, model="gpt-4o")
        add_event(acme.project, sequence_source="web-1", sequence_number=9, at=timezone.now() - timedelta(days=40))
    with tenant_scope(globex.organization):
        add_event(globex.project, sequence_source="web-1", sequence_number=1)
        add_event(globex.project, sequence_source="web-1", sequence_number=11)
    # Whatever else the filter says: a report that never came has no model.
    missing = {"is_complete": False, "text": "At least 2 reports missing"}
    assert completeness(browser.get(url)) == completeness(browser.get(url, {"model": "gpt-4o"})) == missing
    assert completeness(browser.get(url, {"period": "all"}))["text"] == "At least 6 reports missing"
    assert completeness(browser.get(url, {"period": "yesterday"})) == complete
    with tenant_scope(acme.organization):
        ProviderKey.objects.update(last_used_at=timezone.now() - timedelta(hours=3))
        Client.objects.create(
            project=acme.project, name="night-shift", last_seen_at=timezone.now() - timedelta(hours=3)
        )
    text = "At least 2 reports missing, 1 key or client went silent"
    assert completeness(browser.get(url)) == {"is_complete": False, "text": text}


def test_the_completeness_of_a_filter_that_cannot_be_read(acme: Workspace, browser: Browser) -> None:
    answer = browser.get(acme.url("ledger/completeness"), {"from": "tomorrow"}, headers={"Accept": "application/json"})
    assert answer.status_code == 422
    assert "the ledger's page says why" in answer.json()["detail"]


def test_a_ledger_without_doubts_says_so_in_a_line(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        add_event(acme.project)
    shown = text_of(browser.get(acme.url("ledger/doubts/")))
    assert "Nothing seems to be missing" in shown
    assert "to know" not in shown


def test_what_may_be_missing_or_wrong_is_named(acme: Workspace, browser: Browser) -> None:
    key = acme.add_provider_key("openai", "sk-acme")
    quiet = acme.add_provider_key("mistral", "sk-acme")
    hours_ago = timezone.now() - timedelta(hours=3)
    with tenant_scope(acme.organization):
        ProviderKey.objects.filter(id__in=[key.id, quiet.id]).update(last_used_at=hours_ago)
        Client.objects.create(project=acme.project, name="night-shift", last_seen_at=hours_ago)
        counted = add_event(acme.project, provider_key_id=key.id, sequence_source="web-1", sequence_number=1)
        add_event(acme.project, provider_key_id=key.id, sequence_source="web-1", sequence_number=4)
        add_event(acme.project, at=timezone.now() - timedelta(hours=5))
        add_event(acme.project, same_call_as=counted.event_id)
        add_event(acme.project, flags=["clock_skew"])
    shown = text_of(browser.get(acme.url("ledger/doubts/")))
    for part in (
        "5 things to know",
        "The key for Mistral of production (production), fetched",
        "The client night-shift of production (production), fetched",
        "2 of web-1, production (production): numbers 2, 3",
        "1 call begins or ends in the future, or ends before it begins",
        "1 came more than an hour after its call began",
        "1 report left out because",
    ):
        assert part in shown, part
    assert "The key for OpenAI of" not in shown
    # Of a project that has none of it, none of it is told.
    with tenant_scope(acme.organization):
        other = create_project(name="Other")
        add_event(other)
    assert "Nothing seems to be missing" in text_of(browser.get(acme.url(f"ledger/doubts/?project={other.id}")))
    # Of a filter that can't be read, the ledger's page says why.
    assert browser.get(acme.url("ledger/doubts/?from=never"))["Location"] == acme.url("ledger/?from=never")
