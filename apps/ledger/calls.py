"""A call to a provider as its reporter describes it, whatever the format: what is rated and stored.

The JSON endpoints (shapes.py) and the emitters (emitters/) make these. Nothing that could hold content has a field
here, so nothing of it can get further.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

import msgspec

from apps.pricing.meters import Meter


class Ending(StrEnum):
    """How a call ended, as its reporter saw it."""

    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"


class Call(msgspec.Struct, kw_only=True, gc=False):
    """Facts of one call; None or "" where the reporter said nothing.

    `meters` are inclusive (apps/pricing/meters.py): input holds the cached tokens, cache_write the hour's, output the
    reasoning ones. Reporters that count the cache beside the input add it up and say so in `cache_in_input`, which
    keeps how it was reported.
    """

    event_id: uuid.UUID
    source: str
    provider: str = ""
    # As the response named it; the one that was asked for.
    model: str = ""
    request_model: str = ""
    operation: str = ""
    meters: Mapping[Meter, int] = {}
    cache_in_input: bool = True
    service_tier: str = ""
    is_batch: bool = False
    # Aware UTC. A JSON event may have neither: it is sent when the call has ended.
    started_at: datetime | None = None
    ended_at: datetime | None = None

    ending: Ending = Ending.OK
    error_type: str = ""
    time_to_first_token_ms: float | None = None
    time_to_last_token_ms: float | None = None
    total_duration_ms: float | None = None
    tokens_per_second: float | None = None
    chunks_received: int | None = None
    avg_chunk_size: float | None = None
    inter_chunk_latency_variance_ms: float | None = None

    provider_key_id: uuid.UUID | None = None
    client_name: str = ""
    session: str = ""
    user: str = ""
    # What the reporter itself thinks the call cost, for comparison only, in US dollars.
    reported_cost: Decimal | None = None

    # Where the call stands among others; see settling.py.
    trace_id: uuid.UUID | None = None
    parent_event_id: uuid.UUID | None = None
    response_id: str = ""
    scope: str = ""
    instance: str = ""
    # A reporter that numbers its events lets gaps be seen.
    sequence_source: str = ""
    sequence_number: int | None = None


class SpanParent(NamedTuple):
    """A span that is no call, and the one above it."""

    event_id: uuid.UUID
    parent_event_id: uuid.UUID
