"""Pages about who belongs to an organization."""

import uuid
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.audit import selectors as audit
from apps.members import checklist as checklists
from apps.members import selectors, services
from apps.members.forms import AccessForm, InvitationForm
from apps.members.mail import send_invitation
from apps.members.selectors import MemberRow
from apps.organizations.access import LAST_ORGANIZATION, MemberRequest, NotAllowedError, organization_view
from apps.organizations.models import Membership
from apps.organizations.roles import ABILITIES, DESCRIPTIONS, KEY_HOLDERS, Ability
from apps.projects.models import Project
from apps.projects.selectors import access_project
from apps.vault.grants import vault_of
from apps.vault.keyset import identity_of

ENTRIES_ON_A_PAGE = 50


def _may(request: MemberRequest, ability: Ability) -> bool:
    return ability in ABILITIES[request.membership.role]


def _member(request: MemberRequest, membership_id: int) -> MemberRow:
    row = selectors.member(request.organization, membership_id)
    if row is None:
        raise Http404
    return row


def _to_members(request: MemberRequest) -> HttpResponse:
    return redirect("members", organization_id=request.organization.pk)


@require_GET
@organization_view(Ability.VIEW)
def members(request: MemberRequest) -> HttpResponse:
    rows = selectors.members(request.organization)
    can_manage = _may(request, Ability.MANAGE)
    context = {
        "rows": rows,
        "waiting": [row for row in rows if row.is_waiting and row.membership.user_id != request.user.id],
        "own": next(row for row in rows if row.membership.user_id == request.user.id),
        "invitations": selectors.open_invitations(request.organization) if can_manage else [],
        "now": timezone.now(),
        "can_manage": can_manage,
        "can_own": _may(request, Ability.OWN),
        "due": list(Project.objects.filter(rotation_required_since__isnull=False, deleted_at=None).order_by("name")),
    }
    return render(request, "members/members.html", context)


# --- Invitations ---


@require_http_methods(["GET", "POST"])
@organization_view(Ability.MANAGE)
def invite(request: MemberRequest) -> HttpResponse:
    form = InvitationForm(
        request.POST or None,
        actor=request.membership,
        choose_from=selectors.projects(),
        initial={"role": Membership.Role.DEVELOPER},
    )
    if request.method == "POST" and form.is_valid():
        try:
            sent = services.invite(
                actor=request.membership,
                email=form.cleaned_data["email"],
                role=form.cleaned_data["role"],
                project_ids=form.project_ids(),
            )
        except services.AlreadyMemberError as error:
            form.add_error("email", error.detail)
        except (services.MemberError, services.TooManyInvitationsError) as error:
            form.add_error(None, error.detail)
        else:
            _mail(request, sent)
            return _to_members(request)
    context = {"form": form, "descriptions": DESCRIPTIONS}
    return render(request, "members/invite.html", context, status=422 if form.errors else 200)


def _mail(request: MemberRequest, sent: services.Sent) -> None:
    """Sends the link and says how that went. The invitation is stored already: it can be sent again."""
    try:
        send_invitation(sent)
    except OSError:
        messages.error(
            request,
            f"The invitation of {sent.invitation.email} is stored, but mail can't be sent now. Send it again later.",
        )
    else:
        messages.success(request, f"We sent an invitation to {sent.invitation.email}.")


@require_POST
@organization_view(Ability.MANAGE)
def resend(request: MemberRequest, invitation_id: uuid.UUID) -> HttpResponse:
    try:
        sent = services.renew_invitation(actor=request.membership, invitation_id=invitation_id)
    except services.TooManyInvitationsError as error:
        messages.warning(request, error.detail)
    else:
        _mail(request, sent)
    return _to_members(request)


@require_POST
@organization_view(Ability.MANAGE)
def revoke(request: MemberRequest, invitation_id: uuid.UUID) -> HttpResponse:
    invitation = services.revoke_invitation(actor=request.membership, invitation_id=invitation_id)
    messages.success(request, f"The invitation of {invitation.email} is taken back: its link opens nothing now.")
    return _to_members(request)


# --- A member ---


@require_http_methods(["GET", "POST"])
@organization_view(Ability.MANAGE)
def access(request: MemberRequest, membership_id: int) -> HttpResponse:
    """A member's role and projects."""
    row = _member(request, membership_id)
    member = row.membership
    chosen = selectors.added_projects(member)
    choose_from = selectors.projects()
    # An archived project that they are in stays theirs unless somebody takes it away.
    choose_from += [project for project in chosen if project.archived_at]
    form = AccessForm(
        request.POST or None,
        actor=request.membership,
        choose_from=choose_from,
        initial={"role": member.role, "projects": [str(project.id) for project in chosen]},
    )
    is_above = member.role == Membership.Role.OWNER and not _may(request, Ability.OWN)
    if request.method == "POST" and form.is_valid():
        try:
            affected = services.set_access(
                actor=request.membership,
                membership_id=membership_id,
                role=form.cleaned_data["role"],
                project_ids=form.project_ids(),
            )
        except (services.MemberError, services.LastOwnerError) as error:
            form.add_error("role", error.detail)
        else:
            return _after_change(request, _member(request, membership_id), affected)
    context = {
        "row": row,
        "member": member,
        "lead": row.note,
        "form": form,
        "descriptions": DESCRIPTIONS,
        "is_last_owner": selectors.is_last_owner(member),
        "is_self": member.user_id == request.user.id,
        "is_above": is_above,
        "held": selectors.held_projects(member),
    }
    return render(request, "members/access.html", context, status=422 if form.errors else 200)


def _after_change(request: MemberRequest, row: MemberRow, affected: list[Project]) -> HttpResponse:
    member = row.membership
    if affected:
        messages.warning(request, "Saved. They held keys that they are not to hold any more: see what is left to do.")
        return redirect("members_checklists", organization_id=request.organization.pk)
    messages.success(request, f"{member.user} is {member.get_role_display()} now.")
    if row.is_waiting and member.user_id != request.user.id:
        return redirect("member_confirm", organization_id=request.organization.pk, membership_id=member.pk)
    return _to_members(request)


@require_GET
@organization_view(Ability.MANAGE)
def confirm(request: MemberRequest, membership_id: int) -> HttpResponse:
    """Where a member with keys compares fingerprints and hands keys on. The browser does the work."""
    row = _member(request, membership_id)
    member = row.membership
    own, theirs = vault_of(request.user), vault_of(member.user)
    base = f"/o/{request.organization.pk}/"
    data: dict[str, Any] | None = None
    if own and theirs:
        data = {
            "organization": str(request.organization.pk),
            "recipient": identity_of(theirs),
            "is_confirmed": member.confirmed_at is not None,
            "grants_url": f"{base}members/{member.pk}/grants",
            "members_url": f"{base}members/",
            "missing": [
                {
                    "project": str(holding.key.project_id),
                    "name": holding.key.project.name,
                    "environment": holding.key.project.get_environment_display(),
                    "generation": holding.key.generation,
                    "keyset_url": f"{base}projects/{holding.key.project_id}/keyset",
                }
                for holding in row.missing
            ],
        }
    context = {
        "row": row,
        "member": member,
        "lead": row.note,
        "data": data,
        "is_self": member.user_id == request.user.id,
        "is_holder": member.role in KEY_HOLDERS,
        "granter_waits": request.membership.confirmed_at is None,
    }
    return render(request, "members/confirm.html", context)


@require_http_methods(["GET", "POST"])
@organization_view(Ability.MANAGE)
def remove(request: MemberRequest, membership_id: int) -> HttpResponse:
    row = _member(request, membership_id)
    member = row.membership
    if member.user_id == request.user.id:
        return redirect("organization_settings", organization_id=request.organization.pk)
    if member.role == Membership.Role.OWNER and not _may(request, Ability.OWN):
        raise NotAllowedError("Only owners decide who is an owner.")
    if request.method == "POST":
        affected = services.remove_member(actor=request.membership, membership_id=membership_id)
        messages.success(request, f"{member.user} is removed and can't enter {request.organization} any more.")
        if affected:
            return redirect("members_checklists", organization_id=request.organization.pk)
        return _to_members(request)
    context = {
        "row": row,
        "member": member,
        "lead": row.note,
        "held": selectors.held_projects(member),
        "is_last_owner": selectors.is_last_owner(member),
    }
    return render(request, "members/remove.html", context)


@require_POST
@organization_view(Ability.VIEW)
def leave(request: MemberRequest) -> HttpResponse:
    try:
        services.leave(actor=request.membership)
    except services.LastOwnerError as error:
        messages.error(request, error.detail)
        return redirect("organization_settings", organization_id=request.organization.pk)
    request.session.pop(LAST_ORGANIZATION, None)
    messages.success(request, f"You left {request.organization}.")
    return redirect("organizations")


# --- What a removal leaves to do ---


@require_GET
@organization_view(Ability.VIEW)
def checklist_overview(request: MemberRequest) -> HttpResponse:
    """All projects whose keys somebody lost."""
    projects = Project.objects.filter(rotation_required_since__isnull=False, deleted_at=None).order_by("name")
    left = [found for project in projects if (found := checklists.checklist(project))]
    context = {"checklists": left, "can_manage": _may(request, Ability.MANAGE)}
    return render(request, "members/checklists.html", context)


@require_http_methods(["GET", "POST"])
@organization_view(Ability.VIEW)
def checklist(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    project = access_project(project_id)
    if request.method == "POST":
        if not _may(request, Ability.MANAGE):
            raise NotAllowedError("An owner or admin decides that enough was done.")
        if checklists.mark_done(project=project, actor=request.user):
            messages.success(request, f"{project} is marked as done.")
        return redirect("members_checklists", organization_id=request.organization.pk)
    context = {
        "project": project,
        "checklist": checklists.checklist(project),
        "can_manage": _may(request, Ability.MANAGE),
        "can_keep": _may(request, Ability.KEEP),
    }
    return render(request, "members/checklist.html", context)


# --- The trail ---


@require_GET
@organization_view(Ability.VIEW)
def activity(request: MemberRequest) -> HttpResponse:
    person, kind = request.GET.get("person", ""), request.GET.get("kind", "")
    entries = audit.entries(person=person, kind=kind)
    page = Paginator(entries, ENTRIES_ON_A_PAGE).get_page(request.GET.get("page"))
    context = {
        "page": page,
        "lines": [audit.line(entry) for entry in page],
        "people": audit.people(),
        "kinds": audit.KINDS,
        "person": person,
        "kind": kind,
    }
    return render(request, "audit/activity.html", context)
