"""Storing usage."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import msgspec
from django.db import connection

from apps.directory.callers import Caller, refuse_revoked
from apps.directory.sql import CALLER, LIVE_KEY
from apps.ledger.group_commit import GroupCommit
from apps.ledger.models import UsageEvent
from apps.ledger.shapes import MOST_TOKENS, Performance, UsageEventBody
from apps.pricing.meters import Meter
from apps.pricing.rating import Rating, rate
from tenancy import tenant_scope
from tenancy.ids import uuid7
from tenancy.sql import Statement
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


class NewRow(msgspec.Struct):
    """A row as it is handed to PostgreSQL, in JSON: one parameter whatever the number of rows."""

    id: uuid.UUID
    event_id: uuid.UUID
    project_id: uuid.UUID
    key_generation: int
    provider_key_id: uuid.UUID
    source: str
    occurred_at: datetime
    provider: str
    model: str
    client_name: str
    input_tokens: int | None
    output_tokens: int | None
    time_to_first_token_ms: float | None
    time_to_last_token_ms: float | None
    total_duration_ms: float | None
    tokens_per_second: float | None
    chunks_received: int | None
    avg_chunk_size: float | None
    inter_chunk_latency_variance_ms: float | None
    price_status: str
    price_reason: str
    price_snapshot_id: int | None
    price_lines: Sequence[Any]
    cost: str | None
    currency: str


def _column(name: str) -> tuple[str, str]:
    """A column and its type, as the model has them."""
    field = next(field for field in UsageEvent._meta.concrete_fields if field.name == name)
    return str(field.column), str(field.db_type(connection))


_COLUMNS = [_column(field.name) for field in msgspec.structs.fields(NewRow)]
_NAMES = ", ".join(name for name, _ in _COLUMNS)

# One round trip and one commit: of the rows whose key is live and whose provider key is their project's, store those
# that are new. What is not returned was known or is refused; _EXPLAIN tells which.
_STORE = Statement(f"""
    WITH fresh AS MATERIALIZED (
        SELECT {", ".join(f"r.{name}" for name, _ in _COLUMNS)}
          FROM json_to_recordset($1) AS r ({", ".join(f"{name} {kind}" for name, kind in _COLUMNS)})
          JOIN public.directory_projectkeyentry k ON k.project_id = r.project_id AND k.generation = r.key_generation
          JOIN public.organizations_organization o ON o.id = k.organization_id
          JOIN {{tenant}}.vault_providerkey p ON p.id = r.provider_key_id AND p.project_id = r.project_id
         WHERE {LIVE_KEY})
    INSERT INTO {{tenant}}.ledger_usageevent ({_NAMES}) SELECT {_NAMES} FROM fresh
        ON CONFLICT (project_id, event_id) DO NOTHING
    RETURNING id
""")
_EXPLAIN = Statement(f"""
    WITH {CALLER}
    SELECT CASE WHEN NOT EXISTS (SELECT FROM caller) THEN 'revoked'
                WHEN NOT EXISTS (SELECT FROM {{tenant}}.vault_providerkey WHERE id = $3 AND project_id = $1)
                THEN 'foreign' ELSE 'duplicate' END
""")


def _commit(rows: Sequence[NewRow]) -> list[bool]:
    """Stores rows of the current tenant in one transaction; of each, whether it was new."""
    stored = {row[0] for row in _STORE.fetch_all(msgspec.json.encode(rows).decode())}
    return [str(row.id) in stored for row in rows]


_group = GroupCommit(_commit)


def store_usage_event(caller: Caller, event: UsageEventBody) -> Outcome:
    """Prices an event and stores it for good: when this returns, the row is committed.

    An id that the project has sent before changes nothing, whatever comes with it. Raises NotAuthenticatedError
    when the key was revoked, ForeignProviderKeyError when the provider key is not the project's. Budgets, unknown
    models and archived provider keys are no reason to refuse: the call has been made and paid.
    """
    _refuse_transaction()
    row = _row(caller, event, datetime.now(UTC))
    with tenant_scope(caller.tenant):
        if _group.store(caller.tenant.schema_name, row):
            return Outcome.STORED
        match _EXPLAIN.fetch_one(caller.project_id, caller.generation, event.provider_key_id):
            case ["revoked"]:
                refuse_revoked()
            case ["foreign"]:
                raise ForeignProviderKeyError("provider_key_id is not a provider key of this token's project.")
    return Outcome.DUPLICATE


def _refuse_transaction() -> None:
    """RuntimeError inside a transaction: other threads' rows may go into this thread's commit, and would be
    acknowledged before it. (As `atomic(durable=True)` does, without the transaction; tests' own do not count.)"""
    blocks = connection.atomic_blocks
    if blocks and not blocks[-1]._from_testcase:  # type: ignore[attr-defined]  # missing in the stubs
        raise RuntimeError("Usage events are stored outside any transaction: they are committed with others'.")


def _row(caller: Caller, event: UsageEventBody, now: datetime) -> NewRow:
    """The event with its price. It carries no time of its own: the client sends it when the call has ended."""
    input_tokens = _count(event.data.input_tokens, "input_tokens")
    output_tokens = _count(event.data.output_tokens, "output_tokens")
    rating = _rate(event, input_tokens, output_tokens, now)
    performance = event.data.performance or NO_PERFORMANCE
    return NewRow(
        id=uuid7(),
        event_id=event.id,
        project_id=caller.project_id,
        key_generation=caller.generation,
        provider_key_id=event.provider_key_id,
        source=UsageEvent.Source.JSON.value,
        occurred_at=now,
        provider=event.provider,
        model=event.model,
        client_name=event.client_name or "",
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        time_to_first_token_ms=performance.time_to_first_token_ms,
        time_to_last_token_ms=performance.time_to_last_token_ms,
        total_duration_ms=performance.total_duration_ms,
        tokens_per_second=performance.tokens_per_second,
        chunks_received=performance.chunks_received,
        avg_chunk_size=performance.avg_chunk_size,
        inter_chunk_latency_variance_ms=performance.inter_chunk_latency_variance_ms,
        price_status=rating.status.value,
        price_reason=rating.reason.value,
        price_snapshot_id=rating.snapshot_id,
        price_lines=rating.lines,
        cost=None if rating.cost is None else str(rating.cost),
        currency=rating.currency,
    )


def _rate(event: UsageEventBody, input_tokens: int | None, output_tokens: int | None, at: datetime) -> Rating:
    """One count without the other is missing usage: half a cost would pass for the whole."""
    if input_tokens is None or output_tokens is None:
        return rate(event.provider, event.model, {}, at)
    return rate(event.provider, event.model, {Meter.INPUT: input_tokens, Meter.OUTPUT: output_tokens}, at)


def _count(sent: int | str | None, field: str) -> int | None:
    """Tokens as a number; None where the client had none."""
    if sent is None or sent == "None":
        return None
    count = int(sent)
    if count > MOST_TOKENS:
        raise InvalidError(f"data.{field} is {count}; at most {MOST_TOKENS} can be right.")
    return count
