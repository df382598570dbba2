"""Deleting an account: what stands against it, and what goes with it.

Other apps know of things that hang on a person and are not of this app. They register here, in their AppConfig's
`ready`: `obstacles.append(...)` and `removals.append(...)`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from django.core.mail import send_mail
from django.db import transaction
from django.template.loader import render_to_string

from apps.accounts.models import User
from web.errors import DomainError


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why somebody can't leave yet: a sentence, and the page where that is changed."""

    text: str
    href: str


class DeletionRefusedError(DomainError):
    status = 409
    code = "deletion_refused"


# Each is asked about a person. Called inside the transaction that deletes, too, so they may lock what they read.
obstacles: list[Callable[[User], Iterable[Obstacle]]] = []
# Each takes away what is a person's in its app, and may work in tenants' schemas. Before the person's row goes.
removals: list[Callable[[User], None]] = []


def deletion_obstacles(user: User) -> list[Obstacle]:
    return [obstacle for ask in obstacles for obstacle in ask(user)]


@transaction.atomic
def delete_account(*, user: User) -> None:
    """The person, their vault with all ways to open it, sessions, second factor, addresses and memberships.

    Raises DeletionRefusedError while something stands against it. What others need stays: entries of the audit trail
    and keys' statements name the person's ids.
    """
    user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if found := deletion_obstacles(user):
        raise DeletionRefusedError(found[0].text)
    for remove in removals:
        remove(user)
    # Everything of this app and of allauth that is the person's has on_delete=CASCADE.
    user.delete()
    transaction.on_commit(partial(_confirm_by_mail, user.email), robust=True)


def _confirm_by_mail(email: str) -> None:
    send_mail("Your account is deleted", render_to_string("accounts/email/deleted.txt"), None, [email])
