"""The pages of sums: the ledger's numbers to the last digit, what narrows them, and the rows behind each point."""

import re
from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client as Browser
from django.utils import timezone

from apps.analytics import rollups
from apps.analytics.charts import COLOURS, colours
from apps.analytics.selectors import Dimension, Question, summed
from apps.ledger.models import Outbox
from apps.ledger.selectors import NO_KEY, EventFilter, Totals, totals
from apps.pricing.meters import Meter
from apps.projects.models import Project
from apps.projects.services import create_project
from tenancy import tenant_scope
from tests.analytics.scenery import add_calls
from tests.cast import Member, Workspace
from tests.ledger import facts
from tests.usage.events import add_event
from tests.usage.test_ledger import text_of

PAGES = ["usage/", "usage/performance/"]


@pytest.fixture
def browser(alice: Member) -> Browser:
    return alice.browser()


@pytest.fixture
def other(acme: Workspace) -> Project:
    """The organization's second project, after some weeks of calls of both, summed up."""
    now = timezone.now()
    with tenant_scope(acme.organization):
        other = create_project(name="Search")
        key = acme.add_provider_key("openai", "sk-1")
        add_calls([acme.project, other], until=now, days=45, scale=0.12)
        yesterday = (now - timedelta(days=1)).replace(hour=9, minute=40)
        hours = [yesterday + timedelta(hours=number) for number in range(8)]
        rows = [add_event(acme.project, at=at, provider_key_id=key.id) for at in hours]
        facts.reprice(rows[0], "0.123456789012")
        facts.make_duplicate(rows[1], rows[2].event_id)
        facts.detail(rows[3], input=7_777)
        Outbox.objects.create(events=[row.id for row in rows])
        rollups.recount(acme.organization.time_zone)
    return other


def shown(answer: Any) -> Any:
    assert answer.status_code == 200, text_of(answer)
    return answer.context["shown"]


def same(found: Totals, wanted: Totals) -> None:
    assert {name: value for name, value in found.costs.items() if value} == {
        name: value for name, value in wanted.costs.items() if value
    }
    for name in ("events", "calls", "failed", "unpriced", "duplicates", "tokens", "unpriced_tokens", "adjustments"):
        assert getattr(found, name) == getattr(wanted, name), name
    assert {meter: n for meter, n in found.meters.items() if n} == {meter: n for meter, n in wanted.meters.items() if n}


def ledger(browser: Browser, acme: Workspace, query: str) -> Totals:
    """What the ledger's page says of an address that a page of sums leads to."""
    answer = browser.get(acme.url(f"ledger/?{query}"))
    assert answer.status_code == 200, text_of(answer)
    found: Totals = answer.context["totals"]
    return found


@pytest.mark.parametrize(
    "query", ["", "period=7", "period=yesterday", "period=today", "period=month", "period=all", "period=90&of=tokens"]
)
def test_totals_are_the_ledgers(acme: Workspace, other: Project, browser: Browser, query: str) -> None:
    answer = browser.get(acme.url(f"usage/?{query}"))
    page = shown(answer)
    form = answer.context["form"]
    with tenant_scope(acme.organization):
        same(page.now.totals, totals(form.wanted()))
    same(page.now.totals, ledger(browser, acme, page.links["calls"]))
    same(page.today, ledger(browser, acme, page.links["today"]))
    same(page.month, ledger(browser, acme, page.links["month"]))
    assert page.now.errors == ledger(browser, acme, page.links["errors"]).calls
    assert page.now.totals.unpriced == ledger(browser, acme, page.links["unpriced"]).calls
    for chart in page.charts:
        whole = page.now.totals.costs[chart.unit] if chart.is_money else getattr(page.now.totals, chart.unit)
        assert sum(row.total for row in chart.rows) == whole
        for row in chart.rows:
            assert sum(cell.value or 0 for cell in row.cells) == row.total


@pytest.mark.parametrize(
    "query", ["period=30&by=model", "period=yesterday&by=client", "from=2020-01-01&by=provider&of=calls"]
)
def test_every_point_leads_to_its_rows(acme: Workspace, other: Project, browser: Browser, query: str) -> None:
    page = shown(browser.get(acme.url(f"usage/?{query}")))
    asked = 0
    for chart in page.charts:
        points = [(cell.query, cell.value) for row in chart.rows for cell in row.cells if cell.query]
        points += [(row.query, row.total) for row in chart.rows if row.query]
        assert points
        for query, value in points[:: max(1, len(points) // 8)]:
            found = ledger(browser, acme, query)
            assert (found.costs[chart.unit] if chart.is_money else found.calls) == value
            asked += 1
    assert asked >= 3


def test_lists_lead_to_their_rows_and_narrow_the_page(acme: Workspace, other: Project, browser: Browser) -> None:
    page = shown(browser.get(acme.url("usage/?period=90")))
    titles = [top.title for top in page.tops]
    assert titles == ["Projects", "Providers", "Models", "Clients", "Provider keys", "Operations"]
    for top in page.tops:
        assert not top.others
        assert sum(item.totals.calls for item in top.items) == page.now.totals.calls
        for item in top.items:
            same(item.totals, ledger(browser, acme, item.rows_query))
            same(item.totals, shown(browser.get(acme.url(f"usage/?{item.page_query}"))).now.totals)
    labels = {item.label for top in page.tops for item in top.items}
    # Calls that say nothing can be asked for, too.
    assert {"no client named", "no key named", "Search (production)"} <= labels


def test_filters_narrow_everything(acme: Workspace, other: Project, browser: Browser) -> None:
    answer = browser.get(acme.url(f"usage/?project={other.id}&provider=gemini&ending=ok"))
    page = shown(answer)
    assert answer.context["calls"].form.dimension is Dimension.MODEL
    with tenant_scope(acme.organization):
        same(page.now.totals, totals(answer.context["form"].wanted()))
    assert page.now.errors == 0
    assert [item.label for item in page.tops[0].items] == ["Search (production)"]
    same(page.month, ledger(browser, acme, page.links["month"]))


def test_what_is_compared(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        now = timezone.now()
        ages = [timedelta(minutes=1), timedelta(days=10), timedelta(days=11), timedelta(days=15)]
        rows = [add_event(acme.project, at=now - age) for age in ages]
        Outbox.objects.create(events=[row.id for row in rows])
        rollups.recount("UTC")
    page = shown(browser.get(acme.url("usage/?period=7")))
    assert (page.now.totals.calls, page.before.totals.calls) == (1, 2)
    assert [reason.why.volume for reason in page.reasons] == [-page.now.totals.costs["USD"]]
    assert shown(browser.get(acme.url("usage/?period=7&compare=no"))).before is None
    assert shown(browser.get(acme.url("usage/?period=all"))).before is None


def test_why_it_changed_is_exact(acme: Workspace, other: Project, browser: Browser) -> None:
    page = shown(browser.get(acme.url("usage/?period=7")))
    [reason] = page.reasons
    why = reason.why
    assert why.volume + why.mix + why.price == why.change
    assert reason.after == page.now.totals.costs["USD"]
    assert reason.before == page.before.totals.costs["USD"]
    assert "Why the cost changed" in text_of(browser.get(acme.url("usage/?period=7")))


def test_performance(acme: Workspace, other: Project, browser: Browser) -> None:
    answer = browser.get(acme.url("usage/performance/?period=30"))
    page = shown(answer)
    with tenant_scope(acme.organization):
        whole = totals(answer.context["form"].wanted())
        errors = summed(
            Question(answer.context["form"].wanted(), ZoneInfo("UTC"), by=(Dimension.STATUS, Dimension.ERROR))
        )
    assert page.whole.calls == whole.calls == sum(model.calls for model in page.models)
    assert page.whole.errors == sum(row.totals.calls for row in errors if row.key[0] == "error")
    assert page.whole.errors == sum(failure.calls for failure in page.failures) > 0
    for failure in page.failures:
        assert ledger(browser, acme, failure.rows_query).calls == failure.calls
    for model in page.models:
        assert ledger(browser, acme, model.rows_query).calls == model.calls
        half, most, nearly_all = model.quantiles["durations"]
        assert half <= most <= nearly_all
        half, most, nearly_all = model.quantiles["throughputs"]
        if half is not None:
            assert half >= most >= nearly_all
    assert [chart.unit for chart in page.charts] == ["durations", "first_tokens", "throughputs"]
    assert "within 2%" in text_of(answer)


def test_currencies_are_never_added(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        row = add_event(acme.project)
        facts.event(
            acme.project.id, occurred_at=row.occurred_at, currency="EUR", cost=Decimal("1.5"), price_status="priced"
        )
        Outbox.objects.create(events=[])
        rollups.recount("UTC")
    answer = browser.get(acme.url("usage/"))
    page = shown(answer)
    assert page.now.totals.costs == {"EUR": Decimal("1.5"), "USD": row.cost}
    assert [chart.unit for chart in page.charts] == ["EUR", "USD"]
    assert "€1.50" in text_of(answer)


def test_what_has_no_price_stands_beside_every_total(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        rows = [add_event(acme.project, {Meter.INPUT: 10}, model="no-such-model") for _ in range(3)]
        Outbox.objects.create(events=[row.id for row in rows])
        rollups.recount("UTC")
    text = text_of(browser.get(acme.url("usage/")))
    assert "3 calls unpriced, 100%" in text
    assert "30 in, 0 out, 100% unpriced" in text
    assert "No cost is known" in text
    assert "$0.00" not in text


def test_what_may_be_missing_is_asked_for_of_the_same_calls(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        add_event(acme.project)
        rollups.recount("UTC")
    for path in PAGES:
        page = browser.get(acme.url(f"{path}?period=7&model=gpt-4o-mini")).content.decode()
        [asked] = re.findall(r'data-completeness="([^"]*)"', page)
        answer = browser.get(unescape(asked))
        assert answer.json()["is_complete"]
        assert f'href="{asked.replace("/completeness", "/doubts/")}"' in page


def test_what_only_a_duplicate_names_is_not_listed(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        counted = add_event(acme.project, client_name="web")
        add_event(acme.project, client_name="echo", same_call_as=counted.event_id)
        rollups.recount("UTC")
    [clients] = [top for top in shown(browser.get(acme.url("usage/"))).tops if top.title == "Clients"]
    assert [item.label for item in clients.items] == ["web"]


def test_empty_states_teach(
    globex: Workspace, charlie: Member, acme: Workspace, browser: Browser, other: Project
) -> None:
    for path in PAGES:
        assert "ingest token" in text_of(charlie.browser().get(globex.url(path)))
        text = text_of(browser.get(acme.url(f"{path}?model=nothing")))
        assert "No call matches" in text


def test_sums_that_were_never_made_are_no_zeros(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        add_event(acme.project)
    for path in PAGES:
        assert "The sums are being made" in text_of(browser.get(acme.url(path)))


@pytest.mark.parametrize(
    "query", ["by=moon", "of=gold", "compare=x", "period=x", "ending=well", "model=a%00b", "key=1"]
)
@pytest.mark.parametrize("path", PAGES)
def test_what_cannot_be_meant_is_said(acme: Workspace, browser: Browser, path: str, query: str) -> None:
    answer = browser.get(acme.url(f"{path}?{query}"))
    assert answer.status_code == 422
    assert answer.context.get("shown") is None


def test_an_hour_and_calls_that_say_nothing_in_the_ledger(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        key = acme.add_provider_key("openai", "sk-1")
        at = timezone.now().replace(minute=30) - timedelta(days=3)
        named = add_event(acme.project, at=at, provider_key_id=key.id, client_name="web")
        nameless = add_event(acme.project, at=at + timedelta(minutes=29), ending="error", error_type="Timeout")
        add_event(acme.project, at=at + timedelta(minutes=31))
        assert totals(EventFilter(provider_key_id=NO_KEY)).calls == 2
    hour = f"hour={at:%Y-%m-%dT%H}:00Z"
    answer = browser.get(acme.url(f"ledger/?{hour}"))
    assert answer.context["totals"].calls == 2
    assert f"{at:%H}:00 to" in text_of(answer)
    for query in ("client=%22%22", "key=none", "ending=error", "error=Timeout"):
        rows = browser.get(acme.url(f"ledger/?{hour}&{query}")).context["page"].rows
        assert [row.event.id for row in rows] == [nameless.id], query
    rows = browser.get(acme.url(f"ledger/?{hour}&ending=ok")).context["page"].rows
    assert [row.event.id for row in rows] == [named.id]
    for wrong in ("hour=10", "hour=2026-05-01T10:00", "hour=9999-12-31T23:00Z"):
        assert browser.get(acme.url(f"ledger/?{wrong}")).status_code == 422


def test_colours_stay_with_their_series() -> None:
    everything = [f"model-{letter}" for letter in "abcdefgh"]
    all_of_them = colours(everything, everything)
    assert sorted(all_of_them.values()) == list(range(1, COLOURS + 1))
    assert colours(everything, everything[3:6]) == {name: all_of_them[name] for name in everything[3:6]}
    # More names than colours: no two that are shown together have the same.
    many = [f"m{number:02}" for number in range(30)]
    found = colours(many, ["m01", "m09", "m17", "m02"])
    assert found["m01"] == 2
    assert len(set(found.values())) == 4


def test_the_table_has_every_digit(acme: Workspace, other: Project, browser: Browser) -> None:
    answer = browser.get(acme.url("usage/?period=30&by=model"))
    html = unescape(answer.content.decode())
    [chart] = shown(answer).charts
    found = re.findall(r'data-value="([^"]+)"', html)
    values = [cell.value for row in chart.rows for cell in row.cells if cell.value is not None]
    assert [Decimal(text) for text in found if Decimal(text) in values][: len(values)]
    assert sum(Decimal(text) in values for text in found) >= len(values)
