"""Pages of the ledger: calls by a filter that lives in the address, and one call with its explanation."""

import uuid
from decimal import Decimal
from typing import Any

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from apps.analytics import filters, names
from apps.analytics.filters import zone_of
from apps.analytics.models import SavedView
from apps.analytics.saved_views import menu
from apps.analytics.selectors import current, narrowed
from apps.ledger.models import UsageEvent
from apps.ledger.selectors import BadCursorError, EventFilter, explain, page_of_events
from apps.ledger.snapshot import snapshot
from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import ABILITIES, Ability
from apps.usage import selectors
from apps.usage.filters import FilterForm
from apps.usage.words import METERS, facts, missing_in_words, performance
from apps.vault.selectors import people
from web.api import InvalidError, json_response

ROWS_ON_A_PAGE = 50


def filter_form(request: MemberRequest, data: Any, **options: Any) -> FilterForm:
    return FilterForm(data, **filters.choices(request), **options)


def may_manage(request: MemberRequest) -> bool:
    return Ability.MANAGE in ABILITIES[request.membership.role]


def frame(request: MemberRequest, **context: Any) -> dict[str, Any]:
    """What every page of the ledger and of prices has: where it is, and whether one may change prices."""
    return {"base": f"/o/{request.organization.id}/", "may_manage": may_manage(request), **context}


def frame_of_calls(request: MemberRequest, form: FilterForm, page: SavedView.Page) -> dict[str, Any]:
    """What a page of calls has that are chosen by a filter: that, and the views that people saved of it."""
    views = menu(request, page, form)
    return frame(
        request,
        form=form,
        known=names.suggestions(),
        zone=request.organization.time_zone,
        views=views,
        kept=views.kept,
    )


@require_GET
@organization_view(Ability.VIEW)
def ledger(request: MemberRequest) -> HttpResponse:
    """GET ledger/?project=&period=&from=&to=&status=&… — with the fields of FilterForm, and cursor."""
    form = filter_form(request, request.GET)
    context = frame_of_calls(request, form, SavedView.Page.LEDGER)
    with timezone.override(zone_of(request)):
        if not form.is_valid():
            return render(request, "usage/ledger.html", context, status=422)
        wanted, zone = form.wanted(), zone_of(request)
        try:
            with snapshot():
                sums = current(wanted, zone)
                page = page_of_events(
                    narrowed(wanted, zone), limit=ROWS_ON_A_PAGE, cursor=request.GET.get("cursor", "")
                )
        except BadCursorError:
            return redirect(without(request, "cursor"))
        context |= {
            "page": page,
            "totals": sums,
            "days": form.days,
            "hour": form.chosen_hour,
            "names": form.projects,
            "projects": {project.id: project for project in names.projects()},
            "has_any": bool(page.rows) or bool(page_of_events(EventFilter(), limit=1).rows),
        }
        return render(request, "usage/ledger.html", context)


@require_GET
@organization_view(Ability.VIEW)
def doubts(request: MemberRequest) -> HttpResponse:
    """GET ledger/doubts/?… — with the fields of FilterForm: what may be missing or wrong about the calls of its project
    and period. A page of its own, since it reads all of them."""
    form = filter_form(request, request.GET)
    ledger_address = f"{reverse('ledger', args=[request.organization.id])}?{request.GET.urlencode()}"
    if not form.is_valid():
        return redirect(ledger_address)
    with timezone.override(zone_of(request)):
        with snapshot():
            found = selectors.doubts(form.wanted())
        crumbs = [(ledger_address, "Ledger")]
        return render(
            request, "usage/doubts.html", frame(request, form=form, doubts=found, names=form.projects, crumbs=crumbs)
        )


@require_GET
@organization_view(Ability.VIEW)
def completeness(request: MemberRequest) -> HttpResponse:
    """GET ledger/completeness?… — with the fields of FilterForm: what seems to be missing from the calls of its project
    and period, in a few words: `{"is_complete": …, "text": …}`. 422 for a filter that can't be read.

    For pages of sums, which ask when they are there: it takes as long as there are numbered reports to look through.
    """
    form = filter_form(request, request.GET)
    if not form.is_valid():
        raise InvalidError("This filter can't be read; the ledger's page says why.")
    found = selectors.missing(form.wanted())
    return json_response(
        {"is_complete": not (found.reports or found.silent), "text": missing_in_words(found.reports, found.silent)}
    )


def without(request: MemberRequest, name: str) -> str:
    """The page's address without a parameter."""
    kept = request.GET.copy()
    kept.pop(name, None)
    return f"{request.path}?{kept.urlencode()}" if kept else request.path


@require_GET
@organization_view(Ability.VIEW)
def event(request: MemberRequest, event_id: uuid.UUID) -> HttpResponse:
    """GET ledger/<id>/ — why it costs what it costs, all that is stored of it, and all that changed it."""
    try:
        explanation = explain(event_id)
    except UsageEvent.DoesNotExist as error:
        raise Http404 from error
    found = explanation.standing.event
    measured, unmeasured = performance(found)
    places = {meter: place for place, meter in enumerate(METERS)}
    context = frame(
        request,
        explanation=explanation,
        event=found,
        lines=sorted(explanation.lines, key=lambda line: places[line.fallback_from or line.meter]),
        measured=measured,
        unmeasured=unmeasured,
        line_sum=sum((line.amount for line in explanation.lines), Decimal(0)),
        names=names.project_names(names.projects()),
        people=people({change.adjustment.author_id for change in explanation.changes}),
        groups=facts(
            found,
            reporter=selectors.reporter(found),
            provider_key=selectors.provider_key_of(found),
        ),
        crumbs=[(f"/o/{request.organization.id}/ledger/", "Ledger")],
        zone=request.organization.time_zone,
    )
    with timezone.override(zone_of(request)):
        return render(request, "usage/event.html", context)
