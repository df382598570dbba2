"""Telling those who sum the ledger up what a transaction did to it. (What ingestion stores notes itself: rows.py.)"""

from functools import partial
from typing import Any

from django.db import transaction

from apps.activity.services import note_change
from apps.ledger.models import Outbox
from tenancy.scope import require_tenant_id


def leave_note(**fields: Any) -> None:
    """A note with these fields of Outbox, in the caller's transaction, and word of it when that is committed."""
    Outbox.objects.create(**fields)
    transaction.on_commit(partial(note_change, require_tenant_id()))
