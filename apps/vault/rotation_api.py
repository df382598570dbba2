"""The page of a project's ANY_LLM_KEY, and what its module calls."""

import uuid

from django.http import HttpResponse
from django.views.decorators.http import require_GET

from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.roles import Ability
from apps.projects.selectors import access_project
from apps.vault.keyset import keyset
from web.api import json_response


@require_GET
@organization_view(Ability.VIEW)
def keyset_view(request: MemberRequest, project_id: uuid.UUID) -> HttpResponse:
    """GET …/keyset — what a browser needs to seal, open and rotate (apps/vault/keyset.py has the shape)."""
    return json_response(keyset(access_project(project_id), getattr(request.user, "vault", None)))
