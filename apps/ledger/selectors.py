"""Reads of the ledger. Callers are in the organization's scope."""

import uuid
from collections.abc import Iterator

from apps.ledger.models import UsageEvent


def usage_events(project_id: uuid.UUID) -> Iterator[UsageEvent]:
    """A project's events, oldest first, streamed."""
    return UsageEvent.objects.filter(project_id=project_id).order_by("occurred_at", "id").iterator(chunk_size=1_000)
