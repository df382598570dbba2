"""Grants that a reset left behind, for a person who found the recovery key of their old account keys."""

import uuid
from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_GET

from apps.accounts.access import PersonRequest, signed_in_view
from apps.accounts.models import Vault
from apps.organizations.models import Membership, Organization
from apps.projects.models import ProjectKey
from apps.vault.models import Grant
from cryptokit.encoding import b64u
from tenancy import tenant_scope
from web.api import json_response


@require_GET
@signed_in_view
def stale_grants(request: PersonRequest) -> HttpResponse:
    """`{grants: [{organization_id, project_id, generation, public_key, akv, envelope}]}` of all the person's
    organizations. Bytes are url-safe base64."""
    vault = Vault.objects.get(user=request.user)
    memberships = Membership.objects.select_related("organization").filter(
        user=request.user, organization__status=Organization.Status.READY
    )
    found: list[dict[str, Any]] = []
    for membership in memberships:
        with tenant_scope(membership.organization):
            found += stale_grants_of(vault, membership.organization_id)
    return json_response({"grants": found})


def stale_grants_of(vault: Vault, organization_id: uuid.UUID) -> list[dict[str, Any]]:
    """The vault's own grants to older keys where it has none to the current ones. Grants by teammates that were never
    opened are left out: whoever sent those can send new ones. The caller is in the organization's scope."""
    grants = list(
        Grant.objects.filter(recipient_vault=vault.id, project__archived_at=None, project__deleted_at=None).order_by(
            "recipient_account_key_version"
        )
    )
    public_keys = {
        (key.project_id, key.generation): bytes(key.public_key)
        for key in ProjectKey.objects.filter(project_id__in={grant.project_id for grant in grants})
    }
    current = {
        (grant.project_id, grant.generation)
        for grant in grants
        if grant.recipient_account_key_version == vault.account_key_version
    }
    # The newest of several old ones: later in the order.
    newest = {
        (grant.project_id, grant.generation): grant
        for grant in grants
        if grant.recipient_account_key_version < vault.account_key_version and grant.envelope.startswith("W1.")
    }
    return [
        {
            "organization_id": organization_id,
            "project_id": grant.project_id,
            "generation": grant.generation,
            "public_key": b64u(public_keys[place]),
            "akv": grant.recipient_account_key_version,
            "envelope": grant.envelope,
        }
        for place, grant in newest.items()
        if place not in current and place in public_keys
    ]
