"""Decoding: both encodings make the same spans, whatever is wrong is ours to name, and nothing gets large."""

import json
import math
import tracemalloc
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from apps.ledger.emitters import KEYS, read
from apps.ledger.otlp.body import UnsupportedMediaTypeError
from apps.ledger.otlp.decode import JSON, PROTOBUF, Decoded, decode
from tests.ledger.otlp.spans import (
    ERROR,
    PARENT,
    SECOND,
    SPAN,
    START,
    TRACE,
    any_value,
    as_json,
    both,
    event,
    only,
    request,
    span,
)
from web.api import MalformedError, TooLargeError
from web.errors import DomainError

TOKENS = "gen_ai.usage.input_tokens"
MODEL = "gen_ai.request.model"


def sent(**fields: Any) -> bytes:
    """A JSON request of one span with these fields."""
    whole = {"traceId": TRACE.hex(), "spanId": SPAN.hex(), **fields}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [whole]}]}]}).encode()


def attributes(*values: Any, key: str = TOKENS) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for value in values]


def test_a_span() -> None:
    decoded = only(
        {TOKENS: 12, MODEL: "gpt-5", "unknown": "dropped"},
        scope="some.library",
        resource={"service.name": "shop", "service.instance.id": "pod-1", "host.name": "dropped"},
        name="dropped",
        status=ERROR,
        events=[event("exception", exception__type="ValueError", exception__message="dropped")],
    )
    assert decoded.event_id == uuid.UUID(bytes=TRACE[8:] + SPAN)
    assert decoded.trace_id == uuid.UUID(bytes=TRACE)
    assert decoded.parent_event_id == uuid.UUID(bytes=TRACE[8:] + PARENT)
    assert decoded.attributes == {TOKENS: 12, MODEL: "gpt-5"}
    assert decoded.resource == {"service.name": "shop", "service.instance.id": "pod-1"}
    assert (decoded.scope, decoded.name) == ("some.library", "")
    assert decoded.started_at == datetime.fromtimestamp(START // SECOND, UTC)
    assert decoded.ended_at is not None
    assert (decoded.ended_at - decoded.started_at).total_seconds() == 2
    assert (decoded.error, decoded.exception_type) == (True, "ValueError")
    assert decoded.bad_values == ()


def test_only_the_names_that_tell_spans_are_kept() -> None:
    assert only({}, scope="any-llm", name="llm.request").name == "llm.request"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"resourceSpans":[]}', b'{"resourceSpans":null}', b'{"x":{"y":[1]}}'])
def test_an_empty_request_is_none_wrong(body: bytes) -> None:
    assert decode(body, JSON if body else PROTOBUF) == Decoded()


def test_other_content_types() -> None:
    for content_type in ("", "text/plain", "application/protobuf", "application/x-www-form-urlencoded"):
        with pytest.raises(UnsupportedMediaTypeError):
            decode(b"", content_type)


# --- Both encodings ---

finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.one_of(st.text(max_size=300), st.integers(-(2**63), 2**63 - 1), finite, st.booleans())
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
)
keys = st.sampled_from(sorted(KEYS)) | st.text(max_size=20)
moments = st.integers(0, 2**64 - 1) | st.integers(START, START + SECOND)
events = st.builds(
    lambda name, kept: event(name, **{key.replace(".", "__"): value for key, value in kept.items()}),
    st.sampled_from(
        ["exception", "llm.first_token", "First Token Stream Event", "gen_ai.content.completion.chunk", "gen_ai.choice"]
    ),
    st.dictionaries(st.sampled_from(["exception.type", "exception.message", "anyllm.performance.ttft_ms"]), values),
)
spans = st.builds(
    span,
    st.dictionaries(keys, values, max_size=8),
    trace_id=st.binary(min_size=16, max_size=16) | st.just(bytes(16)) | st.binary(max_size=20),
    span_id=st.binary(min_size=8, max_size=8) | st.binary(max_size=10),
    parent_span_id=st.just(b"") | st.just(bytes(8)) | st.binary(min_size=8, max_size=8) | st.binary(max_size=10),
    name=st.sampled_from(["llm.request", "chat"]) | st.text(max_size=10),
    start_time_unix_nano=moments,
    end_time_unix_nano=moments,
    status=st.sampled_from([ERROR, trace_pb2.Status(), trace_pb2.Status(code=trace_pb2.Status.STATUS_CODE_OK)]),
    events=st.lists(events, max_size=3),
    dropped_events_count=st.integers(0, 2**32 - 1),
)


@given(
    st.lists(spans, max_size=4),
    st.sampled_from(["any-llm", "langfuse-sdk", "logfire.openai", "mlflow.tracing.provider", "ai"]) | st.text(),
    st.dictionaries(st.sampled_from(["service.name", "service.instance.id", "host.name"]), values),
)
def test_both_encodings_are_the_same(made: list[trace_pb2.Span], scope: str, resource: dict[str, Any]) -> None:
    whole = request(*made, scope=scope, resource=resource)
    decoded = decode(whole.SerializeToString(), PROTOBUF)
    assert decoded == decode(as_json(whole), JSON)
    assert len(decoded.spans) + decoded.rejected == len(made)
    for one in decoded.spans:
        read(one)


@given(st.binary(max_size=400) | st.builds(lambda one: request(one).SerializeToString()[:-1], spans))
def test_arbitrary_bytes_raise_nothing_of_others(body: bytes) -> None:
    for content_type in (PROTOBUF, JSON):
        try:
            decoded = decode(body, content_type)
        except DomainError:
            continue
        for one in decoded.spans:
            read(one)


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "resourceSpans",
                    "scopeSpans",
                    "spans",
                    "scope",
                    "name",
                    "attributes",
                    "key",
                    "value",
                    "stringValue",
                    "status",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(documents)
def test_arbitrary_json_raises_nothing_of_others(document: Any) -> None:
    for body in (document, {"resourceSpans": [{"scopeSpans": [{"spans": [document]}]}]}):
        try:
            decode(json.dumps(body).encode(), JSON)
        except DomainError:
            continue


# --- What is wrong ---


@pytest.mark.parametrize(
    "fields",
    [
        {"trace_id": b""},
        {"trace_id": TRACE[:8]},
        {"trace_id": TRACE + TRACE},
        {"trace_id": bytes(16)},
        {"span_id": b""},
        {"span_id": SPAN[:4]},
        {"span_id": bytes(8)},
        {"parent_span_id": PARENT[:4]},
    ],
)
def test_a_span_with_wrong_ids_is_rejected_alone(fields: dict[str, bytes]) -> None:
    whole = request(span({TOKENS: 1}), span({TOKENS: 2}, **fields))
    decoded = decode(whole.SerializeToString(), PROTOBUF)
    assert decoded == decode(as_json(whole), JSON)
    assert [one.attributes for one in decoded.spans] == [{TOKENS: 1}]
    assert decoded.rejected == 1
    [reason] = decoded.reasons
    assert " id must be " in reason


def test_a_parent_of_zeros_is_none() -> None:
    assert only({}, scope="x", parent_span_id=bytes(8)).parent_event_id is None
    assert only({}, scope="x", parent_span_id=b"").parent_event_id is None


def test_reasons_are_few_and_say_nothing_that_was_sent() -> None:
    bad = [span(trace_id=b"secret-%02d" % number) for number in range(50)]
    decoded = decode(request(*bad).SerializeToString(), PROTOBUF)
    assert (decoded.rejected, len(decoded.reasons)) == (50, 1)
    assert "secret" not in repr(decoded)


@pytest.mark.parametrize(
    "identifier", ["no hex at all, but of 32 letters", TRACE.hex()[:-2] + "  ", TRACE.hex()[:-1], 5]
)
def test_ids_in_json_are_hex(identifier: Any) -> None:
    """Not base64, as protobuf's own JSON has them."""
    assert decode(sent(traceId=identifier), JSON).rejected == 1


def test_hex_may_be_upper_case() -> None:
    [decoded] = decode(sent(traceId=TRACE.hex().upper()), JSON).spans
    assert decoded.trace_id.bytes == TRACE


def test_one_span_of_another_shape_is_rejected_alone() -> None:
    spans = [{"traceId": TRACE.hex(), "spanId": SPAN.hex(), "attributes": []}]
    wrong: list[Any] = [{**spans[0], "attributes": {}}, {**spans[0], "startTimeUnixNano": []}, 1, None, "x", [], {}]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans + wrong}]}]}).encode()
    decoded = decode(body, JSON)
    assert (len(decoded.spans), decoded.rejected) == (1, len(wrong))


def test_one_span_that_is_no_protobuf_is_rejected_alone() -> None:
    whole = request(span({TOKENS: 1}), span(name="x" * 50)).SerializeToString()
    # Not UTF-8, which protobuf's texts must be.
    decoded = decode(whole.replace(b"x" * 50, b"\xff" * 50), PROTOBUF)
    assert (len(decoded.spans), decoded.rejected) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [
        b"no protobuf",
        request(span({TOKENS: 1})).SerializeToString()[:-1],
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0b\x0c",
        b"\x0a",
        b"\x0d\x00",
        # A resource that is none.
        b"\x0a\x04\x0a\x02\x0a\x05",
    ],
)
def test_broken_protobuf(body: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(body, PROTOBUF)


def test_wrong_wire_types_are_unknown_fields() -> None:
    assert decode(b"\x08\x01\x0d\x00\x00\x00\x00\x09" + b"\0" * 8, PROTOBUF) == Decoded()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no json",
        b"[]",
        b"1",
        b'{"resourceSpans":[}',
        b'{"resourceSpans":{}}',
        b'{"resourceSpans":[1]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":{}}]}]}',
        b'{"resourceSpans":' + b"[" * 100_000,
        b'{"x":' + b'{"x":' * 100_000,
        b'{"resourceSpans":"\xff"}',
        '{"resourceSpans":[]}'.encode("utf-16"),
    ],
)
def test_broken_json(body: bytes) -> None:
    with pytest.raises(MalformedError):
        decode(body, JSON)


def test_a_deeply_nested_attribute_in_protobuf() -> None:
    value = b""
    for _ in range(200):
        value = tag(5, tag(1, value))
    nested = tag(9, tag(1, MODEL.encode()) + tag(2, value))
    decoded = decode(tag(1, tag(2, tag(2, IDS) + tag(2, IDS + nested))), PROTOBUF)
    assert (len(decoded.spans), decoded.rejected) == (1, 1)


@pytest.mark.parametrize("half", [r"\ud83d", r"\ude00", r"\ud83d\ud83d\ude00", r"ok \ud83d."])
def test_half_an_emoji_in_content_loses_nothing(half: str) -> None:
    """JavaScript cuts texts anywhere and writes the half that is left as an escape."""
    half = json.loads(f'"{half}"')
    content = {"key": "gen_ai.input.messages", "value": {"stringValue": half}}
    [decoded] = decode(sent(attributes=[content, *attributes({"intValue": 5})]), JSON).spans
    assert decoded.attributes == {TOKENS: 5}
    [decoded] = decode(sent(attributes=attributes({"stringValue": half}, key=MODEL)), JSON).spans
    assert str(decoded.attributes[MODEL]).encode()


# --- Values ---


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"intValue": "12"}, 12),
        ({"intValue": 12}, 12),
        ({"doubleValue": 12.0}, 12),
        ({"stringValue": "12"}, 12),
        ({"stringValue": "1000000000000"}, 10**12),
        ({"intValue": "0"}, 0),
        ({"intValue": "1000000000001"}, None),
        ({"intValue": "-1"}, None),
        ({"intValue": 10**30}, None),
        ({"intValue": "1" * 5000}, None),
        ({"intValue": "1_000"}, None),
        ({"intValue": True}, None),
        ({"boolValue": True}, None),
        ({"doubleValue": 12.5}, None),
        ({"doubleValue": "NaN"}, None),
        ({"doubleValue": "Infinity"}, None),
        ({"doubleValue": 1e300}, None),
        ({"stringValue": "twelve"}, None),
        ({"stringValue": "١٢"}, None),
        ({"stringValue": ""}, None),
        ({"stringValue": 12}, None),
        ({"arrayValue": {"values": [{"intValue": "1"}]}}, None),
        ({"kvlistValue": {"values": [{"key": "x", "value": {"intValue": "1"}}]}}, None),
        ({"bytesValue": "MTI="}, None),
        ({}, None),
        (None, None),
    ],
)
def test_counts(value: Any, kept: int | None) -> None:
    [decoded] = decode(sent(attributes=attributes(value)), JSON).spans
    assert decoded.attributes.get(TOKENS) == kept
    assert decoded.bad_values == (() if kept is not None else (TOKENS,))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.5])
def test_numbers_that_are_none(value: float) -> None:
    key = "gen_ai.response.time_to_first_chunk"
    decoded = decode(request(span({key: value})).SerializeToString(), PROTOBUF).spans[0]
    assert (decoded.attributes, decoded.bad_values) == ({}, (key,))


def test_a_value_that_is_wrong_for_another_emitter_is_not_blamed() -> None:
    assert only({"duration": "long", TOKENS: [1]}, scope="any-llm").bad_values == (TOKENS,)
    assert only({"duration": "long"}, scope="logfire.openai").bad_values == ("duration",)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("gpt-5", "gpt-5"),
        ("gpt\0-\n5\x7f\x85", "gpt-5"),
        ("m" * 300, "m" * 256),
        ("é\u200b", "é\u200b"),
        ("\0" * 10_000 + "late", ""),
    ],
)
def test_texts_are_cleaned_and_capped(value: str, kept: str) -> None:
    assert only({MODEL: value}, scope="x").attributes == {MODEL: kept}


def test_ids_are_dropped_when_long() -> None:
    key = "gen_ai.response.id"
    assert only({key: "r" * 128}, scope="x").attributes == {key: "r" * 128}
    assert only({key: "r" * 129}, scope="x").bad_values == (key,)


def test_of_duplicate_attributes_the_last_that_is_right_counts() -> None:
    made = span({TOKENS: 1})
    for value in (2, "x"):
        made.attributes.add(key=TOKENS, value=any_value(value))
    [decoded] = both(request(made))
    assert decoded.attributes == {TOKENS: 2}


@pytest.mark.parametrize("nanoseconds", [0, 1, 10**9, 2**63, 2**64 - 1])
def test_times_that_were_never_set(nanoseconds: int) -> None:
    decoded = only({}, scope="x", start_time_unix_nano=nanoseconds, end_time_unix_nano=nanoseconds)
    assert (decoded.started_at, decoded.ended_at) == (None, None)


@pytest.mark.parametrize("nanoseconds", [START, str(START)])
def test_times_in_json(nanoseconds: int | str) -> None:
    [decoded] = decode(sent(startTimeUnixNano=nanoseconds), JSON).spans
    assert decoded.started_at == datetime.fromtimestamp(START // SECOND, UTC)


@pytest.mark.parametrize(
    ("code", "error"), [(2, True), ("STATUS_CODE_ERROR", True), (1, False), ("STATUS_CODE_OK", False), (None, False)]
)
def test_status_in_json(code: Any, error: bool) -> None:
    [decoded] = decode(sent(status={"code": code, "message": "dropped"}), JSON).spans
    assert decoded.error is error


def test_events() -> None:
    decoded = only(
        {},
        scope="x",
        events=[
            event("gen_ai.choice", 1, exception__type="No"),
            event("exception", 2, exception__type="Handled"),
            event("llm.first_token", SECOND // 4, anyllm__performance__ttft_ms=250.5),
            event("gen_ai.content.completion.chunk", SECOND),
            event("exception", 3, exception__type="openai.RateLimitError"),
        ],
    )
    assert decoded.exception_type == "openai.RateLimitError"
    assert decoded.first_token_ms == 250.5
    assert decoded.first_token_at == datetime.fromtimestamp(START / SECOND + 0.25, UTC)


@pytest.mark.parametrize("name", ["a sentence of the user", "x" * 129, "", "é"])
def test_the_type_of_an_exception_is_a_name(name: str) -> None:
    assert only({}, scope="x", events=[event("exception", exception__type=name)]).exception_type == ""


# --- Nothing gets large ---


def tag(number: int, content: bytes) -> bytes:
    length, rest = [], len(content)
    while rest > 127:
        length.append(rest & 127 | 128)
        rest >>= 7
    return bytes([number << 3 | 2, *length, rest]) + content


MANY = 2**21
IDS = tag(1, TRACE) + tag(2, SPAN)


@pytest.mark.parametrize(
    "body",
    [
        b"\x0a\x00" * MANY,
        tag(1, b"\x12\x00" * MANY),
        tag(1, tag(2, b"\x12\x00" * MANY)),
        b"\x10\x00" * MANY,
        tag(1, tag(1, b"\x0a\x00" * 3 * MANY)),
        tag(1, tag(2, tag(2, IDS + b"\x5a\x00" * 3 * MANY))),
    ],
    ids=["resources", "scopes", "spans", "other fields", "a resource's attributes", "a span's events"],
)
def test_small_messages_do_not_become_large_ones(body: bytes) -> None:
    """Four MiB of the smallest messages would be hundreds when parsed at once."""
    tracemalloc.start()
    try:
        decoded = decode(body, PROTOBUF)
    except (TooLargeError, MalformedError):
        decoded = Decoded()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert decoded.spans == []
    assert peak < 16 * 2**20


def test_too_many_spans() -> None:
    whole = tag(1, tag(2, tag(2, IDS) * 50_001))
    with pytest.raises(TooLargeError):
        decode(whole, PROTOBUF)
    made = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b",".join([b"{}"] * 50_001) + b"]}]}]}"
    with pytest.raises(TooLargeError):
        decode(made, JSON)
    with pytest.raises(TooLargeError):
        decode(b'{"resourceSpans":[{"scopeSpans":[' + b"{}," * 2_000_001 + b"{}]}]}", JSON)


def test_a_collectors_largest_usual_batch() -> None:
    whole = ExportTraceServiceRequest()
    scoped = whole.resource_spans.add().scope_spans.add()
    scoped.spans.extend(span({TOKENS: number}) for number in range(8192))
    assert len(decode(whole.SerializeToString(), PROTOBUF).spans) == 8192
