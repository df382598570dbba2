"""What a project did last, and what is oldest."""

import uuid
from datetime import datetime

from django.db import connection
from django.db.models import Max

from apps.ledger.models import UsageEvent
from apps.ledger.selectors.filters import projects_with_events

# How far back a question about recent calls looks: a bound on its cost, not a promise.
RECENT_EVENTS = 5_000


def recent_clients(*, project_id: uuid.UUID, provider_key_id: uuid.UUID) -> list[tuple[str, datetime]]:
    """Who used a provider key among the project's latest calls: names ("" for programs that give none), last first."""
    recent = UsageEvent.objects.filter(project_id=project_id).order_by("-occurred_at").values("id")[:RECENT_EVENTS]
    found = (
        UsageEvent.objects.filter(id__in=recent, provider_key_id=provider_key_id)
        .values_list("client_name")
        .annotate(last=Max("occurred_at"))
        .order_by("-last")
    )
    return list(found)


def latest_event(project_id: uuid.UUID) -> UsageEvent | None:
    """The project's newest call."""
    return UsageEvent.objects.filter(project_id=project_id).order_by("-occurred_at").first()


def oldest_call() -> datetime | None:
    """When the oldest call of the organization began: a step in the index for each of its projects."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT min(oldest.occurred_at)
              FROM unnest(%s::uuid[]) AS project (id)
             CROSS JOIN LATERAL (SELECT e.occurred_at FROM ledger_usageevent e WHERE e.project_id = project.id
                                  ORDER BY e.occurred_at, e.id LIMIT 1) AS oldest
            """,
            [projects_with_events()],
        )
        found: list[tuple[datetime | None]] = cursor.fetchall()
    return found[0][0]
