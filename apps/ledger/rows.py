"""A call as a row of the ledger, and the statement that stores rows."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
from typing import Any

import msgspec
from django.db import connection

from apps.activity.services import note_change
from apps.directory.callers import Reporter
from apps.directory.sql import LIVE_KEY
from apps.ledger.calls import Call, Ending
from apps.ledger.models import METER_COLUMNS, PriceStatus, UsageEvent
from apps.ledger.prices import Price
from apps.ledger.settling import fingerprint
from apps.pricing.meters import Meter
from apps.pricing.unpriced import note_unpriced
from tenancy.ids import uuid7
from tenancy.scope import require_tenant_id
from tenancy.sql import CopyIn, Statement

# How far ahead of ours a reporter's clock may be before its rows are marked.
SKEW = timedelta(minutes=5)


class Flag(StrEnum):
    """What to know about a row beside what apps.pricing.rating.Flag says."""

    # It begins or ends in the future, or ends before it begins.
    CLOCK_SKEW = "clock_skew"
    # The reporter named no time: it is the report's.
    TIME_OF_REPORT = "time_of_report"


class NewRow(msgspec.Struct, array_like=True, gc=False):
    """A row as it is handed to PostgreSQL. `price_lines` and `flags` are JSON.

    Texts have no control characters: emitters/values.py takes them out, shapes.py refuses them.
    """

    id: uuid.UUID
    project_id: uuid.UUID
    occurred_at: datetime
    price_status: str

    # The facts of the call, by the names that they have there, down to `sequence_number`; `user_label` is its `user`.
    event_id: uuid.UUID
    source: str
    provider_key_id: uuid.UUID | None = None
    provider: str = ""
    request_model: str = ""
    operation: str = ""
    service_tier: str = ""
    is_batch: bool = False
    cache_in_input: bool = True
    client_name: str = ""
    session: str = ""
    user_label: str = ""
    ending: str = Ending.OK
    error_type: str = ""
    time_to_first_token_ms: float | None = None
    time_to_last_token_ms: float | None = None
    total_duration_ms: float | None = None
    tokens_per_second: float | None = None
    chunks_received: int | None = None
    avg_chunk_size: float | None = None
    inter_chunk_latency_variance_ms: float | None = None
    reported_cost: Decimal | None = None
    trace_id: uuid.UUID | None = None
    parent_event_id: uuid.UUID | None = None
    response_id: str = ""
    scope: str = ""
    sequence_source: str = ""
    sequence_number: int | None = None

    model: str = ""
    key_generation: int | None = None
    ingest_token_id: uuid.UUID | None = None
    fingerprint: int | None = None

    price_reason: str = ""
    price_rule: str = ""
    price_snapshot_id: int | None = None
    price_lines: str = "[]"
    cost: Decimal | None = None
    currency: str = ""
    flags: str = "[]"
    same_call_as: uuid.UUID | None = None

    # In the order of METER_COLUMNS.
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None
    requests: int | None = None


_FIELDS = NewRow.__struct_fields__
_FACTS = _FIELDS[_FIELDS.index("event_id") : _FIELDS.index("sequence_number") + 1]
# Of a call, in NewRow's order. Fifty arguments by name take longer than all else about a row.
_facts_of = attrgetter(*("user" if name == "user_label" else name for name in _FACTS))


def row_of(
    reporter: Reporter,
    call: Call,
    price: Price,
    meters: Mapping[Meter, int],
    *,
    occurred_at: datetime,
    now: datetime,
) -> NewRow:
    """The call's row. Its columns are what was reported; `price` is what it counts for on arrival, `meters` are those
    of `meters_of`."""
    flags: list[str] = list(price.flags)
    latest, ended_at = now + SKEW, call.ended_at
    if occurred_at > latest or (ended_at and not (call.started_at or ended_at) <= ended_at <= latest):
        flags.append(Flag.CLOCK_SKEW)
    if call.started_at is None:
        flags.append(Flag.TIME_OF_REPORT)
    return NewRow(  # type: ignore[call-arg]  # how many meters there are is not in the type of the mapping
        uuid7(),
        reporter.project_id,
        occurred_at,
        price.status,
        *_facts_of(call),
        call.model or call.request_model,
        reporter.generation,
        reporter.ingest_token_id,
        fingerprint(call.instance, meters),
        price.reason,
        price.rule,
        price.snapshot_id,
        _json(price.lines),
        price.cost,
        price.currency,
        _json(flags),
        None,  # no other row counts for it
        *map(meters.get, METER_COLUMNS),
    )


def set_price(row: NewRow, price: Price, *, instead_of: Price) -> None:
    """What the row counts for on arrival, after all."""
    row.price_status = price.status
    row.price_reason = price.reason
    row.price_rule = price.rule
    row.price_snapshot_id = price.snapshot_id
    row.price_lines = _json(price.lines)
    row.cost = price.cost
    row.currency = price.currency
    others = (flag for flag in msgspec.json.decode(row.flags) if flag not in instead_of.flags)
    row.flags = _json([*price.flags, *others])


def meters_of(call: Call) -> dict[Meter, int]:
    """The quantities that the ledger has a column for; each call is one request unless it says otherwise."""
    return {Meter.REQUEST: 1} | {meter: value for meter, value in call.meters.items() if meter in METER_COLUMNS}


def _json(items: Sequence[Any]) -> str:
    return _encode(items).decode() if items else "[]"


_encode = msgspec.json.Encoder().encode
# A row as an object. What it leaves out is null.
_Record = msgspec.defstruct("_Record", [(name, Any, None) for name in _FIELDS], omit_defaults=True, gc=False)

_NAMES = ", ".join(_FIELDS)
_TYPES = {name: str(UsageEvent._meta.get_field(name).db_type(connection)) for name in _FIELDS}
# What is JSON comes as its text.
_RECORD = ", ".join(f"{name} {'text' if kind == 'jsonb' else kind}" for name, kind in _TYPES.items())
_VALUES = ", ".join(f"r.{name}::jsonb" if kind == "jsonb" else f"r.{name}" for name, kind in _TYPES.items())

# One round trip and one commit: of the rows whose key is live and whose provider key is their project's, store those
# that are new. What is not returned was known or is refused.
_STORE_ALLOWED = Statement(f"""
    WITH fresh AS MATERIALIZED (
        SELECT {_VALUES} FROM json_to_recordset($1) AS r ({_RECORD})
          LEFT JOIN public.directory_projectkeyentry k
            ON k.project_id = r.project_id AND k.generation = r.key_generation
          LEFT JOIN public.organizations_organization o ON o.id = k.organization_id
          LEFT JOIN {{tenant}}.vault_providerkey p ON p.id = r.provider_key_id AND p.project_id = r.project_id
         WHERE (r.ingest_token_id IS NOT NULL OR ({LIVE_KEY})) AND (r.provider_key_id IS NULL OR p.id IS NOT NULL)),
    stored AS (
        INSERT INTO {{tenant}}.ledger_usageevent ({_NAMES}) SELECT {_NAMES} FROM fresh
            ON CONFLICT (project_id, event_id) DO NOTHING
        RETURNING id),
    noted AS (
        INSERT INTO {{tenant}}.ledger_outbox (id, events, adjustments)
        SELECT uuidv7(), array_agg(id), '{{}}' FROM stored HAVING count(*) > 0)
    SELECT id FROM stored
""")

# A row as JSON's array without its brackets is a line of CSV, with these marks: see `encoded`.
_COPY = CopyIn(
    f"COPY {{tenant}}.ledger_usageevent ({_NAMES}) FROM STDIN (FORMAT csv, QUOTE '\"', ESCAPE '\\', NULL 'null')"
)
# For those who sum up what is stored (models.Outbox).
_NOTE = Statement("INSERT INTO {tenant}.ledger_outbox (id, events, adjustments) VALUES (uuidv7(), $1::uuid[], '{}')")


def after_commit(rows: Iterable[NewRow]) -> None:
    """Tells whoever waits for new rows that there are some, and staff which models have no list price. Neither is worth
    a row."""
    note_change(require_tenant_id())
    if unpriced := [row for row in rows if row.price_status == PriceStatus.UNPRICED]:
        note_unpriced((row.provider, row.model, row.price_reason) for row in unpriced)


def store_allowed_rows(rows: Sequence[NewRow]) -> set[str]:
    """Stores rows of the current tenant in one statement; the ids of those that were new and allowed."""
    records = [_Record(*msgspec.structs.astuple(row)) for row in rows]
    return {str(stored) for [stored] in _STORE_ALLOWED.fetch_all(_encode(records).decode())}


def store_rows(rows: Sequence[bytes]) -> None:
    """Stores rows, `encoded`, that are known to be new and allowed; a database error, and none of them, where one is
    not new. In a transaction."""
    if rows:
        _COPY.send(b"\n".join(rows))
        # A row begins with its id, in quotes.
        ids = b",".join([row[1:37] for row in rows]).decode()
        _NOTE.fetch_all(f"{{{ids}}}")


def encoded(row: NewRow) -> bytes:
    """For COPY, which takes several times less of PostgreSQL than reading fifty columns out of JSON. Of what JSON has
    escapes for, only quotes and backslashes are in a row, and COPY reads those alike."""
    return _encode(row)[1:-1]
