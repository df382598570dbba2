"""Calls in the ledger, priced as on arrival."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.utils import timezone

from apps.ledger.models import METER_COLUMNS, PriceStatus, UsageEvent
from apps.ledger.prices import price_of
from apps.pricing.meters import Meter
from apps.projects.models import Project

MINUTE = timedelta(minutes=1)


def add_event(
    project: Project,
    meters: dict[Meter, int] | None = None,
    *,
    at: datetime | None = None,
    same_call_as: uuid.UUID | None = None,
    **fields: Any,
) -> UsageEvent:
    """A call of gpt-4o-mini a minute ago, unless said otherwise. In the organization's scope."""
    meters = {Meter.INPUT: 1_200, Meter.OUTPUT: 300} if meters is None else meters
    moment = at or timezone.now() - MINUTE
    event = UsageEvent(
        event_id=uuid.uuid4(),
        project_id=project.id,
        key_generation=1,
        occurred_at=moment,
        price_status=PriceStatus.UNPRICED,
        same_call_as=same_call_as,
        **{"provider": "openai", "model": "gpt-4o-mini", "operation": "chat", "source": "json", **fields},
        **{METER_COLUMNS[meter]: count for meter, count in meters.items()},
    )
    price = price_of(event, meters, moment)
    if same_call_as is not None:
        event.price_status, event.price_reason = PriceStatus.DUPLICATE, "possible_duplicate"
    else:
        event.price_status, event.price_reason, event.price_rule = price.status, price.reason, price.rule
        event.price_snapshot_id, event.price_lines = price.snapshot_id, msgspec.to_builtins(price.lines)
        event.cost, event.currency = price.cost, price.currency
        event.flags = [*event.flags, *price.flags]
    event.save(force_insert=True)
    return event
