"""Pages of sums: what calls cost, how they perform. The ledger's pages have the rows behind each of them."""

from collections.abc import Callable
from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from apps.analytics import names
from apps.analytics import overview as costs
from apps.analytics import performance as speed
from apps.analytics.asking import Calls
from apps.analytics.charts import MEASURES
from apps.analytics.filters import DashboardForm, choices, zone_of
from apps.analytics.saved_views import menu
from apps.analytics.selectors import as_of
from apps.ledger.selectors.filters import projects_with_events
from apps.ledger.snapshot import snapshot
from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import Ability


@require_GET
@organization_view(Ability.VIEW)
def overview(request: MemberRequest) -> HttpResponse:
    """GET usage/?project=&period=&…&by=&of=&compare= — what calls cost, over time, by what, and why it changed."""
    return _page(
        request,
        "overview",
        lambda calls: costs.overview(calls, by=calls.form.dimension, measure=calls.form.measure),
    )


@require_GET
@organization_view(Ability.VIEW)
def performance(request: MemberRequest) -> HttpResponse:
    """GET usage/performance/ — how long calls take and how they fail, with the fields of the overview."""
    return _page(request, "performance", speed.performance)


def _page(request: MemberRequest, page: str, ask: Callable[[Calls], Any]) -> HttpResponse:
    zone, template = zone_of(request), f"analytics/{page}.html"
    form = DashboardForm(request.GET, **choices(request))
    known = names.suggestions()
    base = f"/o/{request.organization.id}/"
    views = menu(request, page, form)
    context: dict[str, Any] = {
        "form": form,
        "known": known,
        "zone": zone.key,
        "base": base,
        "page": page,
        "views": views,
    }
    with timezone.override(zone):
        if not form.is_valid():
            return render(request, template, context, status=422)
        with snapshot():
            calls = Calls(form, known, timezone.now().astimezone(zone))
            context["shown"] = ask(calls)
            context["as_of"] = as_of()
        context |= {
            "calls": calls,
            "rows_query": calls.rows_query(),
            "days": form.days,
            "kept": views.kept | {name: value for name, value in form.asked_view.items() if name != "compare"},
            "has_any": bool(projects_with_events()),
            "measures": [(name, *words) for name, words in MEASURES.items()],
        }
        return render(request, template, context)
