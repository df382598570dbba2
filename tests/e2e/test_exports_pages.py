"""Exports in a browser: the calls that one looks at as a file, which adds up to what the page says; a large one made by
a worker, with its sum and its hash."""

import csv
import hashlib
import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.ground import Ground, Resident
from tests.e2e.organization_pages import make_scenery
from tests.e2e.people import People, Person
from tests.e2e.usage_pages import exports


@pytest.fixture(scope="module")
def scenery(ground: Ground) -> dict[str, Any]:
    return make_scenery(ground)


@pytest.fixture
def owner(people: People, scenery: dict[str, Any]) -> Person:
    return people.signed_in("ada", Resident(**scenery["people"]["owner"]))


def downloaded(page: Page, button: Locator) -> tuple[str, Path]:
    """Its name, and where it is."""
    with page.expect_download() as download:
        button.click()
    return download.value.suggested_filename, download.value.path()


def exact(amount: str | None) -> Decimal:
    assert amount
    return Decimal(amount.replace("$", "").replace(",", ""))


def test_what_one_looks_at_is_in_the_file_to_the_last_digit(owner: Person, scenery: dict[str, Any]) -> None:
    page = owner.page
    owner.visit(f"/o/{scenery['spending_id']}/ledger/?model=gpt-4o-mini&period=30")
    shown = exact(page.locator(".totals-cost .totals-amount").get_attribute("title"))
    page.get_by_role("link", name="Export", exact=True).click()
    page.wait_for_url("**/usage/exports/**")
    expect(page.get_by_role("radio", name=re.compile("^Calls"))).to_be_checked()
    expect(page.get_by_role("combobox", name="Model", exact=True)).to_have_value("gpt-4o-mini")
    expect(page.get_by_label("A row for each", exact=True)).to_be_hidden()
    name, path = downloaded(page, page.get_by_role("button", name="Download"))
    assert re.fullmatch(r"usage-rows-[\d-]{10}-to-[\d-]{10}\.csv", name)
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert {row["model"] for row in rows} == {"gpt-4o-mini"}
    assert len({row["snapshot_at"] for row in rows}) == 1
    assert sum(Decimal(row["cost"] or 0) for row in rows) == shown

    # The page is still there: the same as sums, another format. What was left empty can be filled.
    expect(page.get_by_label("Session", exact=True)).to_be_enabled()
    page.get_by_role("radio", name=re.compile("^Sums")).check()
    page.get_by_label("A row for each", exact=True).select_option("week")
    page.get_by_role("checkbox", name="Client").check()
    page.get_by_label("Format").select_option("JSON lines")
    name, path = downloaded(page, page.get_by_role("button", name="Download"))
    assert name.endswith(".jsonl")
    sums = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert sum(Decimal(row["cost_USD"] or 0) for row in sums) == shown
    assert {"support-web"} == {row["client"] for row in sums}


def test_a_worker_makes_it_and_the_page_says_when(owner: Person, scenery: dict[str, Any]) -> None:
    page, base = owner.page, f"/o/{scenery['organization_id']}/"
    owner.visit(f"{base}usage/?period=all")
    shown = exact(page.locator(".tiles:not(.tiles-month) .figure[title]").first.get_attribute("title"))
    page.get_by_role("link", name="Export", exact=True).click()
    expect(page.get_by_role("heading", name="Nothing was made in the background")).to_be_visible()
    page.get_by_role("radio", name=re.compile("^FOCUS")).check()
    expect(page.get_by_role("checkbox", name="Client")).to_be_hidden()
    owner.press("Make it in the background")
    expect(page.get_by_text("The export is being made.").first).to_be_visible()
    made = page.locator(".exports > li").first
    # The page looks by itself.
    expect(made.get_by_text("ready", exact=True)).to_be_visible(timeout=30_000)
    made.locator("summary").click()
    name, path = downloaded(page, made.get_by_role("link", name="Download"))
    assert name == "usage-focus-all.csv"
    data = path.read_bytes()
    expect(made.locator(".export-hash")).to_have_text(hashlib.sha256(data).hexdigest())
    rows = list(csv.DictReader(data.decode().splitlines()))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == shown
    assert {row["ChargeCategory"] for row in rows} == {"Usage"}
    expect(made.get_by_text(re.compile("they make no charge"))).to_be_visible()
    owner.visit(f"{base}activity/?kind=export")
    expect(page.get_by_text(re.compile("downloaded an export"))).to_be_visible()


@pytest.mark.parametrize("answer", [{"json": {}}, {"body": "<p>Sign in</p>"}], ids=["no longer listed", "signed out"])
def test_the_page_reloads_where_there_is_nothing_to_wait_for(
    owner: Person, scenery: dict[str, Any], answer: dict[str, Any]
) -> None:
    page = owner.page
    owner.visit(f"/o/{scenery['spending_id']}/usage/exports/")
    with page.expect_navigation():
        page.route("**/usage/exports/state", lambda route: route.fulfill(**answer))
    page.unroute_all()


def test_axe_finds_nothing_serious(people: People, scenery: dict[str, Any], axe: Callable[[Page], None]) -> None:
    faults = {}
    for person, name in exports(people, scenery):
        try:
            axe(person.page)
        except AssertionError as error:
            faults[name] = str(error)
    assert not faults, "\n".join(faults.values())
