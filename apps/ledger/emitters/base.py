"""What an emitter is: a library that describes calls as OpenTelemetry spans, in attributes of its own choosing.

Each has a module that says which attributes it reads and how they become a `Call`.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from apps.ledger.calls import Call

Scalar = str | int | float | bool


@dataclass(slots=True)
class Span:
    """One span, decoded. Of attributes only those that some emitter reads are here, and scalars only, capped.

    `event_id` is the trace id's last eight bytes and the span id's eight; `parent_event_id` likewise. `error` is
    whether the status is ERROR; `exception_type` the type named by an exception event, never its text.
    `first_token_at` is the time of the event that marks the first token or chunk.
    """

    event_id: uuid.UUID
    trace_id: uuid.UUID
    parent_event_id: uuid.UUID | None
    name: str
    scope: str
    resource: Mapping[str, Scalar]
    attributes: Mapping[str, Scalar]
    started_at: datetime | None
    ended_at: datetime | None
    error: bool = False
    exception_type: str = ""
    first_token_at: datetime | None = None
    first_token_ms: float | None = None


class Kind(StrEnum):
    """What a span stands for: a call to a model, or anything around one (agents, tools, chains, HTTP requests)."""

    CALL = "call"
    OTHER = "other"


class Emitter(Protocol):
    """`name` is kept as the row's source. `keys`: span attributes read → their type; nothing else is decoded."""

    name: str
    keys: Mapping[str, type]

    def claims(self, scope: str) -> bool:
        """Whether spans of this instrumentation scope are this emitter's."""

    def read(self, span: Span) -> Call | None:
        """The call that a span describes; None for a span that describes none."""
