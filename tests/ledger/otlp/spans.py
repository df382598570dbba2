"""Requests to export spans, as exporters make them: in protobuf, and the same in OTLP's JSON."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from apps.ledger.calls import Call
from apps.ledger.emitters import read
from apps.ledger.emitters.base import Span
from apps.ledger.otlp.decode import JSON, PROTOBUF, decode

TRACE = bytes(range(1, 17))
SPAN = bytes(range(21, 29))
PARENT = bytes(range(31, 39))
# 2026-09-21T13:33:20Z, in nanoseconds.
START = 1_789_997_600 * 10**9
SECOND = 10**9


def any_value(value: Any) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
        case bytes():
            return AnyValue(bytes_value=value)
        case list():
            made = AnyValue()
            made.array_value.values.extend(any_value(item) for item in value)
            return made
        case dict():
            made = AnyValue()
            made.kvlist_value.values.extend(key_values(value))
            return made
    raise TypeError(value)


def key_values(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in attributes.items()]


def event(name: str, after: int = 0, **attributes: Any) -> trace_pb2.Span.Event:
    """`after` the span's start, in nanoseconds."""
    renamed = {key.replace("__", "."): value for key, value in attributes.items()}
    return trace_pb2.Span.Event(name=name, time_unix_nano=START + after, attributes=key_values(renamed))


def span(attributes: Mapping[str, Any] | None = None, **fields: Any) -> trace_pb2.Span:
    """Two seconds long, below PARENT."""
    defaults: dict[str, Any] = {
        "trace_id": TRACE,
        "span_id": SPAN,
        "parent_span_id": PARENT,
        "name": "a span",
        "start_time_unix_nano": START,
        "end_time_unix_nano": START + 2 * SECOND,
    }
    return trace_pb2.Span(**{**defaults, **fields}, attributes=key_values(attributes or {}))


ERROR = trace_pb2.Status(code=trace_pb2.Status.STATUS_CODE_ERROR, message="what the provider said")


def request(
    *spans: trace_pb2.Span, scope: str = "tests", resource: Mapping[str, Any] | None = None
) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    group.resource.attributes.extend(key_values(resource or {}))
    scoped = group.scope_spans.add()
    scoped.scope.name = scope
    scoped.spans.extend(spans)
    return made


def _hex_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_hex_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64decode(item).hex() if key in ("traceId", "spanId", "parentSpanId") else _hex_ids(item)
        for key, item in value.items()
    }


def as_json(made: ExportTraceServiceRequest) -> bytes:
    """What differs from protobuf's own JSON: ids in hex, enums as numbers."""
    return json.dumps(_hex_ids(json_format.MessageToDict(made, use_integers_for_enums=True))).encode()


def both(made: ExportTraceServiceRequest) -> list[Span]:
    """The spans, which are the same from both encodings."""
    decoded = decode(made.SerializeToString(), PROTOBUF)
    assert decoded == decode(as_json(made), JSON)
    assert not decoded.rejected
    return decoded.spans


def only(
    attributes: Mapping[str, Any], *, scope: str, resource: Mapping[str, Any] | None = None, **fields: Any
) -> Span:
    [decoded] = both(request(span(attributes, **fields), scope=scope, resource=resource))
    return decoded


def call(
    attributes: Mapping[str, Any], *, scope: str, resource: Mapping[str, Any] | None = None, **fields: Any
) -> Call:
    found = read(only(attributes, scope=scope, resource=resource, **fields))
    assert found is not None
    return found
