"""An event as it stands now, column by column: the same names and values in the API and in exports."""

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal

from apps.ledger.models import METER_COLUMNS, PriceStatus
from apps.ledger.standing import Standing
from apps.pricing.meters import Meter

Value = str | int | float | bool | uuid.UUID | datetime | Decimal | None


def _event(name: str) -> Callable[[Standing], Value]:
    """A fact. Text that the reporter left out is None."""

    def value(row: Standing) -> Value:
        fact: Value = getattr(row.event, name)
        return None if fact == "" else fact

    return value


def _meter(meter: Meter) -> Callable[[Standing], Value]:
    return lambda row: row.meters.get(meter)


def _flags(row: Standing) -> str | None:
    return " ".join(row.flags) or None


def _discount(row: Standing) -> Value:
    """Of the organization's, the one on its list prices: a call has one at most."""
    ids: list[int] = [line["discount_id"] for line in row.price.lines if "discount_id" in line]
    return ids[0] if ids else None


_FACTS_BEFORE = (
    "project_id", "occurred_at", "received_at", "source", "provider", "model", "request_model", "operation",
    "is_batch", "client_name", "provider_key_id", "session", "user_label", "ending", "error_type",
)  # fmt: skip
_FACTS_AFTER = (
    "time_to_first_token_ms", "time_to_last_token_ms", "total_duration_ms", "tokens_per_second", "chunks_received",
    "avg_chunk_size", "inter_chunk_latency_variance_ms", "trace_id", "parent_event_id", "response_id", "scope",
    "cache_in_input", "key_generation", "ingest_token_id", "sequence_source", "sequence_number",
)  # fmt: skip

# Quantities and the cost are what totals hold of the event: nothing for a duplicate. `id` is its reporter's.
COLUMNS: Mapping[str, Callable[[Standing], Value]] = {
    "id": _event("event_id"),
    **{name: _event(name) for name in _FACTS_BEFORE},
    "service_tier": lambda row: row.service_tier or None,
    "price_status": lambda row: PriceStatus(row.price.status).value,
    "price_reason": lambda row: row.price.reason or None,
    "price_rule": lambda row: row.price.rule or None,
    "price_snapshot_id": lambda row: row.price.snapshot_id,
    "discount_id": _discount,
    "cost": lambda row: row.price.cost,
    "currency": lambda row: row.price.currency or None,
    **{name: _meter(meter) for meter, name in METER_COLUMNS.items()},
    "reported_cost": _event("reported_cost"),
    "revision": lambda row: row.revision,
    "same_call_as": lambda row: row.same_call_as,
    "flags": _flags,
    **{name: _event(name) for name in _FACTS_AFTER},
}


def exact(amount: Decimal) -> str:
    """All digits that say something, never an exponent: 0.00004545, 12, 0."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def plain(value: Value) -> str | int | float | bool | None:
    """As JSON has it: amounts as text, exactly; times in ISO 8601, UTC."""
    match value:
        case Decimal():
            return exact(value)
        case datetime():
            return value.isoformat()
        case uuid.UUID():
            return str(value)
    return value
