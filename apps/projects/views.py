"""Pages of projects: the overview, making one, its settings, its clients. The pages of its keys are the vault's."""

import uuid

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import ABILITIES, Ability
from apps.projects import clients, selectors, services
from apps.projects.forms import ClientForm, DeletionForm, ProjectForm
from apps.projects.models import Client, Project
from apps.projects.pages import render_project_page
from apps.projects.selectors import access_project
from apps.projects.services import ProjectError, ProjectExistsError


@require_GET
@organization_view(Ability.VIEW)
def overview(request: MemberRequest) -> HttpResponse:
    """GET / — every project with its environments side by side."""
    return _overview(request, archived=False)


@require_GET
@organization_view(Ability.VIEW)
def archived(request: MemberRequest) -> HttpResponse:
    """GET projects/archived/"""
    return _overview(request, archived=True)


def _overview(request: MemberRequest, *, archived: bool) -> HttpResponse:
    return render(
        request,
        "projects/overview.html",
        {
            "groups": selectors.overview(archived=archived),
            "archived": archived,
            "archived_count": selectors.archived_count(),
            "may_manage": Ability.MANAGE in ABILITIES[request.membership.role],
            "base": _organization(request),
            "crumbs": [(_organization(request), "Projects")] if archived else [],
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@organization_view(Ability.MANAGE)
def new(request: MemberRequest) -> HttpResponse:
    """GET, POST projects/new/ — makes a project and goes on to its ANY_LLM_KEY."""
    initial = {
        "name": request.GET.get("name", "")[:255],
        "environment": request.GET.get("environment", Project.Environment.PRODUCTION),
    }
    form = ProjectForm(request.POST) if request.method == "POST" else ProjectForm(initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            project = services.create_project(**form.cleaned_data, actor=request.user)
        except (ProjectError, ProjectExistsError) as error:
            form.add_error("name", error.detail)
        else:
            return redirect("project_key", request.organization.id, project.id)
    context = {
        "form": form,
        "names": selectors.names(),
        "crumbs": [(_organization(request), "Projects")],
        "base": _organization(request),
    }
    return render(request, "projects/new.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@organization_view(Ability.MANAGE)
def settings(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """GET, POST …/settings/ — name, environment, description; and the end of the project."""
    project = access_project(project_id)
    known = {"name": project.name, "environment": project.environment, "description": project.description}
    form = ProjectForm(request.POST) if request.method == "POST" else ProjectForm(initial=known)
    if request.method == "POST" and form.is_valid():
        try:
            services.change_project(project_id=project.id, **form.cleaned_data, actor=request.user)
        except (ProjectError, ProjectExistsError) as error:
            form.add_error("name", error.detail)
        else:
            messages.success(request, "The project was saved.")
            return redirect("project_settings", request.organization.id, project.id)
    return render_project_page(
        request,
        "projects/settings.html",
        project,
        {"form": form, "names": selectors.names()},
        status=422 if form.errors else 200,
    )


@require_POST
@organization_view(Ability.MANAGE)
def archive(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    project = services.archive_project(project_id=access_project(project_id).id, actor=request.user)
    messages.success(request, f"{services.label(project)} was archived. Its ANY_LLM_KEY opens nothing any more.")
    return redirect("project_settings", request.organization.id, project.id)


@require_POST
@organization_view(Ability.MANAGE)
def restore(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    project = services.restore_project(project_id=access_project(project_id).id, actor=request.user)
    messages.success(request, f"{services.label(project)} is back, and its ANY_LLM_KEY works again.")
    return redirect("project_settings", request.organization.id, project.id)


@require_POST
@organization_view(Ability.MANAGE)
def delete(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/delete DeletionForm — for good."""
    project = access_project(project_id)
    form = DeletionForm(request.POST)
    if not form.is_valid() or form.cleaned_data["name"] != project.name:
        messages.error(request, "Nothing was deleted: the name you typed is not the name of the project.")
        return redirect("project_settings", request.organization.id, project.id)
    services.delete_project(project_id=project.id, actor=request.user)
    messages.success(request, f"{services.label(project)} was deleted. Its usage stays in the ledger.")
    return redirect(_organization(request))


@require_GET
@organization_view(Ability.VIEW)
def client_list(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """GET …/clients/"""
    return _clients(request, access_project(project_id), ClientForm())


@require_POST
@organization_view(Ability.KEEP)
def client_add(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    project, form = access_project(project_id), ClientForm(request.POST)
    if form.is_valid():
        try:
            clients.add_client(project=project, name=form.cleaned_data["name"], actor=request.user)
        except (clients.ClientError, clients.ClientExistsError) as error:
            form.add_error("name", error.detail)
        else:
            return _to_clients(request, project)
    return _clients(request, project, form, status=422)


@require_POST
@organization_view(Ability.KEEP)
def client_rename(request: MemberRequest, project_id: uuid.UUID, client_id: uuid.UUID) -> HttpResponse:
    project, form = access_project(project_id), ClientForm(request.POST)
    if form.is_valid():
        try:
            clients.rename_client(
                project=project, client_id=client_id, name=form.cleaned_data["name"], actor=request.user
            )
        except (clients.ClientError, clients.ClientExistsError) as error:
            messages.error(request, error.detail)
    else:
        messages.error(request, "Give the client a name of 1 to 255 characters.")
    return _to_clients(request, project)


@require_POST
@organization_view(Ability.KEEP)
def client_default(request: MemberRequest, project_id: uuid.UUID, client_id: uuid.UUID) -> HttpResponse:
    project = access_project(project_id)
    clients.make_default(project=project, client_id=client_id, actor=request.user)
    return _to_clients(request, project)


@require_POST
@organization_view(Ability.KEEP)
def client_remove(request: MemberRequest, project_id: uuid.UUID, client_id: uuid.UUID) -> HttpResponse:
    project = access_project(project_id)
    clients.remove_client(project=project, client_id=client_id, actor=request.user)
    return _to_clients(request, project)


def _clients(request: MemberRequest, project: Project, form: ClientForm, status: int = 200) -> HttpResponse:
    context = {
        "form": form,
        "clients": Client.objects.filter(project=project).order_by("-is_default", "name"),
        "most": clients.MOST_CLIENTS,
        "head": selectors.head_generation(project),
    }
    return render_project_page(request, "projects/clients.html", project, context, status=status)


def _to_clients(request: MemberRequest, project: Project) -> HttpResponse:
    return redirect("project_clients", request.organization.id, project.id)


def _organization(request: MemberRequest) -> str:
    return f"/o/{request.organization.id}/"
