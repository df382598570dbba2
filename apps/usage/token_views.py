"""Pages of a project's ingest tokens: what exporters report with that only know a static header."""

import uuid

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from apps.directory.ingest_tokens import MOST_TOKENS, IngestTokenError, live_tokens
from apps.directory.models import IngestToken
from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import HOLDERS_OF_ALL, Ability
from apps.projects.models import Project
from apps.projects.pages import render_project_page
from apps.projects.selectors import access_project
from apps.projects.services import ProjectArchivedError
from apps.usage import services
from apps.usage.forms import TokenForm
from apps.vault.selectors import holds_grant, people
from apps.vault.services import NoGrantError

# What stands in the examples where no token can be shown.
BLANK = "alpi_…"


@require_GET
@organization_view(Ability.VIEW)
def tokens(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """GET …/ingest-tokens/"""
    return _page(request, access_project(project_id), TokenForm())


@require_POST
@never_cache
@organization_view(Ability.KEEP)
def token_add(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """POST …/ingest-tokens/add — the answer is the one page that ever has the token's text."""
    project, form = access_project(project_id), TokenForm(request.POST)
    _check_holder(request, project)
    if form.is_valid():
        try:
            token, text = services.make_ingest_token(
                project=project, name=form.cleaned_data["name"], actor=request.user
            )
        except (IngestTokenError, ProjectArchivedError) as error:
            form.add_error("name", error.detail)
        else:
            return _page(request, project, TokenForm(), made=token, text=text)
    return _page(request, project, form, status=422)


@require_POST
@organization_view(Ability.KEEP)
def token_revoke(request: MemberRequest, project_id: uuid.UUID, token_id: uuid.UUID) -> HttpResponse:
    """POST …/ingest-tokens/<id>/revoke"""
    project = access_project(project_id)
    _check_holder(request, project)
    token = services.revoke_ingest_token(project=project, token_id=token_id, actor=request.user)
    messages.success(request, f"The token {token.name} is revoked. What reports with it is refused from now on.")
    return redirect("ingest_tokens", request.organization.id, project.id)


def _is_holder(request: MemberRequest, project: Project) -> bool:
    """Developers make tokens for the projects whose keys they hold, as with everything that reports in its name."""
    vault = getattr(request.user, "vault", None)
    return request.membership.role in HOLDERS_OF_ALL or (vault is not None and holds_grant(project, vault))


def _check_holder(request: MemberRequest, project: Project) -> None:
    if not _is_holder(request, project):
        raise NoGrantError("You don't hold this project's keys. Ask an owner or admin.")


def _page(
    request: MemberRequest,
    project: Project,
    form: TokenForm,
    *,
    made: IngestToken | None = None,
    text: str = "",
    status: int = 200,
) -> HttpResponse:
    live = live_tokens(project.id)
    context = {
        "form": form,
        "tokens": live,
        "people": people({token.created_by for token in live}),
        "most": MOST_TOKENS,
        "has_room": len(live) < MOST_TOKENS,
        "made": made,
        "text": text,
        "origin": settings.SITE_URL,
        "shown": text or BLANK,
        "is_holder": _is_holder(request, project),
        "destinations": DESTINATIONS,
        "emitters": EMITTERS,
    }
    return render_project_page(request, "usage/tokens.html", project, context, status=status)


# Where spans are to go; then what each library takes beside that.
DESTINATIONS = [
    {"label": "Environment", "source": "usage/emitters/environment.html"},
    {"label": "Collector", "source": "usage/emitters/collector.html"},
]
EMITTERS = [
    {"label": "OpenTelemetry", "source": "usage/emitters/opentelemetry.html"},
    {"label": "OpenLLMetry", "source": "usage/emitters/openllmetry.html"},
    {"label": "OpenInference", "source": "usage/emitters/openinference.html"},
    {"label": "pydantic-ai", "source": "usage/emitters/pydantic_ai.html"},
    {"label": "Logfire", "source": "usage/emitters/logfire.html"},
    {"label": "Langfuse", "source": "usage/emitters/langfuse.html"},
    {"label": "MLflow", "source": "usage/emitters/mlflow.html"},
    {"label": "Anthropic SDK", "source": "usage/emitters/anthropic.html"},
]
