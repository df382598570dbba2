"""What the frame of every signed-in page shows."""

from typing import Any

from django.http import HttpRequest

from apps.organizations.models import Membership, Organization
from apps.organizations.roles import ABILITIES


def shell(request: HttpRequest) -> dict[str, Any]:
    """`shell.memberships` (of organizations that can be entered, by name), `shell.organization` and
    `shell.abilities` (of the member in the current one). Empty for visitors; the query runs when a page asks."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"shell": {"memberships": [], "organization": None, "abilities": frozenset()}}
    current = getattr(request, "membership", None)
    return {
        "shell": {
            "memberships": Membership.objects.select_related("organization")
            .filter(user=user, organization__status=Organization.Status.READY)
            .order_by("organization__name", "organization_id"),
            "organization": current.organization if current else None,
            "abilities": ABILITIES[current.role] if current else frozenset(),
        }
    }
