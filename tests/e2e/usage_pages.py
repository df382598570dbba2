"""A walk through the pages of the ledger, of prices and of ingest tokens, in the states that people see them in."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from tests.e2e.ground import Resident
from tests.e2e.people import People, Person


def usage(people: People, scenery: dict[str, Any]) -> Iterator[tuple[Person, str]]:
    """Names of the owner's pages, each while she is there."""
    owner = people.signed_in("ada", Resident(**scenery["people"]["owner"]))
    base, empty = f"/o/{scenery['organization_id']}/", f"/o/{scenery['empty_id']}/"
    shown, full = scenery["usage"], f"{base}projects/{scenery['projects']['full']}/"
    for name, path in [
        ("ledger", f"{base}ledger/"),
        ("ledger-filtered", f"{base}ledger/?period=all&provider=anthropic&status=priced"),
        ("ledger-wrong", f"{base}ledger/?from=2026-03-02&to=2026-03-01"),
        ("ledger-no-match", f"{base}ledger/?model=nothing"),
        ("ledger-empty", f"{empty}ledger/"),
        ("ledger-doubts", f"{base}ledger/doubts/"),
        ("ledger-doubts-none", f"{empty}ledger/doubts/"),
        ("event", f"{base}ledger/{shown['detailed']}/"),
        ("event-unpriced", f"{base}ledger/{shown['unpriced']}/"),
        ("event-repriced", f"{base}ledger/{shown['repriced']}/"),
        ("sessions", f"{base}usage/sessions/"),
        ("sessions-no-match", f"{base}usage/sessions/?model=nothing"),
        ("sessions-wrong", f"{base}usage/sessions/?from=2026-03-02&to=2026-03-01"),
        ("sessions-none", f"{empty}usage/sessions/"),
        ("session", f"{base}usage/sessions/{scenery['projects']['full']}/?session={quote(shown['run'])}"),
        ("session-pauses", f"{base}usage/sessions/{scenery['projects']['full']}/?session=conversation-0"),
        ("session-one-call", f"{base}usage/sessions/{scenery['projects']['staging']}/?session=conversation-0"),
        ("view-changed", f"{base}ledger/?period=yesterday&provider=anthropic&view={shown['view']}"),
        ("view-save", f"{base}usage/views/new/?page=ledger&period=month&provider=anthropic&status=failed"),
        ("view-edit", f"{base}usage/views/{shown['view']}/"),
        ("prices", f"{base}prices/"),
        ("prices-none", f"{empty}prices/"),
        ("prices-unpriced", f"{base}prices/unpriced/"),
        ("prices-all-priced", f"{empty}prices/unpriced/"),
        ("price-add", f"{base}prices/add/?provider=together&model=house-70b"),
        ("discount-add", f"{base}prices/discounts/add/"),
        ("price-list", f"{base}prices/list/?provider=openai&model=gpt-4o-mini"),
        ("price-list-none", f"{base}prices/list/?provider=openai&model=house-model"),
        ("repricings", f"{base}prices/repricing/"),
        ("repricings-none", f"{empty}prices/repricing/"),
        ("repricing-new", f"{base}prices/repricing/new/?provider=together&status=unpriced&reason=New+price&priced=1"),
        ("repricing-preview", f"{base}prices/repricing/{shown['preview']}/"),
        ("repricing-done", f"{base}prices/repricing/{shown['done']}/"),
        ("tokens", f"{full}ingest-tokens/"),
        ("tokens-none", f"{base}projects/{scenery['projects']['staging']}/ingest-tokens/"),
        ("usage-retention", f"{base}settings/usage/"),
        ("project-settings-labels", f"{full}settings/"),
        ("organization-settings-usage", f"{base}settings/"),
    ]:
        owner.visit(path)
        yield owner, name
    for name, path in [
        (
            "views",
            f"{base}ledger/?period=month&provider=anthropic&status=priced&model=claude-sonnet-4-5&view={shown['view']}",
        ),
        ("views-none", f"{empty}ledger/"),
    ]:
        owner.visit(path)
        owner.page.locator(".views-menu > summary").click()
        yield owner, name
    owner.visit(f"{base}usage/views/new/?page=ledger")
    owner.fill(name="Failed today")
    owner.page.get_by_label("Everybody in the organization").check()
    owner.press("Save the view")
    owner.page.locator("[aria-invalid=true]").first.wait_for()
    yield owner, "view-refused"
    owner.visit(f"{base}prices/add/")
    owner.press("Set the price")
    owner.page.locator("[aria-invalid=true]").first.wait_for()
    yield owner, "price-add-refused"
    owner.visit(f"{full}ingest-tokens/")
    owner.fill(name="evaluation runs")
    owner.press("Make the token")
    shown_token(owner)
    yield owner, "token-made"


def sums(people: People, scenery: dict[str, Any]) -> Iterator[tuple[Person, str]]:
    """Names of the pages of sums, each while the owner is there."""
    owner = people.signed_in("ada", Resident(**scenery["people"]["owner"]))
    base, empty = f"/o/{scenery['spending_id']}/usage/", f"/o/{scenery['empty_id']}/usage/"
    for name, path in [
        ("usage", base),
        ("usage-models", f"{base}?period=90&by=model&of=tokens"),
        ("usage-project", f"{base}?project={scenery['spender_id']}&period=7"),
        ("usage-today", f"{base}?period=today&compare=no&by=client&of=calls"),
        ("usage-all", f"{base}?period=all&by=provider"),
        ("usage-no-match", f"{base}?model=nothing"),
        ("usage-wrong", f"{base}?from=2026-03-02&to=2026-03-01"),
        ("usage-empty", empty),
        ("usage-performance", f"{base}performance/"),
    ]:
        owner.visit(path)
        yield owner, name
    owner.visit(f"{base}?by=model")
    owner.page.get_by_role("button", name="Show as table").first.click()
    yield owner, "usage-table"


def exports(people: People, scenery: dict[str, Any]) -> Iterator[tuple[Person, str]]:
    """Names of the states of the page of exports, each while the owner is there."""
    owner = people.signed_in("ada", Resident(**scenery["people"]["owner"]))
    base, empty = f"/o/{scenery['spending_id']}/usage/exports/", f"/o/{scenery['empty_id']}/usage/exports/"
    for name, path in [
        ("exports", base),
        ("exports-sums", f"{base}?content=sums&by=model&by=client"),
        ("exports-focus", f"{base}?content=focus&granularity=hour&format=jsonl&model=gpt-4o"),
        ("exports-none", f"/o/{scenery['organization_id']}/usage/exports/?hour=2026-05-01T10:00Z"),
        ("exports-empty", empty),
    ]:
        owner.visit(path)
        yield owner, name
    owner.visit(base)
    owner.page.locator("details.export-manifest > summary").first.click()
    yield owner, "exports-manifest"
    owner.visit(f"{base}?content=focus&granularity=week&period=custom&from=2026-03-02&to=2026-03-01")
    owner.press("Download")
    owner.page.locator("[aria-invalid=true]").first.wait_for()
    yield owner, "exports-refused"


def shown_token(person: Person) -> str:
    """The one that the page shows this once. It goes to the browser and comes with reports, and is nowhere else."""
    text = person.page.locator("[data-token]").inner_text()
    person.ground.canaries.add("ingest token", text, allowed={"sent", "received"})
    return text
