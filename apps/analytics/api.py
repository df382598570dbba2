"""Where programs read sums."""

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework.request import Request

from apps.analytics.selectors import Dimension, Granularity, Question, UnansweredError, as_of, summed, whole
from apps.directory.callers import authenticate
from apps.ledger.columns import plain
from apps.ledger.read_api import LOST_PLUS, check_live, totals_as_json
from apps.ledger.selectors import EventFilter
from apps.ledger.snapshot import snapshot
from apps.organizations.models import Organization
from apps.organizations.zones import ZONES
from tenancy import tenant_scope
from web.api import InvalidError, LeanView, json_response

MOST_ROWS = 10_000
_FILTERS = ("provider", "model", "operation", "client_name", "provider_key_id", "ending")
Choice = TypeVar("Choice", Granularity, Dimension)


class SummaryView(LeanView):
    """GET /usage/summary?project_id=&from=&to=&granularity=&group_by=&tz= — what a project's calls come to.

    `from` ≤ time < `to`: ISO 8601 with a time zone, at quarters of an hour, or days (YYYY-MM-DD) of `tz`, the last one
    included. `tz` is an IANA name, by default the organization's. `granularity`: hour, day, week, month; without it one
    stretch. `group_by`: project, provider, model, client, provider_key, operation, status, error, with commas.
    `provider`, `model`, `operation`, `client_name`, `provider_key_id`, `ending` narrow it.

    `{"as_of": …, "tz": …, "data": [{"starts_at": …, "<dimension>": …, sums}], "totals": {sums}}`, with sums as
    GET /usage-events/ has them. All that was committed before `as_of` is in it; null: they were never made yet.

    404 for another project than the token's; 422 for parameters that can't be read and for more than 10,000 rows.
    """

    def get(self, request: Request) -> HttpResponse:
        return summary(request._request)


def summary(request: HttpRequest) -> HttpResponse:
    caller = authenticate(request)
    given = request.GET.dict()
    if given.pop("project_id", str(caller.project_id)).lower() != str(caller.project_id):
        raise Http404
    with tenant_scope(caller.tenant):
        check_live(caller)
        default = Organization.objects.values_list("time_zone", flat=True).get(pk=caller.tenant.pk)
        question = question_of(given, default, (caller.project_id,))
        try:
            with snapshot():
                rows = summed(question, most=MOST_ROWS + 1)
                if len(rows) > MOST_ROWS:
                    raise InvalidError(f"That is more than {MOST_ROWS:,} rows. Ask for less time or fewer groups.")
                totals, moment = whole(question), as_of()
        except UnansweredError as error:
            raise InvalidError(str(error)) from error
    return json_response(
        {
            "as_of": moment,
            "tz": question.zone.key,
            "granularity": question.granularity,
            "group_by": question.by,
            "data": [
                {
                    "starts_at": None if row.starts_at is None else row.starts_at.astimezone(question.zone),
                    **{name.value: plain(value) for name, value in zip(question.by, row.key, strict=True)},
                    **totals_as_json(row.totals),
                }
                for row in rows
            ],
            "totals": totals_as_json(totals),
        }
    )


def question_of(given: Mapping[str, str], time_zone: str, project_ids: tuple[UUID, ...] | None) -> Question:
    """What the parameters ask for. Raises InvalidError, which names the parameter."""
    left = dict(given)
    name = left.pop("tz", "") or time_zone
    if name not in ZONES:
        raise InvalidError("tz must be an IANA time zone, such as Europe/Berlin.")
    zone = ZoneInfo(name)
    start, end = (_bound(key, left.pop(key, ""), zone) for key in ("from", "to"))
    granularity = left.pop("granularity", "")
    by = [part for part in left.pop("group_by", "").split(",") if part]
    filters: dict[str, Any] = {key: left.pop(key) for key in _FILTERS if key in left}
    if left:
        raise InvalidError(f"There is no parameter {', '.join(sorted(left))}.")
    try:
        wanted = EventFilter.from_json(filters)
    except ValueError as error:
        raise InvalidError(f"{error}.") from error
    return Question(
        filter=msgspec.structs.replace(wanted, project_ids=project_ids, start=start, end=end),
        zone=zone,
        granularity=_choice("granularity", granularity, Granularity) if granularity else None,
        by=tuple(dict.fromkeys(_choice("group_by", part, Dimension) for part in by)),
    )


def _choice(name: str, given: str, choices: type[Choice]) -> Choice:
    try:
        return choices(given)
    except ValueError:
        raise InvalidError(f"{name} must be one of {', '.join(choices)}.") from None


def _bound(name: str, given: str, zone: ZoneInfo) -> datetime | None:
    if not given:
        return None
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", given):
            day = date.fromisoformat(given)
            return datetime.combine(date.fromordinal(day.toordinal() + (name == "to")), time(), zone)
        moment = datetime.fromisoformat(LOST_PLUS.sub("+", given))
    except ValueError:
        raise InvalidError(f"{name} must be a day (2026-05-01) or a time (2026-05-01T10:00:00+00:00).") from None
    if moment.tzinfo is None:
        raise InvalidError(f"{name} needs a time zone, such as 2026-05-01T10:00:00+00:00.")
    return moment
