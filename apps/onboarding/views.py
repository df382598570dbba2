"""The way of a new person from signing in to the first call. Every page can be skipped, left and come back to."""

import uuid
from typing import Any

import msgspec
from django.conf import settings
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from apps.accounts.access import PersonRequest, signed_in_view
from apps.accounts.adapter import INVITATION
from apps.accounts.selectors import recovery_status
from apps.onboarding.selectors import STEPS, Step, current_step, first_call, is_new, own_organization
from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import ABILITIES, Ability
from apps.projects.forms import ProjectForm
from apps.projects.models import Project
from apps.projects.selectors import access_project
from apps.projects.services import create_project
from apps.vault.models import ProviderKey
from apps.vault.providers import BY_NAME, PROVIDERS
from web.api import json_response
from web.errors import DomainError

# The last release that fetches keys and reports calls as this platform serves them (docs/sdk-contract.md).
SDK = "1.10.0"


@require_GET
@signed_in_view
def start(request: PersonRequest) -> HttpResponse:
    """Where signing in leads: new people set up their organization; the others, and those who followed an invitation,
    go to theirs."""
    is_invited = INVITATION in request.session
    return HttpResponseRedirect(reverse("welcome") if not is_invited and is_new(request.user) else "/o/")


@require_GET
@signed_in_view
def welcome(request: PersonRequest) -> HttpResponse:
    """The step that comes next."""
    found = current_step(request.user)
    if found is None:
        return HttpResponseRedirect("/o/")
    step, organization, project_id = found
    arguments: dict[str, Any] = {}
    if step is not Step.RECOVERY_KEY and organization is not None:
        arguments["organization_id"] = organization.id
    if project_id is not None:
        arguments["project_id"] = project_id
    return HttpResponseRedirect(reverse(f"welcome_{step.name.lower()}", kwargs=arguments))


@require_GET
@signed_in_view
def recovery_key(request: PersonRequest) -> HttpResponse:
    organization, vault = own_organization(request.user), getattr(request.user, "vault", None)
    context = {
        "recovery": recovery_status(vault) if vault else "missing",
        "next": reverse("welcome"),
        "skip": f"/o/{organization.id}/" if organization else "/o/",
    }
    return _render(request, Step.RECOVERY_KEY, context)


@require_http_methods(["GET", "HEAD", "POST"])
@organization_view(Ability.MANAGE)
def project(request: MemberRequest) -> HttpResponse:
    form = ProjectForm(request.POST if request.method == "POST" else None, initial={"environment": "production"})
    if request.method == "POST" and form.is_valid():
        try:
            made = create_project(**form.cleaned_data, actor=request.user)
        except DomainError as error:
            form.add_error("name", error.detail)
        else:
            return redirect("welcome_provider_key", organization_id=request.organization.id, project_id=made.id)
    return _render(request, Step.PROJECT, {"form": form}, status=422 if form.errors else 200)


@require_GET
@organization_view(Ability.MANAGE)
def provider_key(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    found = access_project(project_id)
    taken = ProviderKey.objects.filter(project=found, archived_at=None).values_list("provider", flat=True)
    data = {
        "base": _base(request, found),
        "providers": PROVIDERS,
        "taken": list(taken),
        "next": _url(request, Step.ANY_LLM_KEY, found),
    }
    return _render(request, Step.PROVIDER_KEY, {"project": found, "data": msgspec.to_builtins(data)})


@require_GET
@organization_view(Ability.KEEP)
def any_llm_key(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    found = access_project(project_id)
    context = {"project": found, "data": {"base": _base(request, found)}, "next": _url(request, Step.CONNECT, found)}
    return _render(request, Step.ANY_LLM_KEY, context)


@require_GET
@organization_view(Ability.VIEW)
def connect(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """Programs to copy, and two lamps: a key was fetched, a call was reported."""
    found = access_project(project_id)
    names = ProviderKey.objects.filter(project=found, archived_at=None).order_by("created_at")
    providers = [BY_NAME[name] for name in names.values_list("provider", flat=True) if name in BY_NAME]
    chosen = next((provider for provider in providers if provider.name == request.GET.get("provider")), None)
    provider = chosen or (providers[0] if providers else BY_NAME["openai"])
    context = {
        "project": found,
        "has_provider_key": names.exists(),
        "providers": providers,
        "provider": provider,
        "platform_url": f"{settings.SITE_URL}/api/v1",
        "sdk": SDK,
        "holds_keys": Ability.KEEP in ABILITIES[request.membership.role],
        "data": msgspec.to_builtins(
            {
                "base": _base(request, found),
                "first_call_url": reverse("first_call", args=[request.organization.id, found.id]),
                "first_call": first_call(found),
            }
        ),
        "tabs": [
            {"label": "Python", "source": "onboarding/snippets/python.html"},
            {"label": "Shell", "source": "onboarding/snippets/shell.html"},
            {"label": "Gateway", "source": "onboarding/snippets/gateway.html"},
        ],
    }
    return _render(request, Step.CONNECT, context)


@require_GET
@organization_view(Ability.VIEW)
def first_call_view(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """GET …/first-call — FirstCall, asked every few seconds by the page that waits for it."""
    return json_response(first_call(access_project(project_id)))


def _base(request: MemberRequest, project: Project) -> str:
    """Where the project's pages begin."""
    return reverse("provider_keys", args=[request.organization.id, project.id])


def _url(request: MemberRequest, step: Step, project: Project) -> str:
    return reverse(f"welcome_{step.name.lower()}", args=[request.organization.id, project.id])


def _render(request: PersonRequest, step: Step, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    organization = getattr(request, "organization", None)
    frame = {
        "steps": list(STEPS.values()),
        "current": list(STEPS).index(step) + 1,
        "organization": organization,
        "skip": f"/o/{organization.id}/" if organization else "/o/",
    }
    return render(request, f"onboarding/{step.name.lower()}.html", frame | context, status=status)
