"""Noting that an organization's ledger changed, and keeping what its days come to."""

import logging
import time
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from uuid import UUID

from django.db import DatabaseError
from django.db.models import F
from django.db.models.functions import Greatest

from apps.activity.models import Activity, DailyUsage
from apps.organizations.models import Organization
from tenancy.sql import Statement

logger = logging.getLogger(__name__)

# A process notes an organization's changes once in so long: whoever reads a note must look twice as long after it.
NOTED_EVERY = timedelta(seconds=1)
_noted: dict[UUID, float] = {}

_NOTE = Statement("""
    INSERT INTO public.activity_activity (organization_id, changed_at) VALUES ($1, now())
        ON CONFLICT (organization_id) DO UPDATE SET changed_at = excluded.changed_at
""")


def note_change(organization_id: UUID) -> None:
    """For whoever has just committed to an organization's ledger. It costs nothing but once a second.

    A note that is lost costs a delay: analytics.sweep looks without one. So nothing fails because of it.
    """
    now = time.monotonic()
    if now - _noted.get(organization_id, float("-inf")) < NOTED_EVERY.total_seconds():
        return
    _noted[organization_id] = now
    try:
        _NOTE.fetch_all(organization_id)
    except DatabaseError:
        logger.warning("a change of usage could not be noted", exc_info=True)


def changed_organizations() -> list[UUID]:
    """Those whose ledger may have changed since it was summed up."""
    changed = Activity.objects.filter(summed_at__isnull=True) | Activity.objects.filter(
        changed_at__gt=F("summed_at") - 2 * NOTED_EVERY
    )
    ready = Organization.objects.filter(status=Organization.Status.READY).values("id")
    found = changed.filter(organization_id__in=ready).order_by("changed_at")
    return list(found.values_list("organization_id", flat=True))


def note_summed(organization_id: UUID, as_of: datetime) -> None:
    """All that was committed before is summed up."""
    Activity.objects.filter(organization_id=organization_id).update(summed_at=Greatest(F("summed_at"), as_of))


def replace_days(organization_id: UUID, days: Sequence[date] | None, rows: Iterable[DailyUsage]) -> None:
    """These rows instead of what there was of these days; of all days where None. Inside the caller's transaction."""
    gone = DailyUsage.objects.filter(organization_id=organization_id)
    (gone if days is None else gone.filter(day__in=days)).delete()
    DailyUsage.objects.bulk_create(rows, batch_size=1_000)
