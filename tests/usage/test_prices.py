"""Pages of prices: own ones, discounts, what has none, the lists, and re-pricing the past."""

import re
import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone

from apps.audit.models import Entry
from apps.ledger import repricing as engine
from apps.ledger.models import Adjustment, Repricing, UsageEvent
from apps.ledger.selectors import EventFilter, totals
from apps.ledger.tasks import price_unpriced_of_organization
from apps.organizations.models import Membership
from apps.pricing.meters import Meter
from apps.pricing.selectors import discounts, forget_terms, overrides
from apps.usage import price_selectors
from apps.usage.price_selectors import LOOKED_AT, count_unpriced, first_unpriced, unpriced
from tenancy import tenant_scope
from tests.cast import Member, Workspace
from tests.ledger import facts
from tests.usage.events import add_event
from tests.usage.test_ledger import text_of


@pytest.fixture
def browser(alice: Member) -> Browser:
    return alice.browser()


@pytest.fixture(autouse=True)
def fresh_terms() -> Any:
    """What one test agreed on is not another's."""
    forget_terms()
    yield
    forget_terms()


def today() -> str:
    return timezone.now().date().isoformat()


def price(**changes: str) -> dict[str, str]:
    sent = {"provider": "openai", "model": "house-model", "from": today(), "note": "Order 4711"}
    return {**sent, "price_input": "2.5", "price_output": "10", **changes}


def work(repricing: Repricing) -> Repricing:
    """What the worker does."""
    engine.work_out(repricing)
    while engine.step(repricing.id):
        pass
    repricing.refresh_from_db()
    return repricing


# --- Own prices and discounts ---


def test_a_price_is_set_changed_and_ended(acme: Workspace, alice: Member, browser: Browser) -> None:
    url = acme.url("prices/")
    assert "List prices for everything" in text_of(browser.get(url))
    assert browser.post(f"{url}add/", price()).status_code == 302
    rows = {row.meter: row for row in overrides(acme.organization.id)}
    assert {meter: row.unit_price for meter, row in rows.items()} == {"input": Decimal("2.5"), "output": Decimal(10)}
    assert {row.per for row in rows.values()} == {1_000_000}
    shown = text_of(browser.get(url))
    for part in ("house-model OpenAI", "Input tokens: $2.50 per 1M tokens", "Order 4711 by Alice"):
        assert part in shown, part
    assert browser.post(f"{url}add/", price(price_input="3", price_output="", note="Order 4712")).status_code == 302
    shown = text_of(browser.get(url))
    assert "Input tokens: $3.00" in shown
    assert browser.post(f"{url}end", {"provider": "openai", "model": "house-model"}).status_code == 302
    shown = text_of(browser.get(url))
    assert "List prices for everything" in shown
    # Again there is nothing to end, and that is said.
    answer = browser.post(f"{url}end", {"provider": "openai", "model": "house-model"}, follow=True)
    assert "There is no own price for this model to end." in text_of(answer)
    with tenant_scope(acme.organization):
        entries = Entry.objects.filter(action__startswith="price.").order_by("id")
        assert [(entry.action, entry.subject, entry.actor_id) for entry in entries] == [
            ("price.set", "openai house-model", alice.user.id),
            ("price.set", "openai house-model", alice.user.id),
            ("price.ended", "openai house-model", alice.user.id),
        ]
    assert "set an own price for openai house-model : Order 4711" in text_of(browser.get(acme.url("activity/")))


def test_other_meters_have_their_own_units(acme: Workspace, browser: Browser) -> None:
    sent = price(
        provider="vllm", model="*", price_input="", price_output="", price_duration="2.85", price_request="0.1"
    )
    assert browser.post(acme.url("prices/add/"), sent).status_code == 302
    rows = {row.meter: row.per for row in overrides(acme.organization.id)}
    assert rows == {"duration": 3_600_000, "request": 1_000}
    shown = text_of(browser.get(acme.url("prices/")))
    assert "all models vLLM" in shown
    assert "Duration: $2.85 per hour" in shown
    assert browser.post(acme.url("prices/end"), {"provider": "vllm", "model": ""}).status_code == 302
    assert "Ended (1)" in text_of(browser.get(acme.url("prices/"))) or not overrides(acme.organization.id)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"provider": ""}, "provider"),
        ({"model": ""}, "model"),
        ({"note": ""}, "note"),
        ({"from": ""}, "from"),
        ({"from": "2026-13-01"}, "from"),
        ({"from": "1999-01-01"}, "from"),
        ({"to": "2001-01-01"}, "to"),
        ({"price_input": "-1"}, "price_input"),
        ({"price_input": "a lot"}, "price_input"),
        ({"price_input": "NaN"}, "price_input"),
        ({"price_input": "0.00000000001"}, "price_input"),
        ({"price_input": "", "price_output": ""}, "price_input"),
    ],
)
def test_prices_that_are_none_are_refused(
    acme: Workspace, browser: Browser, changes: dict[str, str], field: str
) -> None:
    answer = browser.post(acme.url("prices/add/"), price(**changes))
    assert answer.status_code == 422
    assert re.search(rf'<(input|select)[^>]*name="{field}"[^>]*aria-invalid="true"', answer.content.decode())
    assert not overrides(acme.organization.id).exists()


def test_a_price_of_nothing_is_a_price(acme: Workspace, browser: Browser) -> None:
    assert browser.post(acme.url("prices/add/"), price(price_input="0", price_output="0")).status_code == 302
    with tenant_scope(acme.organization):
        assert add_event(acme.project, model="house-model", at=timezone.now()).cost == 0


def test_a_discount_is_set_and_ended(acme: Workspace, browser: Browser) -> None:
    url = acme.url("prices/discounts/")
    sent = {"provider": "openai", "model": "", "percent": "12.5", "from": today(), "note": "Committed spend"}
    assert browser.post(f"{url}add/", sent).status_code == 302
    [made] = discounts(acme.organization.id)
    assert (made.provider, made.model, made.multiplier) == ("openai", "", Decimal("0.875"))
    assert "all models OpenAI 12.5% off" in text_of(browser.get(acme.url("prices/")))
    with tenant_scope(acme.organization):
        event = add_event(acme.project, at=timezone.now())
    shown = text_of(browser.get(acme.url(f"ledger/{event.id}/")))
    assert "× 0.875 by your discount for all models of OpenAI, from " in shown
    assert ": Committed spend" in shown
    assert "12.5% comes off these" in text_of(browser.get(acme.url("prices/list/?provider=openai&model=gpt-4o-mini")))
    assert browser.post(f"{url}end", {"provider": "openai", "model": ""}).status_code == 302
    assert "No discount on list prices" in text_of(browser.get(acme.url("prices/")))
    surcharge = {**sent, "percent": "-10"}
    assert browser.post(f"{url}add/", surcharge).status_code == 302
    assert "10% surcharge" in text_of(browser.get(acme.url("prices/")))


@pytest.mark.parametrize("changes", [{"percent": "100"}, {"percent": "-901"}, {"percent": ""}, {"note": ""}])
def test_discounts_that_are_none_are_refused(acme: Workspace, browser: Browser, changes: dict[str, str]) -> None:
    sent = {"provider": "openai", "model": "", "percent": "10", "from": today(), "note": "Why", **changes}
    assert browser.post(acme.url("prices/discounts/add/"), sent).status_code == 422
    assert not discounts(acme.organization.id).exists()


def withdrawals(page: Any) -> list[dict[str, str]]:
    """What the buttons of the page would send."""
    forms = re.findall(r'action="[^"]*withdraw"(.*?)</form>', page.content.decode(), re.DOTALL)
    return [dict(re.findall(r'name="(provider|model|start)" value="([^"]*)"', form)) for form in forms]


@pytest.mark.parametrize("is_ended", [False, True])
def test_a_price_is_withdrawn_from_its_start_and_its_calls_are_priced_again(
    acme: Workspace, browser: Browser, is_ended: bool
) -> None:
    url = acme.url("prices/")
    browser.post(f"{url}add/", price(model="gpt-4o-mini", **{"from": "2026-01-01"}))
    with tenant_scope(acme.organization):
        event = add_event(acme.project, at=timezone.now() - timedelta(days=3))
        assert event.cost == Decimal("0.006")
    if is_ended:
        browser.post(f"{url}end", {"provider": "openai", "model": "gpt-4o-mini"})
    [sent] = withdrawals(browser.get(url))
    assert sent == {"provider": "openai", "model": "gpt-4o-mini", "start": "2026-01-01T00:00:00+00:00"}
    answer = browser.post(f"{url}withdraw", sent)
    assert answer.status_code == 302
    form = browser.get(answer["Location"])
    assert "It holds at no time now" in text_of(form)
    for part in ('value="gpt-4o-mini"', 'value="2026-01-01"', 'value="Withdrawn: Order 4711"'):
        assert part in form.content.decode(), part
    assert "List prices for everything" in text_of(browser.get(url))
    forget_terms()
    with tenant_scope(acme.organization):
        repricing = engine.preview(EventFilter(model="gpt-4o-mini"), reason="Withdrawn", author_id=None)
        work(engine.start(repricing))
        # 1,200 at 0.15 and 300 at 0.6 a million.
        assert totals(EventFilter()).costs == {"USD": Decimal("0.00036")}
    # Again there is nothing to withdraw, and that is said.
    answer = browser.post(f"{url}withdraw", sent, follow=True)
    assert "It is not there any more" in text_of(answer)
    assert "withdrew the own price for openai gpt-4o-mini from 2026-01-01 on" in text_of(
        browser.get(acme.url("activity/"))
    )


def test_a_discount_is_withdrawn_and_what_is_to_come_can_only_be_ended(acme: Workspace, browser: Browser) -> None:
    url = acme.url("prices/")
    sent = {"provider": "openai", "model": "", "percent": "50", "from": "2026-01-01", "note": "Committed spend"}
    browser.post(f"{url}discounts/add/", sent)
    tomorrow = (timezone.now() + timedelta(days=2)).date().isoformat()
    browser.post(f"{url}discounts/add/", {**sent, "percent": "60", "from": tomorrow})
    [begun] = withdrawals(browser.get(url))
    answer = browser.post(f"{url}discounts/withdraw", begun)
    assert answer.status_code == 302
    assert f"to={timezone.now().date() + timedelta(days=1)}" in answer["Location"]
    assert [row.multiplier for row in discounts(acme.organization.id)] == [Decimal("0.4")]
    assert withdrawals(browser.get(url)) == []
    viewer = acme.join("vera", Membership.Role.VIEWER).browser()
    assert viewer.post(f"{url}discounts/withdraw", begun).status_code == 403


def test_prices_of_another_organization_are_not_shown(acme: Workspace, globex: Workspace, browser: Browser) -> None:
    browser.post(acme.url("prices/add/"), price())
    theirs = globex.owner.browser()
    assert "house-model" not in text_of(theirs.get(globex.url("prices/")))
    theirs.post(globex.url("prices/end"), {"provider": "openai", "model": "house-model"})
    assert "house-model" in text_of(browser.get(acme.url("prices/")))


def test_who_may_not_change_prices_sees_them(acme: Workspace, browser: Browser) -> None:
    browser.post(acme.url("prices/add/"), price())
    viewer = acme.join("vera", Membership.Role.VIEWER).browser()
    page = viewer.get(acme.url("prices/"))
    assert "house-model" in text_of(page)
    assert b"prices/add/" not in page.content
    assert b"prices/end" not in page.content
    for path in ("", "unpriced/", "list/?provider=openai&model=house", "repricing/"):
        page = viewer.get(acme.url(f"prices/{path}"))
        assert page.status_code == 200
        assert b"prices/add/" not in page.content
        assert b"repricing/new/" not in page.content


# --- What has no price, and the lists ---


def test_the_queue_names_models_without_a_price(acme: Workspace, browser: Browser) -> None:
    assert "Every call has a price" in text_of(browser.get(acme.url("prices/unpriced/")))
    with tenant_scope(acme.organization):
        first = add_event(acme.project, model="house-model", at=timezone.now() - timedelta(days=9))
        last = add_event(acme.project, model="house-model")
        add_event(acme.project)
        add_event(acme.project, {}, model="gpt-4o-mini")
        [house, silent] = unpriced()
    assert (house.model, house.calls, house.tokens, house.reasons) == ("house-model", 2, 3_000, ["unknown_model"])
    assert (house.first_seen, house.last_seen) == (first.occurred_at, last.occurred_at)
    assert (silent.model, silent.reasons, silent.can_be_priced) == ("gpt-4o-mini", ["missing_usage"], False)
    page = browser.get(acme.url("prices/unpriced/"))
    assert "house-model OpenAI 2 3.00k" in text_of(page)
    assert page.content.count(b"prices/add/") == 1
    # The form begins with the first call that waits.
    form = browser.get(acme.url("prices/add/?provider=openai&model=house-model")).content.decode()
    assert f'value="{first.occurred_at.date()}"' in form


def test_the_queue_follows_adjustments(acme: Workspace, alice: Member, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        add_event(acme.project, model="house-model")
        assert len(unpriced()) == 1
    browser.post(acme.url("prices/add/"), price(**{"from": "2026-01-01"}))
    with tenant_scope(acme.organization):
        done = engine.preview(EventFilter(), reason="A price", author_id=alice.user.id)
        engine.start(done)
        work(done)
        assert unpriced() == []
        engine.reverse(done, reason="Not that one", author_id=alice.user.id)
        work(done)
        [house] = unpriced()
        assert (house.calls, house.tokens) == (1, 1_500)


def test_the_number_beside_the_tab_follows_calls_at_either_end(
    acme: Workspace, alice: Member, browser: Browser
) -> None:
    now = timezone.now()
    with tenant_scope(acme.organization):
        assert (count_unpriced(), first_unpriced("openai", "house-model")) == (0, None)
        add_event(acme.project)
        for model in ("house-model", "barn-model"):
            for age in range(2 * LOOKED_AT, 0, -1):
                add_event(acme.project, model=model, at=now - timedelta(days=age))
        assert count_unpriced() == 2
        assert first_unpriced("openai", "house-model") == now - timedelta(days=2 * LOOKED_AT)
    # One of the two gets a price for all but its first days, then for all.
    for start, waiting in [(now - timedelta(days=LOOKED_AT), 2), (now - timedelta(days=99), 1)]:
        browser.post(acme.url("prices/add/"), price(**{"from": start.date().isoformat()}))
        with tenant_scope(acme.organization):
            done = engine.preview(EventFilter(), reason="A price", author_id=alice.user.id)
            engine.start(done)
            work(done)
            assert count_unpriced() == len(unpriced()) == waiting
    assert f"Without a price {waiting}" in text_of(browser.get(acme.url("prices/")))


def test_a_call_that_is_unpriced_since_is_in_the_number(acme: Workspace) -> None:
    with tenant_scope(acme.organization):
        # It came in as another row's duplicate, and turned out to be none.
        facts.detail(add_event(acme.project, model="house-model", same_call_as=uuid.uuid4()), input=5)
        assert count_unpriced() == len(unpriced()) == 1


def test_only_their_own_page_reads_all_calls_without_a_price(
    acme: Workspace, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tenant_scope(acme.organization):
        add_event(acme.project, model="house-model")
    asked: list[str] = []

    def noted(name: str, real: Any) -> Any:
        def ask() -> Any:
            asked.append(name)
            return real()

        return ask

    for name in ("unpriced", "count_unpriced"):
        monkeypatch.setattr(price_selectors, name, noted(name, getattr(price_selectors, name)))

    def asks(path: str) -> list[str]:
        asked.clear()
        assert browser.get(acme.url(f"prices/{path}")).status_code == 200
        return list(asked)

    assert asks("unpriced/") == ["unpriced"]
    for path in ("", "list/", "repricing/"):
        assert asks(path) == ["count_unpriced"]
    # Pages without the tabs need no number.
    for path in ("add/?provider=openai&model=house-model", "discounts/add/", "repricing/new/"):
        assert asks(path) == []


def test_a_list_price_is_looked_up(acme: Workspace, browser: Browser) -> None:
    url = acme.url("prices/list/")
    assert "Look up a list price" in text_of(browser.get(url))
    shown = text_of(browser.get(f"{url}?provider=azure&model=gpt-4o-mini"))
    assert "Input tokens $" in shown
    shown = text_of(browser.get(f"{url}?provider=openai&model=gpt-4o-mini"))
    assert "gpt-4o-mini of OpenAI From the list of genai-prices" in shown
    assert "Input tokens $0.15 per 1M tokens every call" in shown
    missed = browser.get(f"{url}?provider=openai&model=house-model")
    assert "No list has it No price is known for this model." in text_of(missed)
    assert b"prices/add/?provider=openai&amp;model=house-model" in missed.content
    assert "Served by your own machines" in text_of(browser.get(f"{url}?provider=ollama&model=llama3"))
    assert browser.get(f"{url}?provider=openai").status_code == 422
    browser.post(acme.url("prices/add/"), price(model="gpt-4o-mini"))
    assert "You have an own price for it" in text_of(browser.get(f"{url}?provider=openai&model=gpt-4o-mini"))


# --- Re-pricing ---


def test_a_price_of_past_days_leads_to_repricing(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        add_event(acme.project, model="house-model", at=timezone.now() - timedelta(days=3))
    answer = browser.post(acme.url("prices/add/"), price(**{"from": "2026-01-01"}))
    assert answer.status_code == 302
    form = browser.get(answer["Location"])
    assert "The price holds for days that are over" in text_of(form)
    for part in ('value="house-model"', 'value="2026-01-01"', 'value="Order 4711"'):
        assert part in form.content.decode(), part


def test_a_repricing_from_the_form_to_its_reversal(acme: Workspace, alice: Member, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        event = add_event(acme.project, model="house-model", at=timezone.now() - timedelta(days=3))
        other = add_event(acme.project)
        before = totals(EventFilter())
    browser.post(acme.url("prices/add/"), price(**{"from": "2026-01-01"}))
    url = acme.url("prices/repricing/")
    sent = {"provider": "openai", "model": "house-model", "period": "all", "reason": "Order 4711"}
    made = browser.post(f"{url}new/", sent)
    assert made.status_code == 302
    page, state = made["Location"], f"{made['Location']}state"
    assert browser.get(state).json() == {"status": "previewing", "changed": 0}
    assert "Working out what would change" in text_of(browser.get(page))
    # Before the preview is there it can't be carried out.
    assert "its preview is not there yet" in text_of(browser.post(f"{page}apply", follow=True))
    with tenant_scope(acme.organization):
        repricing = work(Repricing.objects.get())
    shown = text_of(browser.get(page))
    # 1,200 at 2.5 and 300 at 10 a million.
    for part in (
        "What would change",
        "Model house-model",
        "production (production)",
        f"production (production) {event.occurred_at:%b %Y} 1 1 1 → 0",
        "+$0.006",
        "Re-price 1 call",
    ):
        assert part in shown, part
    with tenant_scope(acme.organization):
        assert not Adjustment.objects.exists()

    assert browser.post(f"{page}apply").status_code == 302
    assert browser.get(state).json()["status"] == "running"
    assert "Re-pricing 1 call" in text_of(browser.get(page))
    with tenant_scope(acme.organization):
        work(repricing)
        after = totals(EventFilter())
        assert after.costs["USD"] - before.costs["USD"] == Decimal("0.006")
        assert after.unpriced == 0
    assert "1 call changed" in text_of(browser.get(page))
    explained = text_of(browser.get(acme.url(f"ledger/{event.id}/")))
    assert "Re-priced" in explained
    assert "Your organization’s own price for house-model." in explained
    assert "$0.006" in text_of(browser.get(acme.url("ledger/?model=house-model")))
    assert "Order 4711 by Alice" in text_of(browser.get(url))

    refused = browser.post(f"{page}reverse", {"reason": " "}, follow=True)
    assert "Say why" in text_of(refused)
    assert browser.post(f"{page}reverse", {"reason": "Another order"}).status_code == 302
    with tenant_scope(acme.organization):
        work(repricing)
        assert totals(EventFilter()).costs == before.costs
        actions = Entry.objects.filter(action__startswith="repricing.").order_by("id")
        assert [(entry.action, entry.detail["reason"]) for entry in actions] == [
            ("repricing.started", "Order 4711"),
            ("repricing.reversed", "Another order"),
        ]
        assert not Adjustment.objects.filter(event=other).exists()
    assert "Taken back By Alice: Another order" in text_of(browser.get(page))
    assert "was taken back already" in text_of(browser.post(f"{page}reverse", {"reason": "Again"}, follow=True))


def test_what_the_platform_priced_by_itself_is_shown_and_taken_back(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        add_event(acme.project, model="house-model", at=timezone.now() - timedelta(days=3))
    browser.post(acme.url("prices/add/"), price(**{"from": "2026-01-01"}))
    with tenant_scope(acme.organization):
        forget_terms()
        price_unpriced_of_organization(organization_id=str(acme.organization.id))
        made = Repricing.objects.get()
    url = acme.url("prices/repricing/")
    shown = text_of(browser.get(url))
    assert "There is a price for it now. by any-llm platform" in shown
    assert "+$0.006" in shown
    page = f"{url}{made.id}/"
    shown = text_of(browser.get(page))
    for part in ("What it changed", "1 call changed", "1 → 0", "+$0.006", "Take it back"):
        assert part in shown, part
    assert browser.post(f"{page}reverse", {"reason": "A typing error"}).status_code == 302
    with tenant_scope(acme.organization):
        work(made)
        assert totals(EventFilter()).unpriced == 1
    assert "Taken back By Alice: A typing error" in text_of(browser.get(page))


def test_a_preview_that_changes_nothing_offers_nothing(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        add_event(acme.project)
    made = browser.post(acme.url("prices/repricing/new/"), {"period": "all", "reason": "Looking"})
    with tenant_scope(acme.organization):
        work(Repricing.objects.get())
    page = browser.get(made["Location"])
    assert "Nothing would change" in text_of(page)
    assert b"/apply" not in page.content


def test_prices_that_changed_since_the_preview(acme: Workspace, browser: Browser) -> None:
    with tenant_scope(acme.organization):
        add_event(acme.project, model="house-model")
    browser.post(acme.url("prices/add/"), price(**{"from": "2026-01-01"}))
    made = browser.post(acme.url("prices/repricing/new/"), {"period": "all", "reason": "Order 4711"})
    with tenant_scope(acme.organization):
        work(Repricing.objects.get())
    browser.post(acme.url("prices/add/"), price(**{"from": "2026-02-01"}))
    assert "Prices have changed since this preview was made" in text_of(
        browser.post(f"{made['Location']}apply", follow=True)
    )
    with tenant_scope(acme.organization):
        assert not Adjustment.objects.exists()


@pytest.mark.parametrize("changes", [{"reason": ""}, {"reason": "x" * 501}, {"status": "sold"}, {"project": "1"}])
def test_repricings_that_are_none_are_refused(acme: Workspace, browser: Browser, changes: dict[str, str]) -> None:
    answer = browser.post(acme.url("prices/repricing/new/"), {"period": "all", "reason": "Why", **changes})
    assert answer.status_code == 422
    with tenant_scope(acme.organization):
        assert not Repricing.objects.exists()


def test_the_filter_can_be_changed_after_a_preview(acme: Workspace, browser: Browser) -> None:
    sent = {
        "project": str(acme.project.id),
        "period": "custom",
        "from": "2026-03-01",
        "to": "2026-03-31",
        "status": "unpriced",
        "client": "batch",
        "reason": "Order 4711",
    }
    made = browser.post(acme.url("prices/repricing/new/"), sent)
    with tenant_scope(acme.organization):
        work(Repricing.objects.get())
    page = browser.get(made["Location"])
    shown = text_of(page)
    for part in ("From 1 March 2026", "To 31 March 2026", "Status Unpriced", "Client batch"):
        assert part in shown, part
    [link] = re.findall(r'href="([^"]*repricing/new/\?[^"]*)"', page.content.decode())
    form = browser.get(link.replace("&amp;", "&")).content.decode()
    for name in ("from", "to", "client", "reason"):
        assert f'value="{sent[name]}"' in form, name


def test_one_query_answers_the_queue_whatever_its_size(acme: Workspace) -> None:
    with tenant_scope(acme.organization):
        for number in range(12):
            add_event(acme.project, model=f"house-{number % 3}", meters={Meter.INPUT: 1, Meter.OUTPUT: 1})
        before = len(connection.queries_log)
        assert [each.calls for each in unpriced()] == [4, 4, 4]
        assert len(connection.queries_log) - before <= 1
        assert UsageEvent.objects.count() == 12
