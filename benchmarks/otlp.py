"""Spans as exporters send them: OTLP/HTTP requests in protobuf, each span the root of a trace of its own.

A request is encoded once, with marks where ids, times and counts of tokens stand. Another one is made by putting new
ones in their places, which takes a tenth of the time. No two spans are alike: a ledger that looks for calls
that were reported twice would find some.
"""

import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from benchmarks.client import HOST, Script, Steps, body

PATH = "/v1/traces"
PROTOBUF = "application/x-protobuf"
# Marks, as long as what takes their place: a trace id, a span id, a trace id as text; times in nanoseconds; counts of
# tokens, which are known by what stands before them and always take two bytes.
TRACE_ID, SPAN_ID, TRACE_TEXT = b"<a trace's id..>", b"<span..>", b"<the id of a trace as its text.>"
STARTED, FIRST_TOKEN, ENDED = (int.from_bytes(8 * byte) for byte in (b"\x11", b"\x22", b"\x33"))
INPUT, OUTPUT = 16_383, 16_382
_TIMES = [mark.to_bytes(8, "little") for mark in (STARTED, FIRST_TOKEN, ENDED)]
_COUNTS = b"\xff\x7f", b"\xfe\x7f"
_MARK = re.compile(
    rb"(%s|(?<=put_tokens\x12\x03\x18)(?:%s))"
    % (b"|".join(map(re.escape, [TRACE_ID, SPAN_ID, TRACE_TEXT, *_TIMES])), b"|".join(_COUNTS))
)
# Part of every content that is sent, and of nothing that is stored.
CANARY = "canary-of-the-benchmarks"

MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "o3")
# What is in 3 KB of a prompt and as much of an answer, as ledgers of other kinds keep them.
PROSE = f"{CANARY} what people ask models, and what models answer. " * 35

Value = str | int | float | bool | Sequence[str]


def _any(value: Value) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case str():
            return AnyValue(string_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
    return AnyValue(array_value=ArrayValue(values=[_any(one) for one in value]))


def _attributes(values: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_any(value)) for name, value in values.items()]


def _span(name: str, attributes: Mapping[str, Value]) -> Span:
    return Span(
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        flags=0x100,  # whether the parent is remote is known: as the SDK says it of a root
        name=name,
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=STARTED,
        end_time_unix_nano=ENDED,
        attributes=_attributes(attributes),
    )


def _any_llm(chance: random.Random) -> Span:
    """As any-llm-sdk 1.15.0 reports a streamed completion."""
    ttft = chance.uniform(80, 900)
    model = chance.choice(MODELS)
    attributes: dict[str, Value] = {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "anyllm.client_name": "benchmarks",
        "anyllm.session_label": TRACE_TEXT.decode(),
        "anyllm.performance.ttft_ms": ttft,
        "gen_ai.response.model": model,
        "gen_ai.usage.input_tokens": INPUT,
        "gen_ai.usage.output_tokens": OUTPUT,
    }
    span = _span("llm.request", attributes)
    span.events.add(
        time_unix_nano=FIRST_TOKEN,
        name="llm.first_token",
        attributes=_attributes({"anyllm.performance.ttft_ms": ttft}),
    )
    return span


def _gen_ai(chance: random.Random) -> Span:
    """As OpenTelemetry's own instrumentation reports a chat, with the content that people can have it capture."""
    model = chance.choice(MODELS)
    attributes: dict[str, Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": model,
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.max_tokens": 4_096,
        "gen_ai.request.seed": 7,
        "gen_ai.request.stop_sequences": ("END", CANARY),
        "gen_ai.output.type": "text",
        "server.address": "api.openai.com",
        "server.port": 443,
        "gen_ai.response.id": f"chatcmpl-{TRACE_TEXT.decode()}",
        "gen_ai.response.model": model,
        "gen_ai.response.finish_reasons": ("stop",),
        "openai.response.service_tier": "default",
        "gen_ai.usage.input_tokens": INPUT,
        "gen_ai.usage.output_tokens": OUTPUT,
        # Less than there can be of input and output.
        "gen_ai.usage.cache_read.input_tokens": 128,
        "gen_ai.usage.reasoning.output_tokens": 100,
        "gen_ai.system_instructions": f'[{{"type":"text","content":"{CANARY}"}}]',
        "gen_ai.input.messages": f'[{{"role":"user","parts":[{{"type":"text","content":"{PROSE}"}}]}}]',
        "gen_ai.output.messages": f'[{{"role":"assistant","parts":[{{"type":"text","content":"{PROSE}"}}]}}]',
    }
    return _span(f"chat {model}", attributes)


@dataclass(frozen=True, slots=True)
class _Emitter:
    scope: InstrumentationScope
    resource: Mapping[str, Value]
    span: Callable[[random.Random], Span]


_SDK: Mapping[str, Value] = {
    "telemetry.sdk.language": "python",
    "telemetry.sdk.name": "opentelemetry",
    "telemetry.sdk.version": "1.45.2",
}


class Kind(Enum):
    """Which spans: any-llm's own, or OpenTelemetry's with content."""

    LEAN = "any-llm"
    RICH = "GenAI with content"


_EMITTERS = {
    Kind.LEAN: _Emitter(
        InstrumentationScope(name="any-llm", version="1.15.0"), {**_SDK, "service.name": "any-llm"}, _any_llm
    ),
    Kind.RICH: _Emitter(
        InstrumentationScope(name="opentelemetry.instrumentation.genai.openai", version="1.3b0"),
        {**_SDK, "service.name": "benchmarks", "service.instance.id": "benchmarks-1"},
        _gen_ai,
    ),
}


class Template:
    """A request's body of so many spans; each call of `fill` gives another one."""

    def __init__(self, kind: Kind, size: int) -> None:
        emitter, self._chance, self._now = _EMITTERS[kind], random.Random(), time.time_ns()
        message = ExportTraceServiceRequest(
            resource_spans=[
                ResourceSpans(
                    resource=Resource(attributes=_attributes(emitter.resource)),
                    scope_spans=[
                        ScopeSpans(scope=emitter.scope, spans=[emitter.span(self._chance) for _ in range(size)])
                    ],
                )
            ]
        )
        encoded = message.SerializeToString()
        self.length = len(encoded)
        # What stands between the marks, and, at every odd place, a mark. A span's first is its trace id.
        self._parts = _MARK.split(encoded)

    def fill(self) -> bytes:
        parts, values = self._parts.copy(), self._values()
        for place in range(1, len(parts), 2):
            if parts[place] == TRACE_ID:
                values = self._values()
            parts[place] = values[parts[place]]
        return b"".join(parts)

    def _values(self) -> dict[bytes, bytes]:
        """Of one span: a call of up to five seconds that ended in the last minute."""
        trace, chance = os.urandom(16), self._chance.random
        ended = self._now - int(60e9 * chance())
        started = ended - int(1e9 + 4e9 * chance())
        times = (started, started + int(1e9 * chance()), ended)
        return {
            TRACE_ID: trace,
            SPAN_ID: os.urandom(8),
            TRACE_TEXT: trace.hex().encode(),
            **{mark: at.to_bytes(8, "little") for mark, at in zip(_TIMES, times, strict=True)},
            **{mark: bytes((128 | int(128 * chance()), 1 + int(126 * chance()))) for mark in _COUNTS},
        }


@dataclass(frozen=True)
class Spans:
    """So many requests of so many spans, made before the stretch begins; whichever connection is free takes the next.

    Every answer has to be 200. `is_empty_success`: its body has to be empty, which is how OTLP says in protobuf that
    all spans were taken.
    """

    name: str
    kind: Kind
    size: int
    requests: int
    headers: Mapping[str, str] = field(default_factory=dict)
    is_empty_success: bool = True

    @property
    def spans(self) -> int:
        return self.size * self.requests

    def scripts(self, connections: int, _steps: Steps) -> list[Script]:
        template = Template(self.kind, self.size)
        lines = [
            f"POST {PATH} HTTP/1.1",
            f"Host: {HOST}",
            "User-Agent: benchmarks",
            f"Content-Type: {PROTOBUF}",
            f"Content-Length: {template.length}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
        ]
        head = "\r\n".join([*lines, "", ""]).encode()
        requests = iter([head + template.fill() for _ in range(self.requests)])
        return [self._script(requests) for _ in range(connections)]

    def _script(self, requests: Iterator[bytes]) -> Script:
        for request in requests:
            answer = yield request
            if not answer.startswith(b"HTTP/1.1 200 ") or (self.is_empty_success and body(answer)):
                raise RuntimeError(f"{self.name}: {answer!r}")
