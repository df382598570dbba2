"""Saved views and sessions in a browser: by mouse, by keyboard and on a phone, and what leads where."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import PHONE
from tests.e2e.ground import Ground, Resident
from tests.e2e.organization_pages import make_scenery
from tests.e2e.people import People
from tests.e2e.usage_pages import usage


@pytest.fixture(scope="module")
def scenery(ground: Ground) -> dict[str, Any]:
    return make_scenery(ground)


def test_a_view_is_saved_opened_updated_and_deleted(
    people: People, scenery: dict[str, Any], axe: Callable[[Page], None]
) -> None:
    owner = people.signed_in("ada", Resident(**scenery["people"]["owner"]))
    page, base = owner.page, f"/o/{scenery['organization_id']}/"
    menu, panel = page.locator(".views-menu > summary"), page.locator(".views-menu > .menu-panel")
    owner.visit(f"{base}ledger/?period=month&provider=openai")
    page.get_by_role("link", name="Save this as a view").last.click()
    expect(page.locator(".chosen")).to_contain_text("This month")
    owner.fill(name="OpenAI, this month")
    owner.press("Save the view")
    owner.is_told("The view OpenAI, this month is saved.")
    expect(menu).to_contain_text("OpenAI, this month")
    expect(page.get_by_text("changed", exact=True)).to_have_count(0)

    # Something else is chosen: the view is still the one that it began with.
    page.get_by_label("Status").select_option("failed")
    owner.press("Show")
    page.wait_for_url(re.compile("status=failed"))
    expect(page.get_by_text("changed", exact=True)).to_be_visible()
    axe(page)
    owner.press("Update the view")
    owner.is_told("The view OpenAI, this month shows this now.")
    expect(page.get_by_text("changed", exact=True)).to_have_count(0)

    # By keyboard, from another page.
    owner.visit(f"{base}usage/")
    menu.focus()
    page.keyboard.press("Enter")
    link = panel.get_by_role("link", name=re.compile("OpenAI, this month"))
    expect(link).to_be_visible()
    axe(page)
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/ledger/"))
    expect(page.get_by_label("Status")).to_have_value("failed")
    expect(page.get_by_label("Period")).to_have_value("month")
    menu.click()
    expect(panel.locator("[aria-current=true]")).to_contain_text("OpenAI, this month")
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()

    # On a phone the menu is within the page.
    page.set_viewport_size({"width": PHONE, "height": 844})
    menu.click()
    box = panel.bounding_box()
    assert box
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE
    page.keyboard.press("Escape")

    page.get_by_role("link", name="Rename, share or delete").click()
    owner.fill(name="OpenAI, failed this month")
    page.get_by_label("Everybody in the organization").check()
    owner.press("Save the changes")
    expect(menu).to_contain_text("OpenAI, failed this month")
    page.get_by_role("link", name="Rename, share or delete").click()
    owner.press("Delete the view")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("It is gone for everybody in")
    dialog.get_by_role("button", name="Cancel").click()
    owner.press("Delete the view")
    dialog.get_by_role("button", name="Delete", exact=True).click()
    owner.is_told("The view OpenAI, failed this month is deleted.")
    # What it showed stays.
    expect(page.get_by_label("Status")).to_have_value("failed")
    expect(menu).to_contain_text("Saved views")


def test_from_a_session_to_its_calls_and_back(people: People, scenery: dict[str, Any]) -> None:
    owner = people.signed_in("ada", Resident(**scenery["people"]["owner"]))
    page, base, run = owner.page, f"/o/{scenery['organization_id']}/", scenery["usage"]["run"]
    owner.visit(f"{base}usage/")
    page.get_by_role("navigation", name="Usage").get_by_role("link", name="Sessions").click()
    row = page.get_by_role("row").filter(has_text=run)
    calls = row.locator("[data-label=Calls] > a").inner_text()
    row.get_by_role("link", name=run).click()
    owner.sees(run)
    amount = page.locator(".totals > div").filter(has_text="Calls").locator(".totals-amount")
    expect(amount).to_have_text(calls)
    bars, rows = (
        page.locator(".timeline-bar"),
        page.get_by_role("table", name="Calls of the session").locator("tbody tr"),
    )
    expect(bars).to_have_count(int(calls))
    expect(rows).to_have_count(int(calls))
    # Drawn in the colours of the legend, those that failed hollow.
    key = page.locator(".chart-key.series-1, .chart-key.series-2, .chart-key.series-3, .chart-key.series-4").first
    place = (key.get_attribute("class") or "").rpartition("series-")[2]
    colour = key.evaluate("(key) => getComputedStyle(key).backgroundColor")
    assert (
        bars.and_(page.locator(f".series-{place}:not(.timeline-error)")).first.evaluate(
            "(bar) => getComputedStyle(bar).fill"
        )
        == colour
    )
    expect(page.locator(".timeline-error")).to_have_count(1)

    # Copied as a spreadsheet takes it: a line a call, notes beside what they are of.
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy the table").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert lines[0].split("\t")[:3] == ["When", "Model", "Client"]
    assert len(lines) == 1 + int(calls)
    assert lines[1].split("\t")[1:4] == ["gpt-5-2025-08-07, OpenAI", "research", "12,600"]

    bars.first.click()
    page.wait_for_url(re.compile("/ledger/[0-9a-f-]{36}/"))
    page.get_by_role("link", name=run).click()
    page.wait_for_url(re.compile(re.escape(quote(run, safe=""))))
    page.get_by_role("link", name="All its calls in the ledger").click()
    expect(amount).to_have_text(calls)
    expect(page.get_by_label("Session", exact=True)).to_have_value(run)


def test_axe_finds_nothing_serious(people: People, scenery: dict[str, Any], axe: Callable[[Page], None]) -> None:
    faults = {}
    for person, name in usage(people, scenery):
        if name.startswith(("session", "view")):
            try:
                axe(person.page)
            except AssertionError as error:
                faults[name] = str(error)
    assert not faults, "\n".join(faults.values())
