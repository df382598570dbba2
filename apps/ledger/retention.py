"""Deleting usage that an organization no longer keeps: the one way in which rows leave the ledger.

Only the owner of the tables may; the runtime role has no right to (tenancy/roles.py). Each batch of events is one
transaction with its entry in the trail, which says how many there were and which cost left the totals with them.
"""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import BigIntegerField, DateTimeField, Max, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Cast
from django.utils import timezone

from apps.audit.models import Entry
from apps.audit.services import record
from apps.ledger.columns import exact
from apps.ledger.models import SpanLink, UsageEvent
from apps.ledger.outbox import leave_note
from apps.ledger.selectors.filters import projects_with_events
from apps.ledger.standing import lock_project
from tenancy.roles import as_owner

# Events a transaction deletes, with their adjustments.
BATCH = 5_000
# How long links are kept: calls of one trace that arrive further apart are not recognized as one.
LINKS_KEPT = timedelta(days=1)
# Its name in the trail.
DELETED = "usage.deleted"


def apply_retention(days: int | None, *, batches: int) -> bool:
    """Deletes up to so many batches of the oldest events, begun more than `days` ago; whether there are more. None
    keeps everything."""
    if days is None:
        return False
    before = timezone.now() - timedelta(days=days)
    for project_id in projects_with_events():
        while _has_older(project_id, before):
            if not batches:
                return True
            delete_batch(project_id, before)
            batches -= 1
    return False


def _has_older(project_id: uuid.UUID, before: datetime) -> bool:
    return UsageEvent.objects.filter(project_id=project_id, occurred_at__lt=before).exists()


def delete_batch(project_id: uuid.UUID, before: datetime) -> int:
    """Deletes the project's BATCH oldest events of before the time; how many there were."""
    with as_owner(), transaction.atomic():
        # So that nobody adjusts what goes.
        lock_project(project_id)
        old = UsageEvent.objects.filter(project_id=project_id, occurred_at__lt=before).order_by("occurred_at", "id")
        rows = list(old.values_list("id", "occurred_at")[:BATCH])
        if not rows:
            return 0
        ids, first, last = [row_id for row_id, _ in rows], rows[0][1], rows[-1][1]
        gone = _gone(ids)
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM ledger_adjustment WHERE event_id = ANY(%s)", [ids])
            cursor.execute("DELETE FROM ledger_usageevent WHERE id = ANY(%s)", [ids])
        leave_note(recount_project_id=project_id, recount_from=first, recount_to=last)
        record(DELETED, actor=None, project_id=project_id, before=before.date().isoformat(), **gone)
    return len(ids)


def _gone(ids: list[uuid.UUID]) -> dict[str, Any]:
    """What is about to leave: numbers of rows and, by currency, what they cost as they stood."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT currency, sum(cost), count(*) FILTER (WHERE is_event), count(*) FILTER (WHERE NOT is_event),
                   min(occurred_at), max(occurred_at)
              FROM (SELECT currency, cost, occurred_at, true AS is_event FROM ledger_usageevent WHERE id = ANY(%(ids)s)
                     UNION ALL
                    SELECT currency, cost, occurred_at, false FROM ledger_adjustment WHERE event_id = ANY(%(ids)s))
             GROUP BY currency ORDER BY currency
            """,
            {"ids": ids},
        )
        rows = cursor.fetchall()
    costs: dict[str, Decimal] = {currency: cost for currency, cost, *_ in rows if cost is not None}
    return {
        "events": sum(events for *_, events, _, _, _ in rows),
        "adjustments": sum(adjustments for *_, adjustments, _, _ in rows),
        "first": min(first for *_, first, _ in rows).isoformat(),
        "last": max(last for *_, last in rows).isoformat(),
        "costs": {currency: exact(cost) for currency, cost in costs.items()},
    }


def deleted_until() -> dict[uuid.UUID, datetime]:
    """By project, when the last of its calls began that were deleted, as the trail has it."""
    last = Max(Cast(KT("detail__last"), DateTimeField()))
    return dict(Entry.objects.filter(action=DELETED).values_list("project_id").order_by().annotate(last=last))


def adjustments_deleted_since(moment: datetime) -> int:
    """How many went with their events, of all projects, as the trail has it."""
    found = Entry.objects.filter(action=DELETED, created_at__gte=moment)
    count: int = found.aggregate(count=Sum(Cast(KT("detail__adjustments"), BigIntegerField()), default=0))["count"]
    return count


def delete_old_links() -> int:
    """Deletes span links of more than LINKS_KEPT ago, in batches; how many."""
    # The ids are UUIDv7 (RFC 9562): 48 bits of milliseconds since 1970, then what tells those of one apart.
    since_1970 = timezone.now() - LINKS_KEPT - datetime(1970, 1, 1, tzinfo=UTC)
    first_kept = uuid.UUID(int=(since_1970 // timedelta(milliseconds=1)) << 80)
    deleted = 0
    while ids := list(SpanLink.objects.filter(id__lt=first_kept).order_by("id").values_list("id", flat=True)[:BATCH]):
        deleted += SpanLink.objects.filter(id__in=ids).delete()[0]
    return deleted
