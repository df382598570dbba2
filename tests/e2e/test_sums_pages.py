"""Usage in a browser: charts that are tables, a filter in the address, and from every point to the rows behind it."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.ground import Ground, Resident
from tests.e2e.organization_pages import make_scenery
from tests.e2e.people import People
from tests.e2e.usage_pages import sums

# How many colours a canvas has, which is one while nothing is drawn.
COLOURS = """(canvas) => {
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return new Set(new Uint32Array(data.buffer)).size;
}"""
HAS_COLOUR = """(canvas, colour) => {
    const wanted = colour.match(/\\d+/g).slice(0, 3).map(Number);
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
        if (wanted.every((channel, place) => data[at + place] === channel) && data[at + 3] === 255) return true;
    }
    return false;
}"""
COLOUR_OF = """(label) => {
    const item = [...document.querySelectorAll(".chart-legend li")].find((each) => each.innerText.trim() === label);
    return getComputedStyle(item.querySelector(".chart-key")).backgroundColor;
}"""


@pytest.fixture(scope="module")
def scenery(ground: Ground) -> dict[str, Any]:
    return make_scenery(ground)


def test_from_a_chart_to_the_rows_behind_it(people: People, scenery: dict[str, Any]) -> None:
    owner = people.signed_in("ada", Resident(**scenery["people"]["owner"]))
    page, base = owner.page, f"/o/{scenery['spending_id']}/"
    owner.visit(base)
    page.get_by_role("link", name="Usage", exact=True).click()
    page.get_by_label("Period").select_option("7")
    owner.press("Show")
    page.wait_for_url(re.compile(r"/usage/\?period=7$"))
    page.get_by_role("navigation", name="By what").get_by_role("link", name="Model").click()
    page.wait_for_url(re.compile(r"period=7&by=model$"))
    canvas = page.get_by_role("img", name=re.compile("as a chart"))
    expect(canvas).to_be_visible()
    assert canvas.evaluate(COLOURS) > 10

    # The table is there for who can't see the chart, and for everybody who wants it.
    table = page.get_by_role("table", name="Cost in USD over time")
    links = {link.get_attribute("href"): link.inner_text() for link in table.locator("td a").all()}
    days = {link.get_attribute("href"): link for link in table.locator("th[scope=row] a").all()}
    assert len(days) >= 4
    page.get_by_role("button", name="Show as table").click()
    expect(canvas).to_be_hidden()
    expect(table).to_be_in_viewport()
    page.get_by_role("button", name="Show as chart").click()

    box = canvas.bounding_box()
    assert box
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] * 0.8})
    page.wait_for_url("**/ledger/**")
    reached = page.url.removeprefix(page.url.partition("/o/")[0])
    [exact] = [amount.get_attribute("title") for amount in page.locator(".totals-cost .totals-amount").all()]
    page.go_back()
    if reached in links:
        assert links[reached] == exact
    else:
        row = table.get_by_role("row").filter(has=page.locator(f'th a[href="{reached}"]'))
        assert exact in row.inner_text().split("\t")


def test_colours_stay_and_names_narrow(people: People, scenery: dict[str, Any]) -> None:
    owner = people.signed_in("ada", Resident(**scenery["people"]["owner"]))
    page = owner.page
    owner.visit(f"/o/{scenery['spending_id']}/usage/?by=model&period=90")
    before = page.evaluate(COLOUR_OF, "claude-sonnet-4-5")
    page.locator("#top-projects ~ .table-frame").get_by_role("link", name="Research (production)").click()
    expect(page.get_by_label("Project", exact=True)).not_to_have_value("")
    expect(page.locator(".chart-legend li").filter(has_text="claude-sonnet-4-5")).to_be_visible()
    assert page.evaluate(COLOUR_OF, "claude-sonnet-4-5") == before
    assert page.evaluate(COLOUR_OF, "gpt-5-2025-08-07") != before
    # What is drawn follows the theme.
    canvas = page.get_by_role("img", name=re.compile("as a chart"))
    assert canvas.evaluate(HAS_COLOUR, before)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(COLOUR_OF, "claude-sonnet-4-5")
    assert dark != before
    assert canvas.evaluate(HAS_COLOUR, dark)
    assert not canvas.evaluate(HAS_COLOUR, before)
    page.emulate_media(color_scheme="light")
    page.get_by_role("link", name="Performance").click()
    expect(page.get_by_label("Project", exact=True)).not_to_have_value("")
    expect(page.get_by_role("img", name=re.compile("Duration over time, as a chart"))).to_be_visible()
    errors = page.get_by_role("table", name="Errors by type").locator("tbody tr a").first
    number = errors.inner_text()
    errors.click()
    page.wait_for_url("**/ledger/**")
    expect(page.locator(".totals > div").filter(has_text="Calls").locator(".totals-amount")).to_have_text(number)


def test_how_complete_it_is_comes_after_the_page(people: People, scenery: dict[str, Any]) -> None:
    owner = people.signed_in("ada", Resident(**scenery["people"]["owner"]))
    page, base = owner.page, f"/o/{scenery['spending_id']}/"
    link = page.locator("[data-completeness]").get_by_role("link")
    for path in ("usage/?period=90", "usage/performance/?period=90"):
        owner.visit(base + path)
        expect(link).to_have_text(re.compile(r"At least \d+ reports? missing"))
    owner.visit(f"{base}usage/?client=research&period=today")
    expect(link).to_have_text("Nothing seems to be missing")
    # Without an answer it still leads to where it is said.
    page.route("**/ledger/completeness?*", lambda route: route.fulfill(status=429, json={"detail": "Too many."}))
    owner.visit(f"{base}usage/?period=90")
    expect(link).to_have_text("How complete it is")
    link.click()
    page.wait_for_url("**/ledger/doubts/?period=90")
    expect(page.get_by_role("heading", level=2)).to_have_text(re.compile(r"\d things? to know"))


def test_axe_finds_nothing_serious(people: People, scenery: dict[str, Any], axe: Callable[[Page], None]) -> None:
    faults = {}
    for person, name in sums(people, scenery):
        try:
            axe(person.page)
        except AssertionError as error:
            faults[name] = str(error)
    assert not faults, "\n".join(faults.values())
