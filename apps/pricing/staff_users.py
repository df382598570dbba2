"""Who decides on list prices, and how they hear that something waits for them. `manage.py staff` says who is staff."""

import logging

from django.core.mail import EmailMessage
from django.db.models import QuerySet
from django.template.loader import render_to_string

from apps.accounts.models import User, canonical_email
from apps.pricing.diffs import NOTHING, lines_of, size_of
from apps.pricing.models import PriceSnapshot
from web.errors import DomainError

logger = logging.getLogger(__name__)

# Changes that a mail shows; the rest is behind a command.
SHOWN = 12


class NotStaffError(DomainError):
    status = 403
    code = "not_staff"


def check_staff(by: str) -> str:
    """The address of an active staff user as accounts have it. Raises NotStaffError."""
    address = canonical_email(by)
    if "\0" in address or not _staff().filter(email=address).exists():
        raise NotStaffError(f"{by!r} is no staff member's address. `manage.py staff` says who is.")
    return address


def mail_waiting(snapshot: PriceSnapshot) -> None:
    """Tells each of staff what a pending snapshot changes, worst first. Call it after the commit: mail that can't be
    handed on is logged, and changes nothing."""
    addresses = list(_staff().order_by("email").values_list("email", flat=True))
    if not addresses:
        logger.warning("Nobody is staff, so nobody was told that %s waits.", snapshot)
    diff = {**NOTHING, **(snapshot.diff or {})}
    lines = list(lines_of(diff))
    context = {"snapshot": snapshot, "size": size_of(diff), "lines": lines[:SHOWN], "more": len(lines[SHOWN:])}
    subject = " ".join(render_to_string("email/prices_waiting_subject.txt", context).split())
    for address in addresses:
        text = render_to_string("email/prices_waiting.txt", {**context, "address": address})
        try:
            EmailMessage(subject, text, to=[address]).send()
        except OSError:
            logger.warning("Could not mail %s that %s waits.", address, snapshot, exc_info=True)


def _staff() -> "QuerySet[User]":
    return User.objects.filter(is_active=True, is_staff=True)
