"""What can be set about usage: how long an organization keeps it, and what a project keeps of labels."""

import uuid

from allauth.core.exceptions import ReauthenticationRequired
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.reauthentication import ReauthenticationRequiredError, require_recent
from apps.analytics.filters import zone_of
from apps.ledger.selectors import oldest_call
from apps.organizations.access import MemberRequest, check_ability, organization_view
from apps.organizations.roles import ABILITIES, Ability
from apps.projects.selectors import access_project
from apps.usage import services
from apps.usage.forms import RetentionForm
from apps.usage.ledger_views import frame
from web.errors import wants_json


@require_http_methods(["GET", "HEAD", "POST"])
@organization_view(Ability.VIEW)
def retention(request: MemberRequest) -> HttpResponse:
    """GET, POST settings/usage/ — how long calls are kept. Deleted is gone, so owners say who they are first."""
    days = request.organization.usage_retention_days
    form = RetentionForm.of(days)
    if request.method == "POST":
        check_ability(request.membership, Ability.OWN)
        form = RetentionForm(request.POST)
        if form.is_valid():
            _require_recent(request)
            changed = services.set_retention(organization=request.organization, days=form.chosen, actor=request.user)
            messages.success(request, _kept(form.chosen) if changed else "Nothing was changed.")
            return redirect("usage_retention", request.organization.id)
    context = frame(
        request,
        form=form,
        days=days,
        may_own=Ability.OWN in ABILITIES[request.membership.role],
        oldest=oldest_call(),
        zone=request.organization.time_zone,
        crumbs=[(f"/o/{request.organization.id}/settings/", "Settings")],
    )
    with timezone.override(zone_of(request)):
        return render(request, "usage/retention.html", context, status=422 if form.errors else 200)


def _kept(days: int | None) -> str:
    return (
        f"Calls are kept for {days} days. Older ones are deleted within hours." if days else "Calls are kept for good."
    )


def _require_recent(request: MemberRequest) -> None:
    """As apps.accounts.reauthentication, for a form: it is sent again once the person has proven who they are."""
    try:
        require_recent(request)
    except ReauthenticationRequiredError as error:
        if wants_json(request):
            raise
        raise ReauthenticationRequired from error


@require_POST
@organization_view(Ability.MANAGE)
def labels(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/labels hides=on|"" — whether a project keeps labels of sessions and users as they are sent."""
    project = access_project(project_id)
    hides = request.POST.get("labels") == "fingerprints"
    if request.POST.get("labels") not in ("fingerprints", "as-sent"):
        messages.error(request, "Nothing was changed: choose one of the two.")
    elif services.set_hides_labels(project=project, hides=hides, actor=request.user):
        messages.success(request, "New calls keep only fingerprints." if hides else "New calls keep labels as sent.")
    else:
        messages.success(request, "Nothing was changed.")
    return redirect("project_settings", request.organization.id, project.id)
