from collections.abc import Iterable

from django.apps import AppConfig
from django.urls import reverse

from apps.accounts import deletion


class MembersConfig(AppConfig):
    name = "apps.members"

    def ready(self) -> None:
        # Models can't be imported before all apps are loaded.
        from apps.accounts.models import User
        from apps.members import selectors, services

        def sole_ownerships(user: User) -> Iterable[deletion.Obstacle]:
            for organization in selectors.sole_ownerships(user):
                yield deletion.Obstacle(
                    text=f"You are the only owner of {organization}. Make somebody else an owner, or delete it.",
                    href=reverse("members", args=[organization.pk]),
                )

        def leave_everything(user: User) -> None:
            services.leave_everything(user=user)

        deletion.obstacles.append(sole_ownerships)
        deletion.removals.append(leave_everything)
