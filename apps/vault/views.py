"""The page of a project's provider keys."""

import uuid

import msgspec
from django.http import HttpResponse
from django.views.decorators.http import require_GET

from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import ABILITIES, HOLDERS_OF_ALL, Ability
from apps.projects.pages import render_project_page
from apps.projects.selectors import access_project, siblings
from apps.vault import selectors
from apps.vault.providers import PROVIDERS


@require_GET
@organization_view(Ability.VIEW)
def provider_keys(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    project = access_project(project_id)
    abilities, vault = ABILITIES[request.membership.role], getattr(request.user, "vault", None)
    holds_grant = vault is not None and selectors.holds_grant(project, vault)
    keeps = Ability.KEEP in abilities and (holds_grant or request.membership.role in HOLDERS_OF_ALL)
    data = {
        "project_id": project.id,
        "provider_keys": selectors.provider_keys(project),
        "providers": PROVIDERS,
        "is_archived": project.archived_at is not None,
        "may_seal": Ability.SEAL in abilities and project.archived_at is None,
        "may_keep": keeps and project.archived_at is None,
        "may_reveal": Ability.KEEP in abilities and holds_grant,
        # Where a key can be copied to: the other environments of the same name.
        "environments": [
            {"project_id": other.project.id, "label": other.label}
            for other in siblings(project)
            if other.project is not None and other.project.id != project.id
        ],
    }
    return render_project_page(request, "vault/provider_keys.html", project, {"data": msgspec.to_builtins(data)})
