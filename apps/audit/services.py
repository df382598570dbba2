"""Adds to the trail. Callers are in the organization's scope, in the transaction that does what is recorded."""

import uuid
from typing import Any

from apps.accounts.models import User
from apps.audit.actions import ACTIONS
from apps.audit.models import Entry


def record(
    action: str,
    *,
    actor: User | None,
    subject: str = "",
    project_id: uuid.UUID | None = None,
    **detail: Any,
) -> Entry:
    """Adds an entry. `action` is one of ACTIONS; `subject` names what it was done to; `detail` is JSON and holds
    names, counts and times, never a secret."""
    assert action in ACTIONS, action
    return Entry.objects.create(
        actor_id=actor.id if actor else None,
        actor=actor.email if actor else "",
        action=action,
        project_id=project_id,
        subject=subject[:320],
        detail=detail,
    )
