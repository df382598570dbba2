"""Requests to export spans → `Span`s, of which only attributes that some emitter reads are looked at.

Both encodings make equal spans of equal content: protobuf, and JSON as OTLP has it (ids in hex, not base64).
"""

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.resource.v1 import resource_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

from apps.ledger.emitters import CHUNK_EVENTS, FIRST_TOKEN_EVENTS, KEYS, RESOURCE_KEYS, SPAN_NAMES, keys_of
from apps.ledger.emitters.base import Span
from apps.ledger.emitters.values import COUNT, ERROR_TYPE, NUMBER, Kind, Scalar, Value, clean
from apps.ledger.otlp.body import UnsupportedMediaTypeError
from tenancy.ids import uuid_of
from web.api import MalformedError, TooLargeError

PROTOBUF = "application/x-protobuf"
JSON = "application/json"

# Exporters send 512 at a time, collectors some thousands.
_MOST_SPANS = 50_000
# In protobuf; what is made of one while it is parsed can be thirty times as large.
_MOST_SPAN_BYTES = 8 * 2**20
# In JSON, where every further object costs one: what is made of them stays below the largest body.
_MOST_COMMAS = 2_000_000
_SCOPE_CAP = 128
_MOST_REASONS = 3
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Nanoseconds. A clock that is off by a day or a year is the ledger's business; one outside these was never set.
_EARLIEST = 946_684_800 * 10**9
_LATEST = 4_102_444_800 * 10**9

_EXCEPTION = "exception"
_EVENT_KEYS: Mapping[str, Kind] = {"exception.type": ERROR_TYPE, "anyllm.performance.ttft_ms": NUMBER}

_ACCEPT = {key: kind.accept for key, kind in KEYS.items()}
_ACCEPT_OF_RESOURCE = {key: kind.accept for key, kind in RESOURCE_KEYS.items()}
_ACCEPT_OF_EVENT = {key: kind.accept for key, kind in _EVENT_KEYS.items()}

Accept = Callable[[Scalar], Value | None]
Parsed = TypeVar("Parsed", bound=Message)


@dataclass(slots=True)
class Decoded:
    """`rejected` spans could not be read; `reasons` are the first different ones, without anything that was sent."""

    spans: list[Span] = field(default_factory=list)
    rejected: int = 0
    reasons: list[str] = field(default_factory=list)

    def reject(self, reason: str) -> None:
        self.rejected += 1
        if reason not in self.reasons and len(self.reasons) < _MOST_REASONS:
            self.reasons.append(reason)


class _RejectedError(Exception):
    """This span can't be read, whatever becomes of the others."""


_OTHER_TYPES = "A span has fields of other types than OTLP's."
_TOO_LONG = f"A span may have {_MOST_SPAN_BYTES:,} bytes."


def _no_request(encoding: str) -> MalformedError:
    return MalformedError(f"The body is no ExportTraceServiceRequest in {encoding}.")


def _too_many() -> TooLargeError:
    return TooLargeError(f"A request may have {_MOST_SPANS:,} spans. Send smaller batches.")


def decode(body: bytes, content_type: str) -> Decoded:
    """The spans of an ExportTraceServiceRequest. `content_type` without parameters, lower case.

    Raises MalformedError where nothing can be read, UnsupportedMediaTypeError for another content type.
    """
    if content_type == PROTOBUF:
        return _decode_protobuf(body)
    if content_type == JSON:
        return _decode_json(body)
    raise UnsupportedMediaTypeError(f"Send {PROTOBUF} or {JSON}.")


# --- What both encodings share ---


def _moment(nanoseconds: int) -> datetime | None:
    if not _EARLIEST <= nanoseconds <= _LATEST:
        return None
    # Days, seconds, microseconds.
    return _EPOCH + timedelta(0, 0, nanoseconds // 1000)


def _event_id(trace_id: bytes, span_id: bytes) -> uuid.UUID:
    return uuid_of(trace_id[8:] + span_id)


def _check_ids(trace_id: bytes, span_id: bytes, parent_id: bytes) -> None:
    if len(trace_id) != 16 or not any(trace_id):
        raise _RejectedError("A trace id must be 16 bytes, not all of them zero.")
    if len(span_id) != 8 or not any(span_id):
        raise _RejectedError("A span id must be 8 bytes, not all of them zero.")
    if len(parent_id) not in (0, 8):
        raise _RejectedError("A parent span's id must be 8 bytes, or missing.")


def _blamed(bad_values: list[str], scope: str) -> tuple[str, ...]:
    """Without what another emitter calls by the same name, such as `duration`."""
    return tuple(key for key in bad_values if key in keys_of(scope)) if bad_values else ()


def _add_event(span: Span, name: str, nanoseconds: int, attributes: Mapping[str, Value]) -> None:
    if name == _EXCEPTION:
        # The last one is what ended the span; those before it may have been handled.
        exception_type = attributes.get("exception.type")
        span.exception_type = exception_type if isinstance(exception_type, str) else ""
        return
    if name in CHUNK_EVENTS:
        span.chunks += 1
    if span.first_token_at is None:
        span.first_token_at = _moment(nanoseconds)
        sent = attributes.get("anyllm.performance.ttft_ms")
        span.first_token_ms = sent if isinstance(sent, float) else None


def _add_dropped_events(span: Span, sent: int | None) -> None:
    """Python's and JavaScript's SDKs keep a span's last 128 events: of a longer stream they drop the first chunks."""
    dropped = COUNT.accept(sent or 0)
    if isinstance(dropped, int) and dropped:
        span.chunks += dropped
        span.first_token_at = None


def _is_event_read(name: str) -> bool:
    return name == _EXCEPTION or name in FIRST_TOKEN_EVENTS


# --- Protobuf ---

_SCALARS = frozenset(("string_value", "int_value", "double_value", "bool_value"))


class _Envelope:
    """Where the parts of a request are, so that each is parsed by itself.

    Parsed as a whole, a request of the smallest messages there are takes a hundred times its size, and gzip hides how
    large it is. Besides, a span that can't be parsed leaves the others alone.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._fields = 0

    def parts(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Of each field with a length: its number, and where its content starts and ends."""
        at = start
        while at < end:
            self._fields += 1
            if self._fields > _MOST_SPANS:
                raise _too_many()
            key, at = self._varint(at, end)
            match key & 7:
                case 0:
                    _, at = self._varint(at, end)
                case 1:
                    at += 8
                case 2:
                    length, at = self._varint(at, end)
                    if at + length > end:
                        raise _no_request("protobuf")
                    yield key >> 3, at, at + length
                    at += length
                case 5:
                    at += 4
                case _:
                    raise _no_request("protobuf")
        if at > end:
            raise _no_request("protobuf")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 64:
            byte = self._body[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
        raise _no_request("protobuf")

    def parse(self, message: type[Parsed], start: int, end: int) -> Parsed:
        if end - start > _MOST_SPAN_BYTES:
            raise _RejectedError(_TOO_LONG)
        try:
            return message.FromString(self._body[start:end])
        except DecodeError:
            raise _RejectedError(_OTHER_TYPES) from None


def _decode_protobuf(body: bytes) -> Decoded:
    envelope = _Envelope(body)
    decoded = Decoded()
    try:
        for number, start, end in envelope.parts(0, len(body)):
            if number == 1:
                _add_protobuf_resource(decoded, envelope, list(envelope.parts(start, end)))
    except _RejectedError:
        # A resource or a scope: its spans can't be attributed.
        raise _no_request("protobuf") from None
    return decoded


def _add_protobuf_resource(decoded: Decoded, envelope: _Envelope, parts: list[tuple[int, int, int]]) -> None:
    """ResourceSpans: the resource is field 1, ScopeSpans are field 2. In ScopeSpans: the scope, and the spans."""
    resource: Mapping[str, Value] = {}
    for number, start, end in parts:
        if number == 1:
            attributes = envelope.parse(resource_pb2.Resource, start, end).attributes
            resource, _ = _read_protobuf(attributes, _ACCEPT_OF_RESOURCE)
    for number, start, end in parts:
        if number == 2:
            inner = list(envelope.parts(start, end))
            scope = ""
            for part, at, until in inner:
                if part == 1:
                    scope = clean(envelope.parse(common_pb2.InstrumentationScope, at, until).name, _SCOPE_CAP)
            for part, at, until in inner:
                if part == 2:
                    try:
                        decoded.spans.append(_protobuf_span(envelope.parse(trace_pb2.Span, at, until), scope, resource))
                    except _RejectedError as error:
                        decoded.reject(str(error))


def _protobuf_span(sent: trace_pb2.Span, scope: str, resource: Mapping[str, Value]) -> Span:
    trace_id, span_id, parent_id = sent.trace_id, sent.span_id, sent.parent_span_id
    _check_ids(trace_id, span_id, parent_id)
    attributes, bad_values = _read_protobuf(sent.attributes, _ACCEPT)
    name = sent.name
    span = Span(
        event_id=_event_id(trace_id, span_id),
        trace_id=uuid_of(trace_id),
        parent_event_id=_event_id(trace_id, parent_id) if any(parent_id) else None,
        name=name if name in SPAN_NAMES else "",
        scope=scope,
        resource=resource,
        attributes=attributes,
        started_at=_moment(sent.start_time_unix_nano),
        ended_at=_moment(sent.end_time_unix_nano),
        error=sent.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        bad_values=_blamed(bad_values, scope),
    )
    for event in sent.events:
        name = event.name
        if _is_event_read(name):
            _add_event(span, name, event.time_unix_nano, _read_protobuf(event.attributes, _ACCEPT_OF_EVENT)[0])
    if span.chunks:
        _add_dropped_events(span, sent.dropped_events_count)
    return span


def _read_protobuf(
    pairs: Iterable[common_pb2.KeyValue], accept: Mapping[str, Accept]
) -> tuple[dict[str, Value], list[str]]:
    kept: dict[str, Value] = {}
    bad: list[str] = []
    for pair in pairs:
        key = pair.key
        if keep := accept.get(key):
            sent = pair.value
            # Nearly always, and half the time: fields that were not sent are empty.
            scalar: Scalar | None = sent.string_value or sent.int_value or sent.double_value
            if not scalar:
                kind = sent.WhichOneof("value")
                scalar = getattr(sent, kind) if kind in _SCALARS else None
            value = None if scalar is None else keep(scalar)
            if value is None:
                bad.append(key)
            else:
                kept[key] = value
    return kept, bad


# --- JSON ---


class _Pair(msgspec.Struct):
    key: str = ""
    # Parsed for keys that are read only.
    value: msgspec.Raw = msgspec.Raw(b"null")


class _Value(msgspec.Struct, rename="camel"):
    string_value: str | None = None
    int_value: int | str | None = None
    double_value: float | str | None = None
    bool_value: bool | None = None


class _Status(msgspec.Struct):
    # A number, says the specification; names do no harm.
    code: int | str | None = None


class _Event(msgspec.Struct, rename="camel"):
    name: str | None = None
    time_unix_nano: int | str | None = None
    attributes: list[_Pair] | None = None


class _Span(msgspec.Struct, rename="camel"):
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    name: str | None = None
    start_time_unix_nano: int | str | None = None
    end_time_unix_nano: int | str | None = None
    attributes: list[_Pair] | None = None
    events: list[_Event] | None = None
    dropped_events_count: int | str | None = None
    status: _Status | None = None


class _Scope(msgspec.Struct):
    name: str | None = None


class _ScopeSpans(msgspec.Struct):
    scope: _Scope | None = None
    # Each parsed by itself: one that is wrong does not take the others with it.
    spans: list[msgspec.Raw] | None = None


class _Resource(msgspec.Struct):
    attributes: list[_Pair] | None = None


class _ResourceSpans(msgspec.Struct, rename="camel"):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] | None = None


class _Request(msgspec.Struct, rename="camel"):
    resource_spans: list[_ResourceSpans] | None = None


_decode_request = msgspec.json.Decoder(_Request).decode
_decode_span = msgspec.json.Decoder(_Span).decode
_decode_value = msgspec.json.Decoder(_Value).decode

# A text that was cut in the middle of an emoji: JavaScript writes the half that is left like this, and no parser of
# UTF-8 takes it.
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_DOUBLE = re.compile(r"-?[0-9]{1,17}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?")
_ERROR_CODES = (2, "STATUS_CODE_ERROR")


def _decode_json(body: bytes) -> Decoded:
    if body.count(b",") > _MOST_COMMAS:
        raise _too_many()
    try:
        request = _parse_request(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise _no_request("JSON, as OTLP has it") from None
    scopes = [part for sent in request.resource_spans or () for part in sent.scope_spans or ()]
    if sum(len(part.spans or ()) for part in scopes) > _MOST_SPANS:
        raise _too_many()
    decoded = Decoded()
    for resource_spans in request.resource_spans or ():
        pairs = (resource_spans.resource and resource_spans.resource.attributes) or ()
        resource, _ = _read_json(pairs, _ACCEPT_OF_RESOURCE)
        for scope_spans in resource_spans.scope_spans or ():
            scope = clean((scope_spans.scope and scope_spans.scope.name) or "", _SCOPE_CAP)
            for raw in scope_spans.spans or ():
                try:
                    decoded.spans.append(_json_span(raw, scope, resource))
                except _RejectedError as error:
                    decoded.reject(str(error))
    return decoded


def _parse_request(body: bytes) -> _Request:
    try:
        return _decode_request(body)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        repaired, halves = _LONE_SURROGATE.subn(rb"\\ufffd", body)
        if not halves:
            raise
        return _decode_request(repaired)


def _json_span(raw: msgspec.Raw, scope: str, resource: Mapping[str, Value]) -> Span:
    try:
        sent = _decode_span(raw)
    except (msgspec.DecodeError, UnicodeError):
        raise _RejectedError(_OTHER_TYPES) from None
    trace_id, span_id, parent_id = _hex(sent.trace_id), _hex(sent.span_id), _hex(sent.parent_span_id)
    _check_ids(trace_id, span_id, parent_id)
    attributes, bad_values = _read_json(sent.attributes or (), _ACCEPT)
    span = Span(
        event_id=_event_id(trace_id, span_id),
        trace_id=uuid_of(trace_id),
        parent_event_id=_event_id(trace_id, parent_id) if any(parent_id) else None,
        name=sent.name if sent.name in SPAN_NAMES else "",
        scope=scope,
        resource=resource,
        attributes=attributes,
        started_at=_moment(_integer(sent.start_time_unix_nano) or 0),
        ended_at=_moment(_integer(sent.end_time_unix_nano) or 0),
        error=sent.status is not None and sent.status.code in _ERROR_CODES,
        bad_values=_blamed(bad_values, scope),
    )
    for event in sent.events or ():
        if event.name is not None and _is_event_read(event.name):
            at = _integer(event.time_unix_nano) or 0
            _add_event(span, event.name, at, _read_json(event.attributes or (), _ACCEPT_OF_EVENT)[0])
    if span.chunks:
        _add_dropped_events(span, _integer(sent.dropped_events_count))
    return span


def _read_json(pairs: Iterable[_Pair], accept: Mapping[str, Accept]) -> tuple[dict[str, Value], list[str]]:
    kept: dict[str, Value] = {}
    bad: list[str] = []
    for pair in pairs:
        key = pair.key
        if keep := accept.get(key):
            scalar = _scalar(pair.value)
            value = None if scalar is None else keep(scalar)
            if value is None:
                bad.append(key)
            else:
                kept[key] = value
    return kept, bad


def _scalar(raw: msgspec.Raw) -> Scalar | None:
    try:
        value = _decode_value(raw)
    except (msgspec.DecodeError, UnicodeError):
        return None
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return _integer(value.int_value)
    if value.double_value is not None:
        return _double(value.double_value)
    return value.bool_value


def _hex(text: str | None) -> bytes:
    """As bytes; ones of no valid length where it is no hex."""
    try:
        read = bytes.fromhex(text or "")
    except ValueError:
        return b"?"
    # Blanks are skipped in there.
    return read if len(read) * 2 == len(text or "") else b"?"


def _integer(sent: int | str | None) -> int | None:
    if isinstance(sent, str):
        return int(sent) if _INTEGER.fullmatch(sent) else None
    return sent


def _double(sent: float | str) -> float | None:
    """ "NaN" and "Infinity" are how JSON writes them; there is no use for either."""
    if isinstance(sent, str):
        return float(sent) if _DOUBLE.fullmatch(sent) else None
    return sent
