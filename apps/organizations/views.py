"""Pages of organizations: which of them, a new one, its settings, its end."""

import uuid

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.accounts.access import PersonRequest, signed_in_view
from apps.accounts.adapter import INVITATION
from apps.organizations import selectors, services
from apps.organizations.access import LAST_ORGANIZATION, MemberRequest, check_ability, organization_view
from apps.organizations.forms import NameForm, SettingsForm
from apps.organizations.models import Membership
from apps.organizations.roles import ABILITIES, Ability
from apps.organizations.zones import ZONES


@require_GET
@signed_in_view
def home(request: PersonRequest) -> HttpResponse:
    """Goes on to where the person was, or is expected; else lists their organizations."""
    token = request.session.get(INVITATION)
    if token:
        return redirect("invitation", token=token)
    memberships = selectors.memberships_of(request.user)
    ready = [membership.organization for membership in memberships if membership.organization.is_ready]
    if "all" not in request.GET:
        last = request.session.get(LAST_ORGANIZATION)
        for organization in ready:
            if str(organization.pk) == last or len(memberships) == 1:
                return redirect(f"/o/{organization.pk}/")
    return render(request, "organizations/home.html", {"memberships": memberships})


@require_http_methods(["GET", "POST"])
@signed_in_view
def new(request: PersonRequest) -> HttpResponse:
    form = NameForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            organization = services.create_organization(name=form.cleaned_data["name"], owner=request.user)
        except services.OrganizationError as error:
            form.add_error("name", error.detail)
        else:
            return redirect(f"/o/{organization.pk}/")
    return render(request, "organizations/new.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "POST"])
@organization_view(Ability.VIEW)
def settings(request: MemberRequest) -> HttpResponse:
    """What members see of the settings, and what those who may can change."""
    organization = request.organization
    form = SettingsForm.of(organization)
    if request.method == "POST":
        check_ability(request.membership, Ability.MANAGE)
        form = SettingsForm(request.POST)
        if form.is_valid():
            try:
                changed = services.change_settings(organization=organization, actor=request.user, **form.cleaned_data)
            except services.OrganizationError as error:
                form.add_error(None, error.detail)
            else:
                messages.success(request, "The settings are saved." if changed else "Nothing was changed.")
                return redirect("organization_settings", organization_id=organization.pk)
    owners = Membership.objects.filter(organization=organization, role=Membership.Role.OWNER)
    is_last_owner = request.membership.role == Membership.Role.OWNER and owners.count() == 1
    context = {
        "form": form,
        "zones": ZONES,
        "can_manage": Ability.MANAGE in ABILITIES[request.membership.role],
        "can_delete": Ability.OWN in ABILITIES[request.membership.role],
        "is_last_owner": is_last_owner,
        "grace_days": services.GRACE.days,
    }
    return render(request, "organizations/settings.html", context, status=422 if form.errors else 200)


@require_POST
@organization_view(Ability.OWN)
def delete(request: MemberRequest) -> HttpResponse:
    """Asks for the deletion; the name has to be typed."""
    if request.POST.get("name", "").strip() != request.organization.name.strip():
        messages.error(request, "Nothing was deleted: what you typed is not the organization's name.")
        return redirect("organization_settings", organization_id=request.organization.pk)
    services.request_deletion(organization=request.organization, actor=request.user)
    request.session.pop(LAST_ORGANIZATION, None)
    return redirect("organization_deleting", organization_id=request.organization.pk)


@require_http_methods(["GET", "POST"])
@signed_in_view
def deleting(request: PersonRequest, organization_id: uuid.UUID) -> HttpResponse:
    """For owners of an organization that is to be deleted: until when, and the way back."""
    organization = selectors.deleting_organization(user=request.user, organization_id=organization_id)
    if organization is None:
        raise Http404
    if request.method == "POST":
        services.cancel_deletion(organization_id=organization_id, actor=request.user)
        messages.success(request, f"{organization} is back. Its keys work again.")
        return redirect(f"/o/{organization_id}/")
    return render(request, "organizations/deleting.html", {"organization": organization})


def remember_invitation(request: HttpRequest, token: str) -> None:
    """Leads whoever signs in or up in this browser back to an invitation."""
    request.session[INVITATION] = token
