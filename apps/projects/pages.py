"""The frame of a project's pages: what templates/projects/frame.html shows, whichever app renders the page."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render

from apps.organizations.access import MemberRequest
from apps.organizations.roles import ABILITIES, Ability
from apps.projects.models import Project
from apps.projects.selectors import siblings


def render_project_page(
    request: MemberRequest,
    template: str,
    project: Project,
    context: dict[str, Any] | None = None,
    *,
    status: int = 200,
) -> HttpResponse:
    """A page that extends projects/frame.html.

    The template has `project`, `siblings`, `base` (the address the project's pages begin with), and what the member
    `may` do: `may.seal`, `may.keep`, `may.manage`.
    """
    abilities = ABILITIES[request.membership.role]
    organization = f"/o/{request.organization.id}/"
    return render(
        request,
        template,
        {
            "project": project,
            "siblings": siblings(project),
            "base": f"{organization}projects/{project.id}/",
            "crumbs": [(organization, "Projects")],
            "may": {ability.value: ability in abilities for ability in Ability},
            **(context or {}),
        },
        status=status,
    )
