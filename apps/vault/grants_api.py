"""What a page calls to hand keys on."""

import uuid

import msgspec
from django.contrib import messages
from django.http import HttpResponse
from django.views.decorators.http import require_POST

from apps.accounts.reauthentication import require_recent
from apps.organizations.access import MemberRequest, organization_view
from apps.organizations.models import Membership
from apps.organizations.roles import Ability
from apps.vault import grants
from web.api import json_response, read_json


class PostedGrant(msgspec.Struct):
    project_id: uuid.UUID
    generation: int
    envelope: str


class Confirmation(msgspec.Struct):
    account_key_version: int
    grants: list[PostedGrant]


@require_POST
@organization_view(Ability.MANAGE)
def confirm(request: MemberRequest, membership_id: int) -> HttpResponse:
    """Confirms a member and stores one batch of grants for them: all of it or, on any error, nothing."""
    body = read_json(request, Confirmation)
    require_recent(request)
    recipient = (
        Membership.objects.select_related("user__vault")
        .filter(pk=membership_id, organization=request.organization)
        .first()
    )
    vault = grants.vault_of(recipient.user) if recipient else None
    membership = grants.confirm_member(
        granter=request.membership,
        membership_id=membership_id,
        account_key_version=body.account_key_version,
        grants=[
            grants.SealedGrant(
                project_id=grant.project_id,
                generation=grant.generation,
                recipient_vault=vault.id,
                recipient_account_key_version=body.account_key_version,
                envelope=grant.envelope,
            )
            for grant in body.grants
            if vault
        ],
    )
    projects = len({grant.project_id for grant in body.grants})
    # Shown on the page that the module goes to.
    messages.success(
        request,
        f"{membership.user} has the keys of {projects} project{'' if projects == 1 else 's'} now."
        if projects
        else f"{membership.user} is confirmed.",
    )
    return json_response({"confirmed_at": membership.confirmed_at, "granted": len(body.grants)})
