"""What becomes of memberships when somebody deletes their account."""

from collections.abc import Iterable

from django.urls import reverse

from apps.accounts import deletion
from apps.accounts.models import User
from apps.members import selectors, services


def register() -> None:
    deletion.obstacles.append(sole_ownerships)
    deletion.removals.append(leave_everything)


def sole_ownerships(user: User) -> Iterable[deletion.Obstacle]:
    """Organizations must not be left without an owner."""
    for organization in selectors.sole_ownerships(user):
        yield deletion.Obstacle(
            text=f"You are the only owner of {organization}. Make somebody else an owner, or delete it.",
            href=reverse("members", args=[organization.pk]),
        )


def leave_everything(user: User) -> None:
    """Grants and memberships go, and what the person held is marked for rotation."""
    services.leave_everything(user=user)
