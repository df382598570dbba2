"""Reads of organizations."""

import uuid
from collections.abc import Iterator

from apps.accounts.models import User
from apps.organizations.models import Membership, Organization

# Organizations whose ids are asked for at once.
CHUNK = 1_000


def memberships_of(user: User) -> list[Membership]:
    """A person's, in organizations that can be entered or that they can take back from deletion, by name."""
    found = Membership.objects.select_related("organization").filter(
        user=user, organization__status__in=[Organization.Status.READY, Organization.Status.DELETING]
    )
    return [
        membership
        for membership in found.order_by("organization__name", "organization_id")
        if membership.organization.is_ready or membership.role == Membership.Role.OWNER
    ]


def ready_organizations() -> Iterator[list[uuid.UUID]]:
    """The ids of all organizations that can be entered, in lists."""
    ready = Organization.objects.filter(status=Organization.Status.READY).order_by("id").values_list("id", flat=True)
    last: uuid.UUID | None = None
    while ids := list((ready if last is None else ready.filter(id__gt=last))[:CHUNK]):
        yield ids
        last = ids[-1]


def deleting_organization(*, user: User, organization_id: uuid.UUID) -> Organization | None:
    """An organization that is to be deleted and that the person can take back."""
    return Organization.objects.filter(
        pk=organization_id,
        status=Organization.Status.DELETING,
        memberships__user=user,
        memberships__role=Membership.Role.OWNER,
    ).first()
