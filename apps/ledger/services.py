"""Storing usage."""

from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec

from apps.directory.callers import Caller, refuse_revoked
from apps.directory.sql import CALLER
from apps.ledger.models import UsageEvent
from apps.ledger.shapes import MOST_TOKENS, Performance, UsageEventBody
from apps.pricing.rating import Meter, Rating, rate
from tenancy import tenant_scope
from tenancy.ids import uuid7
from tenancy.sql import fetch_one
from web.api import InvalidError
from web.errors import DomainError

NO_PERFORMANCE = Performance()


class ForeignProviderKeyError(DomainError):
    status = 422
    code = "foreign_provider_key"


class Outcome(Enum):
    """What became of an event: stored now, or known already and left as it was."""

    STORED = "stored"
    DUPLICATE = "duplicate"


_COLUMNS = (
    "id", "event_id", "provider_key_id", "source", "occurred_at", "provider", "model", "client_name",
    "input_tokens", "output_tokens", "time_to_first_token_ms", "time_to_last_token_ms", "total_duration_ms",
    "tokens_per_second", "chunks_received", "avg_chunk_size", "inter_chunk_latency_variance_ms", "price_status",
    "price_reason", "price_snapshot_id", "price_lines", "cost", "currency",
)  # fmt: skip

# One round trip and one commit: is the key live, is the provider key this project's, store the event once. A
# repeated id stores nothing and returns nothing, which _EXPLAIN then tells from the two refusals.
_STORE = f"""
    WITH {CALLER}
    INSERT INTO ledger_usageevent (project_id, key_generation, {", ".join(_COLUMNS)})
    SELECT caller.project_id, caller.generation, {", ".join(f"${number}" for number in range(3, 3 + len(_COLUMNS)))}
      FROM caller JOIN vault_providerkey p ON p.id = $5 AND p.project_id = caller.project_id
        ON CONFLICT (project_id, event_id) DO NOTHING
    RETURNING 1
"""
_EXPLAIN = f"""
    WITH {CALLER}
    SELECT EXISTS (SELECT FROM caller), EXISTS (SELECT FROM vault_providerkey WHERE id = $3 AND project_id = $1)
"""


def store_usage_event(caller: Caller, event: UsageEventBody) -> Outcome:
    """Prices an event and stores it for good: when this returns, the row is committed.

    An id that the project has sent before changes nothing, whatever comes with it. Raises NotAuthenticatedError
    when the key was revoked, ForeignProviderKeyError when the provider key is not the project's. Budgets, unknown
    models and archived provider keys are no reason to refuse: the call has been made and paid.
    """
    input_tokens = _count(event.data.input_tokens, "input_tokens")
    output_tokens = _count(event.data.output_tokens, "output_tokens")
    now = datetime.now(UTC)
    rating = _rate(event, input_tokens, output_tokens, now)
    performance = event.data.performance or NO_PERFORMANCE
    values: list[Any] = [
        caller.project_id,
        caller.generation,
        uuid7(),
        event.id,
        event.provider_key_id,
        UsageEvent.Source.JSON.value,
        # These events carry no time of their own: the client sends one when the call has ended.
        now,
        event.provider,
        event.model,
        event.client_name or "",
        input_tokens,
        output_tokens,
        performance.time_to_first_token_ms,
        performance.time_to_last_token_ms,
        performance.total_duration_ms,
        performance.tokens_per_second,
        performance.chunks_received,
        performance.avg_chunk_size,
        performance.inter_chunk_latency_variance_ms,
        rating.status,
        rating.reason,
        rating.snapshot_id,
        msgspec.json.encode(rating.lines).decode(),
        rating.cost,
        rating.currency,
    ]
    with tenant_scope(caller.tenant):
        if fetch_one(_STORE, values) is not None:
            return Outcome.STORED
        row = fetch_one(_EXPLAIN, [caller.project_id, caller.generation, event.provider_key_id])
    assert row is not None
    live, own = row
    if not live:
        refuse_revoked()
    if not own:
        raise ForeignProviderKeyError("provider_key_id is not a provider key of this token's project.")
    return Outcome.DUPLICATE


def _rate(event: UsageEventBody, input_tokens: int | None, output_tokens: int | None, at: datetime) -> Rating:
    meters = {}
    if input_tokens is not None:
        meters[Meter.INPUT] = input_tokens
    if output_tokens is not None:
        meters[Meter.OUTPUT] = output_tokens
    return rate(event.provider, event.model, meters, at)


def _count(sent: int | str | None, field: str) -> int | None:
    """Tokens as a number; None where the client had none."""
    if sent is None or sent == "None":
        return None
    count = int(sent)
    if count > MOST_TOKENS:
        raise InvalidError(f"data.{field} is {count}; at most {MOST_TOKENS} can be right.")
    return count
