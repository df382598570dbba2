"""The ledger, prices and ingest tokens in a browser: a call that an exporter reports, what it costs, and why."""

import json
import re
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.ground import Ground, Team
from tests.e2e.organization_pages import make_scenery
from tests.e2e.people import People, Person
from tests.e2e.usage_pages import shown_token, usage

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def team(ground: Ground) -> Team:
    return ground.team()


def report(ground: Ground, token: str, model: str, *, at: datetime | None = None, tokens: tuple[int, int]) -> int:
    """Sends a span as OpenTelemetry's exporter does, in JSON; the status of the answer."""
    begun = int((at.timestamp() if at else time.time() - 60) * 1e9)
    values = {
        "gen_ai.operation.name": {"stringValue": "chat"},
        "gen_ai.provider.name": {"stringValue": "openai"},
        "gen_ai.request.model": {"stringValue": model},
        "gen_ai.response.model": {"stringValue": model},
        "gen_ai.usage.input_tokens": {"intValue": str(tokens[0])},
        "gen_ai.usage.output_tokens": {"intValue": str(tokens[1])},
    }
    span = {
        "traceId": secrets.token_hex(16),
        "spanId": secrets.token_hex(8),
        "name": f"chat {model}",
        "kind": 3,
        "startTimeUnixNano": str(begun),
        "endTimeUnixNano": str(begun + 1_500_000_000),
        "attributes": [{"key": key, "value": value} for key, value in values.items()],
    }
    scope = {"name": "opentelemetry.instrumentation.genai.openai"}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "night-shift"}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": [span]}]}]}
    request = urllib.request.Request(
        f"{ground.url}/v1/traces",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def make_token(person: Person, team: Team, name: str) -> str:
    person.visit(f"/o/{team.organization_id}/projects/{team.project_id}/ingest-tokens/")
    person.fill(name=name)
    person.press("Make the token")
    expect(person.page.get_by_role("heading", name=f"The token {name}")).to_be_visible()
    return shown_token(person)


def confirm(person: Person, button: str) -> None:
    person.page.get_by_role("dialog").get_by_role("button", name=button, exact=True).click()


def cost(person: Person) -> str:
    """On top of the ledger's page, with what it leaves out."""
    return " ".join(person.page.locator(".totals-cost dd").inner_text().split())


def test_a_token_reports_and_is_revoked(
    people: People, ground: Ground, team: Team, axe: Callable[[Page], None]
) -> None:
    owner = people.signed_in("owner", team.owner)
    token = make_token(owner, team, "collector")
    axe(owner.page)
    page = owner.page
    # Without a click nobody sees it again.
    owner.visit(f"/o/{team.organization_id}/projects/{team.project_id}/ingest-tokens/")
    expect(page.locator("[data-token]")).to_have_count(0)
    assert token not in page.content()
    row = page.get_by_role("row").filter(has_text="collector")
    expect(row).to_contain_text(f"…{token[-4:]}")
    expect(row).to_contain_text("not yet")

    assert report(ground, token, "gpt-4o-mini", tokens=(1_200, 300)) == 200
    owner.visit(f"/o/{team.organization_id}/ledger/")
    call = page.get_by_role("row").filter(has_text="night-shift")
    expect(call).to_contain_text("gpt-4o-mini")
    expect(call).to_contain_text("1,200")
    expect(call).to_contain_text("1.5 s")
    assert cost(owner).startswith("$0.00036 ")

    owner.visit(f"/o/{team.organization_id}/projects/{team.project_id}/ingest-tokens/")
    expect(row).not_to_contain_text("not yet")
    owner.press("Revoke collector")
    confirm(owner, "Revoke")
    owner.is_told("The token collector is revoked.")
    assert report(ground, token, "gpt-4o-mini", tokens=(1, 1)) == 401
    expect(page.get_by_role("row").filter(has_text="collector")).to_have_count(0)


def test_a_call_is_found_and_explains_itself(
    people: People, ground: Ground, team: Team, axe: Callable[[Page], None]
) -> None:
    owner = people.signed_in("owner", team.owner)
    token = make_token(owner, team, "finding")
    yesterday = datetime.now(UTC) - DAY
    assert report(ground, token, "gpt-4o-2024-08-06", at=yesterday, tokens=(2_000, 100)) == 200
    assert report(ground, token, "house-model", at=yesterday, tokens=(2_000, 100)) == 200
    page = owner.page
    owner.visit(f"/o/{team.organization_id}/projects/{team.project_id}/")
    page.get_by_role("navigation", name="This project").get_by_role("link", name="Usage", exact=True).click()
    expect(page.get_by_label("Project", exact=True)).to_have_value(team.project_id)
    owner.visit(f"/o/{team.organization_id}/ledger/?project={team.project_id}")
    page.get_by_text("More filters").click()
    owner.fill(model="gpt-4o-2024-08-06")
    owner.press("Show")
    page.wait_for_url(re.compile("model=gpt-4o-2024-08-06"))
    # The address has what was chosen, and no more.
    assert "session=" not in page.url
    expect(page.locator("tbody tr")).to_have_count(1)
    assert cost(owner) == "$0.006 every call priced"
    page.locator("tbody tr a").click()
    owner.sees("gpt-4o-2024-08-06")
    lines = page.get_by_role("table", name="How the cost comes about")
    expect(lines.get_by_role("row").filter(has_text="Input tokens")).to_contain_text("$0.005")
    expect(lines.get_by_role("row").filter(has_text="Output tokens")).to_contain_text("$0.001")
    expect(lines.get_by_role("row").filter(has_text="Cost")).to_contain_text("$0.006")
    expect(page.get_by_text("the ingest token finding")).to_be_visible()
    axe(page)
    page.go_back()
    expect(page.get_by_label("Model", exact=True)).to_have_value("gpt-4o-2024-08-06")
    # What was left empty for the address can be filled again.
    expect(page.get_by_label("Session", exact=True)).to_be_enabled()

    # Only what a period with two days asks for is shown.
    expect(page.get_by_label("First day", exact=True)).to_be_hidden()
    page.get_by_label("Period").select_option("custom")
    page.get_by_label("First day", exact=True).fill(f"{yesterday:%Y-%m-%d}")
    owner.fill(model="nothing-like-it")
    owner.press("Show")
    expect(page.get_by_role("heading", name="No call matches")).to_be_visible()
    page.get_by_role("link", name="Clear the filters").last.click()

    page.get_by_role("link", name="Export", exact=True).click()
    page.wait_for_url("**/usage/exports/**")
    with page.expect_download() as download:
        owner.press("Download")
    page.go_back()
    exported = download.value.path().read_text(encoding="utf-8").splitlines()
    assert exported[0].startswith("id,project_id,occurred_at")
    assert sum("gpt-4o-2024-08-06" in line for line in exported) == 1

    # The model without a price waits for one.
    page.get_by_role("link", name=re.compile("call.* unpriced")).click()
    page.locator("tbody tr a").first.click()
    page.get_by_role("link", name="Set a price for this model").click()
    expect(page.get_by_label("Model", exact=True)).to_have_value("house-model")
    expect(page.get_by_label("First day", exact=True)).to_have_value(f"{yesterday:%Y-%m-%d}")


def test_a_price_of_ones_own_counts_for_the_past(
    people: People, ground: Ground, team: Team, axe: Callable[[Page], None]
) -> None:
    owner = people.signed_in("owner", team.owner)
    token = make_token(owner, team, "pricing")
    two_days_ago = datetime.now(UTC) - 2 * DAY
    assert report(ground, token, "gpt-4.1-mini", at=two_days_ago, tokens=(10_000, 1_000)) == 200
    page, base = owner.page, f"/o/{team.organization_id}/"
    calls = f"{base}ledger/?model=gpt-4.1-mini"
    owner.visit(calls)
    assert cost(owner) == "$0.0056 every call priced"

    owner.visit(f"{base}prices/add/?provider=openai&model=gpt-4.1-mini")
    owner.press("Set the price")
    expect(page.locator("[aria-invalid=true]").first).to_be_visible()
    axe(page)
    owner.fill(input_tokens="40", output_tokens="100", why="Order 4711")
    page.get_by_label("First day", exact=True).fill(f"{two_days_ago - DAY:%Y-%m-%d}")
    owner.press("Set the price")
    owner.is_told("The price is set.")
    owner.sees("Re-price past calls")
    owner.press("Preview the changes")
    apply = page.get_by_role("button", name="Re-price 1 call", exact=True)
    expect(apply).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Search (production)")).to_contain_text("+$0.494")
    axe(page)
    # Nothing has happened yet.
    owner.visit(calls)
    assert cost(owner) == "$0.0056 every call priced"
    page.go_back()
    apply.click()
    expect(page.get_by_text("1 call changed")).to_be_visible()
    owner.visit(calls)
    assert cost(owner) == "$0.50 every call priced"
    page.locator("tbody tr a").click()
    expect(page.get_by_text("Your organization’s own price for gpt-4.1-mini.")).to_be_visible()
    expect(page.locator(".history > li")).to_have_count(2)
    axe(page)

    page.get_by_role("link", name="See the re-pricing").click()
    owner.fill(why="It was another order")
    owner.press("Take it back")
    confirm(owner, "Take it back")
    expect(page.get_by_text("It was another order")).to_be_visible()
    owner.visit(calls)
    assert cost(owner) == "$0.0056 every call priced"

    owner.visit(f"{base}prices/")
    owner.press("End openai gpt-4.1-mini")
    confirm(owner, "End the price")
    owner.is_told("The own price has ended.")
    owner.visit(f"{base}activity/?kind=price")
    expect(page.get_by_role("row").filter(has_text="set an own price for openai gpt-4.1-mini")).to_be_visible()


def test_how_long_usage_is_kept(people: People, ground: Ground, team: Team) -> None:
    owner = people.signed_in("owner", team.owner)
    path = f"/o/{team.organization_id}/settings/usage/"
    owner.visit(path)
    owner.page.get_by_role("radio", name="For a number of days").check()
    owner.page.get_by_role("spinbutton").fill("7")
    owner.press("Change it")
    confirm(owner, "Change it")
    expect(owner.page.locator("[aria-invalid=true]")).to_be_visible()
    owner.page.get_by_role("spinbutton").fill("400")
    owner.press("Change it")
    confirm(owner, "Change it")
    owner.is_told("Calls are kept for 400 days.")
    days = "SELECT usage_retention_days FROM organizations_organization WHERE id = %s"
    assert ground.query(days, [team.organization_id]) == [(400,)]

    # Who signed in long ago says who they are, and what they chose is done then.
    data = owner.session.data
    for record in data["account_authentication_methods"]:
        record["at"] -= 86_400
    owner.session.store(data)
    owner.page.get_by_role("radio", name="For good").check()
    owner.press("Change it")
    confirm(owner, "Change it")
    owner.page.wait_for_url("**/accounts/reauthenticate/**")
    assert ground.query(days, [team.organization_id]) == [(400,)]
    owner.prove_it()
    owner.is_told("Calls are kept for good.")
    assert ground.query(days, [team.organization_id]) == [(None,)]


def test_axe_finds_nothing_serious(people: People, ground: Ground, axe: Callable[[Page], None]) -> None:
    faults = {}
    for person, name in usage(people, make_scenery(ground)):
        try:
            axe(person.page)
        except AssertionError as error:
            faults[name] = str(error)
    assert not faults, "\n".join(faults.values())
