"""What an emitter is: a library that describes calls as OpenTelemetry spans, in attributes of its own choosing.

Each has a module that says which attributes it reads and how they become a `Call`; most only name the attributes.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import ClassVar

import msgspec

from apps.ledger.calls import Call, Ending
from apps.ledger.emitters import values
from apps.ledger.emitters.providers import provider_name
from apps.ledger.emitters.values import Kind, Value
from apps.pricing.meters import Meter

Names = tuple[str, ...]
Quantities = dict[Meter, int]

_MILLISECOND = timedelta(milliseconds=1)
# How much later than the end a first token may be said to have come, and is taken to have come with the end: some
# libraries measure it by another clock than their span, Anthropic's from before the span begins. What comes later than
# this is no measurement.
_MOST_AFTER_END_MS = 1_000.0


class Span(msgspec.Struct, kw_only=True, gc=False):
    """One span, decoded. Of attributes only those that some emitter reads are here, and of their values only what
    their kind keeps (values.py).

    `event_id` is the trace id's last eight bytes and the span id's eight; `parent_event_id` likewise. `name` is empty
    unless some emitter tells its spans by it. `error` is whether the status is ERROR; `exception_type` the type named
    by the last exception event, never its text. `first_token_at` is the time of the event that marks the first token or
    chunk, `first_token_ms` what that event says itself. `chunks` counts the events of chunks. `bad_values` are
    attributes that would have been read but had values that can't be right; those are dropped.
    """

    event_id: uuid.UUID
    trace_id: uuid.UUID
    parent_event_id: uuid.UUID | None
    name: str
    scope: str
    resource: Mapping[str, Value]
    attributes: Mapping[str, Value]
    started_at: datetime | None
    ended_at: datetime | None
    error: bool = False
    exception_type: str = ""
    first_token_at: datetime | None = None
    first_token_ms: float | None = None
    chunks: int = 0
    bad_values: Names = ()


# What a call's fields are read as; the meters are counts.
_KINDS: Mapping[str, Kind] = {
    "provider": values.PROVIDER,
    "model": values.MODEL,
    "request_model": values.MODEL,
    "response_id": values.ID,
    "service_tier": values.TIER,
    "cost": values.COST,
    "first_token_ms": values.NUMBER,
    "first_token_seconds": values.NUMBER,
    "first_token_at": values.MOMENT,
    "tokens_per_second": values.NUMBER,
    "cancelled": values.FLAG,
    "error_type": values.ERROR_TYPE,
    "client": values.LABEL,
    "session": values.LABEL,
    "user": values.LABEL,
}


@dataclass(frozen=True, kw_only=True)
class Fields:
    """The attributes that a call's fields are read from, the preferred first (`_KINDS` has their kinds)."""

    provider: Names = ()
    model: Names = ()
    request_model: Names = ()
    response_id: Names = ()
    service_tier: Names = ()
    cost: Names = ()
    first_token_ms: Names = ()
    first_token_seconds: Names = ()
    first_token_at: Names = ()
    tokens_per_second: Names = ()
    cancelled: Names = ()
    error_type: Names = ("error.type",)
    client: Names = ()
    session: Names = ("session.id",)
    user: Names = ("user.id", "enduser.id")
    meters: Mapping[Meter, Names] = field(default_factory=dict)

    def keys(self) -> dict[str, Kind]:
        kinds = {name: kind for field, kind in _KINDS.items() for name in getattr(self, field)}
        return kinds | {name: values.COUNT for names in self.meters.values() for name in names}

    def also(self, *, meters: Mapping[Meter, Names] | None = None, **names: Names) -> "Fields":
        """These, and after them `names`."""
        more = {field: getattr(self, field) + added for field, added in names.items()}
        counts = {meter: (*self.meters.get(meter, ()), *added) for meter, added in (meters or {}).items()}
        return replace(self, **more, meters={**self.meters, **counts})


# What every span may carry: how its reporter numbers what it sends.
SEQUENCE_SOURCE = "anyllm.sequence.source"
SEQUENCE_NUMBER = "anyllm.sequence.number"
# Logfire announces a span when it starts, with all its attributes, by another span.
SPAN_TYPE = "logfire.span_type"
COMMON_KEYS: Mapping[str, Kind] = {
    SEQUENCE_SOURCE: values.SOURCE,
    SEQUENCE_NUMBER: values.COUNT,
    SPAN_TYPE: values.WORD,
}
SERVICE = "service.name"
INSTANCE = "service.instance.id"
RESOURCE_KEYS: Mapping[str, Kind] = {
    SERVICE: values.LABEL,
    INSTANCE: values.ID,
}


class Emitter:
    """One emitter. `name` is kept as the row's source.

    `scopes` are the instrumentation scopes whose spans are its own; one that ends in "*" stands for all that start so.
    `marks` are span attributes that only this emitter's conventions have: they tell its spans below any other scope.
    `extra` are attributes read besides `fields`. `apart` has, of those that say what a span is, the values of tools and
    agents, in lower case: a call below one is no part of a call above it. `span_names`, `first_token_events` and
    `chunk_events`, one for each chunk of a stream, are the names it tells spans and events by; all others are dropped
    unread.
    """

    name: ClassVar[str]
    scopes: ClassVar[Names] = ()
    marks: ClassVar[Names] = ()
    fields: ClassVar[Fields]
    extra: ClassVar[Mapping[str, Kind]] = {}
    apart: ClassVar[Mapping[str, frozenset[str]]] = {}
    span_names: ClassVar[frozenset[str]] = frozenset()
    first_token_events: ClassVar[frozenset[str]] = frozenset()
    chunk_events: ClassVar[frozenset[str]] = frozenset()

    @property
    def keys(self) -> Mapping[str, Kind]:
        """Span attributes that are read → their kind."""
        return {**COMMON_KEYS, **self.fields.keys(), **self.extra}

    def claims(self, scope: str) -> bool:
        return any(scope.startswith(own[:-1]) if own.endswith("*") else scope == own for own in self.scopes)

    def operation(self, span: Span) -> str:
        """What was asked of a model, in OpenTelemetry's words; "" for a span that is no call to one."""
        raise NotImplementedError

    def provider(self, span: Span) -> str:
        """Who was asked, as the span says it."""
        return _text(span, self.fields.provider)

    def quantities(self, span: Span) -> tuple[Quantities, bool]:
        """What was used, and whether the cache was counted within the input."""
        return within_input(self.counted(span))

    def counted(self, span: Span) -> Quantities:
        """The meters as the attributes have them."""
        attributes = span.attributes
        found: Quantities = {}
        for meter, names in self.fields.meters.items():
            for name in names:
                count = attributes.get(name)
                if isinstance(count, int):
                    found[meter] = count
                    break
        return found

    def ending(self, span: Span) -> Ending:
        for name in self.fields.cancelled:
            if span.attributes.get(name) is True:
                return Ending.CANCELLED
        if span.error or _text(span, self.fields.error_type):
            return Ending.ERROR
        return Ending.OK

    def cost(self, span: Span) -> Decimal | None:
        for name in self.fields.cost:
            cost = span.attributes.get(name)
            if isinstance(cost, Decimal):
                return cost
        return None

    def times(self, span: Span) -> tuple[datetime | None, datetime | None]:
        return span.started_at, span.ended_at

    def read(self, span: Span) -> Call | None:
        """The call that a span describes; None for a span that describes none."""
        operation = self.operation(span)
        if not operation:
            return None
        fields = self.fields
        request_model = _text(span, fields.request_model)
        model = _text(span, fields.model)
        meters, cache_in_input = self.quantities(span)
        ending = self.ending(span)
        tier = _text(span, fields.service_tier)
        started_at, ended_at = self.times(span)
        duration_ms = _milliseconds(started_at, ended_at)
        first_token_ms = _before_end(self.time_to_first_token(span), duration_ms)
        number = span.attributes.get(SEQUENCE_NUMBER)
        service = _string(span.resource.get(SERVICE))
        return Call(
            event_id=span.event_id,
            source=self.name,
            provider=provider_name(self.provider(span), model or request_model),
            model=model,
            request_model=request_model,
            operation=operation,
            meters=meters,
            cache_in_input=cache_in_input,
            service_tier=tier,
            is_batch=tier == "batch",
            started_at=started_at,
            ended_at=ended_at,
            ending=ending,
            error_type="" if ending is Ending.OK else _text(span, fields.error_type) or span.exception_type,
            time_to_first_token_ms=first_token_ms,
            total_duration_ms=duration_ms,
            tokens_per_second=self.tokens_per_second(span, meters.get(Meter.OUTPUT), duration_ms, first_token_ms),
            chunks_received=span.chunks or None,
            # What SDKs call a program that was given no name.
            client_name=_text(span, fields.client) or ("" if service.startswith("unknown_service") else service),
            session=_text(span, fields.session),
            user=_text(span, fields.user),
            reported_cost=self.cost(span),
            trace_id=span.trace_id,
            parent_event_id=span.parent_event_id,
            response_id=_text(span, fields.response_id),
            scope=span.scope,
            instance=_string(span.resource.get(INSTANCE)),
            sequence_source=_string(span.attributes.get(SEQUENCE_SOURCE)),
            sequence_number=number if isinstance(number, int) else None,
        )

    def time_to_first_token(self, span: Span) -> float | None:
        attributes = span.attributes
        for name in self.fields.first_token_ms:
            if isinstance(sent := attributes.get(name), float):
                return sent
        for name in self.fields.first_token_seconds:
            if isinstance(sent := attributes.get(name), float):
                return sent * 1000
        for name in self.fields.first_token_at:
            if isinstance(sent := attributes.get(name), datetime):
                return _milliseconds(span.started_at, sent)
        if span.first_token_ms is not None:
            return span.first_token_ms
        return _milliseconds(span.started_at, span.first_token_at)

    def tokens_per_second(
        self, span: Span, output: int | None, duration_ms: float | None, first_token_ms: float | None
    ) -> float | None:
        """As the span says, else the output by the time it took: of a stream, from the first token on."""
        for name in self.fields.tokens_per_second:
            if isinstance(sent := span.attributes.get(name), float):
                return sent
        took_ms = (duration_ms or 0) - (first_token_ms or 0)
        return output * 1000 / took_ms if output and took_ms > 0 else None


def within_input(meters: Quantities) -> tuple[Quantities, bool]:
    """Meters as the ledger has them: the cached tokens are part of the input, the hour's writes part of the writes.

    {input: 50, cache_read: 1000} → {input: 1050, cache_read: 1000}, False: they were counted beside it
    """
    hour = meters.get(Meter.CACHE_WRITE_1H, 0)
    if hour > meters.get(Meter.CACHE_WRITE, 0):
        meters[Meter.CACHE_WRITE] = hour
    cached = meters.get(Meter.CACHE_READ, 0) + meters.get(Meter.CACHE_WRITE, 0)
    if Meter.INPUT not in meters or cached <= meters[Meter.INPUT]:
        return meters, True
    meters[Meter.INPUT] += cached
    return meters, False


def _text(span: Span, names: Names) -> str:
    for name in names:
        sent = span.attributes.get(name)
        if sent and isinstance(sent, str):
            return sent
    return ""


def _string(value: Value | None) -> str:
    return value if isinstance(value, str) else ""


def _before_end(first_token_ms: float | None, duration_ms: float | None) -> float | None:
    if first_token_ms is None or duration_ms is None or first_token_ms <= duration_ms:
        return first_token_ms
    return duration_ms if first_token_ms - duration_ms <= _MOST_AFTER_END_MS else None


def _milliseconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start) / _MILLISECOND if start and end and end >= start else None
