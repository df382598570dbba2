"""Where programs read usage back."""

import re
from typing import Any

import msgspec
from django.http import Http404, HttpRequest, HttpResponse

from apps.directory.callers import Caller, authenticate, refuse_revoked
from apps.directory.sql import CALLER
from apps.ledger.columns import COLUMNS, exact, plain
from apps.ledger.models import METER_COLUMNS
from apps.ledger.selectors import MOST_ROWS, EventFilter, Totals, page_of_events, totals
from apps.ledger.snapshot import snapshot
from apps.ledger.standing import Standing
from tenancy import tenant_scope
from tenancy.sql import Statement
from web.api import InvalidError, json_response

DEFAULT_ROWS = 100

_LIVE = Statement(f"WITH {CALLER} SELECT 1 FROM caller")
# A `+` that was not encoded arrives as a space.
LOST_PLUS = re.compile(r" (?=\d\d:?\d\d$)")


def list_events(request: HttpRequest) -> HttpResponse:
    """GET /usage-events/?project_id=&from=&to=&limit=&cursor=&totals= — the caller's project's events, newest first.

    `{"data": […], "next_cursor": …, "totals": {…}}`. `from` ≤ time < `to`, ISO 8601 with a time zone; `limit` 1 to
    500; any other field of EventFilter narrows it further. Amounts are text with all their digits. `totals` are those
    of all events that match, and come with the first page only: null with a cursor, and with `totals=0`, which spares
    a reader of new rows the reading of all.

    404 for another project than the token's; 422 for parameters that can't be read. Tokens for ingestion read nothing.
    """
    caller = authenticate(request)
    wanted, limit, cursor, with_totals = _parameters(request)
    if wanted.project_ids not in (None, (caller.project_id,)):
        raise Http404
    wanted = msgspec.structs.replace(wanted, project_ids=(caller.project_id,))
    with tenant_scope(caller.tenant):
        check_live(caller)
        with snapshot():
            page = page_of_events(wanted, limit=limit, cursor=cursor)
            sums = totals(wanted) if with_totals and not cursor else None
    return json_response(
        {
            "data": [as_json(row) for row in page.rows],
            "next_cursor": page.next_cursor,
            "totals": None if sums is None else totals_as_json(sums),
        }
    )


def as_json(row: Standing) -> dict[str, Any]:
    """Every column, null where nothing is known, and the lines of its price."""
    return {
        **{name: plain(column(row)) for name, column in COLUMNS.items()},
        "flags": row.flags,
        "price_lines": row.price.lines,
    }


def totals_as_json(sums: Totals) -> dict[str, Any]:
    return {
        "events": sums.events,
        "calls": sums.calls,
        "failed": sums.failed,
        "unpriced": sums.unpriced,
        "duplicates": sums.duplicates,
        "meters": {name: sums.meters.get(meter) for meter, name in METER_COLUMNS.items()},
        "costs": {currency: exact(cost) for currency, cost in sums.costs.items()},
        "unpriced_share": exact(sums.unpriced_share),
        "unpriced_token_share": exact(sums.unpriced_token_share),
        "adjustments": sums.adjustments,
        "adjusted_costs": {currency: exact(cost) for currency, cost in sums.adjusted_costs.items()},
    }


def _parameters(request: HttpRequest) -> tuple[EventFilter, int, str, bool]:
    """Which events, how many, after which cursor, and whether with totals. Raises InvalidError, which names the
    parameter."""
    given: dict[str, Any] = request.GET.dict()
    cursor, limit = given.pop("cursor", ""), given.pop("limit", str(DEFAULT_ROWS))
    if not re.fullmatch(r"[0-9]{1,9}", limit) or not 1 <= int(limit) <= MOST_ROWS:
        raise InvalidError(f"limit must be a number from 1 to {MOST_ROWS}.")
    with_totals = given.pop("totals", "1")
    if with_totals not in ("0", "1"):
        raise InvalidError("totals must be 0 or 1.")
    for name in given.keys() & {"from", "to"}:
        given[name] = LOST_PLUS.sub("+", given[name])
    if "project_id" in given:
        given["project_ids"] = [given.pop("project_id")]
    try:
        return EventFilter.from_json(given), int(limit), cursor, with_totals == "1"
    except msgspec.ValidationError as error:
        raise InvalidError(f"{error}.".replace("`$.project_ids[...]`", "`$.project_id`")) from error


def check_live(caller: Caller) -> None:
    if _LIVE.fetch_one(caller.project_id, caller.generation) is None:
        refuse_revoked()
