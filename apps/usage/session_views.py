"""Pages of sessions: which there are, and one as a timeline of its calls. A session is a label within a project."""

import uuid
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlencode

from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from apps.analytics import names
from apps.analytics.charts import MOST_SERIES, colours
from apps.analytics.filters import zone_of
from apps.analytics.models import SavedView
from apps.analytics.selectors import narrowed
from apps.ledger.labels import is_hidden
from apps.ledger.selectors import (
    BadCursorError,
    EventFilter,
    Session,
    extent,
    page_of_events,
    page_of_sessions,
)
from apps.ledger.selectors.filters import projects_with_events
from apps.ledger.selectors.sessions import MOST_LISTED, MOST_SUMMED
from apps.ledger.snapshot import snapshot
from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import Ability
from apps.projects.models import Project
from apps.usage.ledger_views import ROWS_ON_A_PAGE, filter_form, frame, frame_of_calls, without
from apps.usage.timeline import timeline

LONGEST_LABEL = 200


@dataclass(frozen=True, slots=True)
class Line:
    """A session of the list, and the addresses, without their paths, of its page and of its calls in the ledger."""

    session: Session
    project: Project | None
    # Of its label only a fingerprint is kept.
    is_hidden: bool
    query: str
    rows_query: str


@require_GET
@organization_view(Ability.VIEW)
def sessions(request: MemberRequest) -> HttpResponse:
    """GET usage/sessions/?project=&period=&… — with the fields of FilterForm, and cursor: latest first."""
    form = filter_form(request, request.GET)
    context = frame_of_calls(request, form, SavedView.Page.SESSIONS) | {"page": "sessions"}
    with timezone.override(zone_of(request)):
        if not form.is_valid():
            return render(request, "usage/sessions.html", context, status=422)
        wanted, cursor = form.wanted(), request.GET.get("cursor", "")
        try:
            with snapshot():
                found = page_of_sessions(narrowed(wanted, zone_of(request)), cursor=cursor)
                # Nothing matches, or nobody names sessions at all.
                has_any = bool(
                    found.sessions or cursor or found.next_cursor or projects_with_events(with_sessions=True)
                )
        except BadCursorError:
            return redirect(without(request, "cursor"))
        projects = {project.id: project for project in names.projects()}
        asked = {**form.asked_period, **form.asked, **({"hour": form.data["hour"]} if form.chosen_hour else {})}
        context |= {
            "found": found,
            "lines": [_line(session, projects.get(session.project_id), asked) for session in found.sessions],
            "days": form.days,
            "hour": form.chosen_hour,
            "has_any": has_any,
            "most": MOST_LISTED,
            "later": without(request, "cursor") if cursor else "",
        }
        return render(request, "usage/sessions.html", context)


def _line(session: Session, project: Project | None, asked: dict[str, str]) -> Line:
    return Line(
        session,
        project,
        _is_hidden(session.label, project),
        urlencode({"session": session.label}),
        urlencode({**asked, "project": str(session.project_id), "session": session.label}),
    )


def _is_hidden(label: str, project: Project | None) -> bool:
    return project is not None and project.hides_labels and is_hidden(label)


@require_GET
@organization_view(Ability.VIEW)
def session(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """GET usage/sessions/<project>/?session=&cursor= — one session: what it comes to, and its calls, a page of them.
    Without a label, all of the project's."""
    label = request.GET.get("session", "")
    if not label:
        all_of_it = urlencode({"project": project_id})
        return redirect(f"{reverse('sessions', args=[request.organization.id])}?{all_of_it}")
    if len(label) > LONGEST_LABEL or "\0" in label:
        raise Http404
    wanted = EventFilter(project_ids=(project_id,), session=label)
    try:
        with snapshot():
            whole = extent(project_id, label)
            if whole is None:
                raise Http404
            page = page_of_events(wanted, limit=ROWS_ON_A_PAGE, cursor=request.GET.get("cursor", ""))
    except BadCursorError:
        return redirect(without(request, "cursor"))
    rows = page.rows[::-1]
    calls = [row for row in rows if row.price.status != "duplicate"]
    models = Counter(row.event.model for row in calls)
    known, shown = names.suggestions(), [model for model, _ in models.most_common(MOST_SERIES)]
    chosen = colours(known.models, shown)
    projects = {project.id: project for project in names.projects()}
    zone = zone_of(request)
    # The last call began on its last day or before.
    days = {"from": whole.first.astimezone(zone).date(), "to": whole.last.astimezone(zone).date()}
    asked = urlencode({**days, "project": project_id, "session": label})
    context = frame(
        request,
        label=label,
        whole=whole,
        is_hidden=_is_hidden(label, projects.get(project_id)),
        page=page,
        rows=rows,
        timeline=timeline(calls, chosen),
        legend=[(model or "no model named", chosen.get(model, 0)) for model in shown],
        others=len(models) - len(shown),
        most=MOST_SUMMED,
        rows_address=f"{reverse('ledger', args=[request.organization.id])}?{asked}",
        project_id=project_id,
        projects=projects,
        names=names.project_names(projects.values()),
        crumbs=[(f"/o/{request.organization.id}/usage/sessions/", "Sessions")],
        zone=zone.key,
    )
    with timezone.override(zone):
        return render(request, "usage/session.html", context)
