"""What each emitter's spans become. The attributes are the ones that releases of late 2026 send."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.ledger.calls import Ending
from apps.ledger.emitters import EMITTERS, emitter_of, read, usage
from apps.ledger.emitters.providers import NAMES, provider_name
from apps.ledger.models import METER_COLUMNS
from apps.pricing.meters import Meter
from apps.pricing.providers import canonical
from tests.ledger.otlp.spans import ERROR, PARENT, SECOND, SPAN, START, TRACE, call, event, only

OFFICIAL = "opentelemetry.instrumentation.genai.openai"
CHAT: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 300,
}
BOTH = {Meter.INPUT: 1200, Meter.OUTPUT: 300}


def without(attributes: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in names}


# --- OpenTelemetry ---


def test_official() -> None:
    found = call(
        {
            **CHAT,
            "gen_ai.usage.cache_read.input_tokens": 1000,
            "gen_ai.usage.cache_write.input_tokens": 50,
            "gen_ai.usage.reasoning.output_tokens": 120,
            "gen_ai.usage.audio.input_tokens": 5,
            "gen_ai.usage.audio.output_tokens": 6,
            "gen_ai.response.time_to_first_chunk": 0.25,
            "gen_ai.conversation.id": "thread-1",
            "user.id": "u-1",
            "openai.response.service_tier": "Flex",
            "gen_ai.usage.cost": 0.0125,
            "anyllm.sequence.source": "worker-1",
            "anyllm.sequence.number": 7,
        },
        scope=OFFICIAL,
        resource={"service.name": "forecasts", "service.instance.id": "pod-1"},
    )
    assert (found.source, found.scope) == ("semconv", OFFICIAL)
    assert (found.provider, found.model, found.request_model) == ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini")
    assert (found.operation, found.response_id) == ("chat", "chatcmpl-1")
    assert found.meters == {
        **BOTH,
        Meter.CACHE_READ: 1000,
        Meter.CACHE_WRITE: 50,
        Meter.REASONING: 120,
        Meter.AUDIO_IN: 5,
        Meter.AUDIO_OUT: 6,
    }
    assert found.cache_in_input
    assert (found.service_tier, found.is_batch) == ("flex", False)
    assert (found.time_to_first_token_ms, found.total_duration_ms) == (250, 2000)
    assert (found.session, found.user, found.client_name) == ("thread-1", "u-1", "forecasts")
    assert (found.ending, found.error_type) == (Ending.OK, "")
    assert found.reported_cost == Decimal("0.0125")
    assert (found.event_id.bytes, found.parent_event_id and found.parent_event_id.bytes) == (
        TRACE[8:] + SPAN,
        TRACE[8:] + PARENT,
    )
    assert (found.trace_id and found.trace_id.bytes, found.instance) == (TRACE, "pod-1")
    assert (found.sequence_source, found.sequence_number) == ("worker-1", 7)
    assert found.provider_key_id is None
    # 300 tokens in the 1.75 seconds after the first.
    assert found.tokens_per_second == pytest.approx(300 / 1.75)
    assert found.chunks_received is None


@pytest.mark.parametrize(
    ("sent", "operation"),
    [
        ("chat", "chat"),
        ("text_completion", "text_completion"),
        ("completion", "text_completion"),
        ("generate_content", "generate_content"),
        ("generate", "generate_content"),
        ("embeddings", "embeddings"),
    ],
)
def test_inference(sent: str, operation: str) -> None:
    assert call({**CHAT, "gen_ai.operation.name": sent}, scope=OFFICIAL).operation == operation


@pytest.mark.parametrize(
    "operation",
    [
        "invoke_agent",
        "create_agent",
        "invoke_workflow",
        "execute_tool",
        "execute_task",
        "plan",
        "agent_step",
        "retrieval",
        "search_memory",
        "rerank",
        "",
        "Chat with me",
    ],
)
@pytest.mark.parametrize("scope", [OFFICIAL, "pydantic-ai", "opentelemetry.instrumentation.langchain", "my.library"])
def test_what_is_around_calls_is_no_call(operation: str, scope: str) -> None:
    """Whatever tokens it carries: they are the sum of the calls below it."""
    assert read(only({**CHAT, "gen_ai.operation.name": operation}, scope=scope)) is None


def test_a_span_without_an_operation_is_no_call() -> None:
    """A model and tokens are no proof: agents carry both."""
    assert read(only(without(CHAT, "gen_ai.operation.name"), scope=OFFICIAL)) is None
    assert read(only({"http.request.method": "POST"}, scope="opentelemetry.instrumentation.httpx")) is None


def test_aggregated_usage_is_never_read() -> None:
    sums = {"gen_ai.aggregated_usage.input_tokens": 5, "gen_ai.aggregated_usage.output_tokens": 5}
    assert only(sums, scope="pydantic-ai").attributes == {}


def test_a_call_without_tokens_is_a_call() -> None:
    tokens = [name for name in CHAT if "usage" in name]
    assert call(without(CHAT, *tokens), scope=OFFICIAL).meters == {}


def test_an_error() -> None:
    failed = without(CHAT, "gen_ai.response.id", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    found = call({**failed, "error.type": "openai.RateLimitError"}, scope=OFFICIAL, status=ERROR)
    assert (found.ending, found.error_type) == (Ending.ERROR, "openai.RateLimitError")
    raised = event("exception", exception__type="ValueError", exception__message="what was said")
    found = call(failed, scope=OFFICIAL, status=ERROR, events=[raised])
    assert (found.ending, found.error_type) == (Ending.ERROR, "ValueError")


def test_an_exception_that_was_handled_is_no_error() -> None:
    found = call(CHAT, scope=OFFICIAL, events=[event("exception", exception__type="ValueError")])
    assert (found.ending, found.error_type) == (Ending.OK, "")


def test_an_error_type_that_is_a_sentence_is_dropped() -> None:
    found = call({**CHAT, "error.type": "the user said hello"}, scope=OFFICIAL, status=ERROR)
    assert (found.ending, found.error_type) == (Ending.ERROR, "")


def test_the_preferred_attribute_counts() -> None:
    older = {
        "gen_ai.system": "anthropic",
        "gen_ai.usage.prompt_tokens": 1,
        "gen_ai.usage.completion_tokens": 2,
        "gen_ai.usage.cache_read_input_tokens": 3,
        "gen_ai.usage.cache_creation.input_tokens": 4,
        "gen_ai.usage.reasoning_tokens": 5,
    }
    found = call({**without(CHAT, "gen_ai.usage.input_tokens"), **older}, scope=OFFICIAL)
    assert (found.provider, found.meters[Meter.INPUT], found.meters[Meter.OUTPUT]) == ("openai", 8, 300)
    assert found.meters[Meter.REASONING] == 5


def test_cached_tokens_beside_the_input() -> None:
    beside = {
        "gen_ai.usage.input_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 1000,
        "gen_ai.usage.cache_creation.input_tokens": 400,
    }
    found = call({**CHAT, **beside}, scope=OFFICIAL)
    assert found.meters == {
        Meter.INPUT: 1450,
        Meter.OUTPUT: 300,
        Meter.CACHE_READ: 1000,
        Meter.CACHE_WRITE: 400,
    }
    assert not found.cache_in_input


@pytest.mark.parametrize("service", ["unknown_service", "unknown_service:python"])
def test_a_program_without_a_name_has_none(service: str) -> None:
    assert call(CHAT, scope=OFFICIAL, resource={"service.name": service}).client_name == ""


@pytest.mark.parametrize(
    ("sent", "cost"),
    [
        (0.000285, Decimal("0.000285")),
        (1, Decimal(1)),
        ("0.1", Decimal("0.1")),
        ("0.1234567890123456", Decimal("0.123456789012")),
        ("1E-999999", Decimal(0)),
        (-0.1, None),
        ("NaN", None),
        ("Infinity", None),
        (1e10, None),
        (True, None),
        ("cheap", None),
        ("0." + "1" * 100, None),
    ],
)
def test_reported_cost(sent: Any, cost: Decimal | None) -> None:
    assert call({**CHAT, "gen_ai.usage.cost": sent}, scope=OFFICIAL).reported_cost == cost


def test_a_batch() -> None:
    assert call({**CHAT, "anthropic.response.service_tier": "batch"}, scope=OFFICIAL).is_batch


def test_a_span_that_ends_before_it_starts() -> None:
    found = call(CHAT, scope=OFFICIAL, end_time_unix_nano=START - SECOND)
    assert found.total_duration_ms is None
    assert found.started_at is not None


@pytest.mark.parametrize(
    ("said_seconds", "kept_ms"),
    [
        (2, 2000),
        # By another clock, or from before the span began: it came with the end.
        (2.000_013, 2000),
        (2.053, 2000),
        (3, 2000),
        # Milliseconds that pass for seconds.
        (250, None),
    ],
)
def test_a_first_token_after_the_end(said_seconds: float, kept_ms: float | None) -> None:
    found = call({**CHAT, "gen_ai.response.time_to_first_chunk": said_seconds}, scope=OFFICIAL)
    assert (found.time_to_first_token_ms, found.total_duration_ms) == (kept_ms, 2000)
    assert found.tokens_per_second == (None if kept_ms else 150)


@pytest.mark.parametrize(
    ("fields", "rate"),
    [
        ({}, 150),
        ({"end_time_unix_nano": START}, None),
        ({"end_time_unix_nano": START - SECOND}, None),
        ({"start_time_unix_nano": 0}, None),
    ],
)
def test_tokens_a_second_are_derived(fields: dict[str, Any], rate: float | None) -> None:
    assert call(CHAT, scope=OFFICIAL, **fields).tokens_per_second == rate
    assert call(without(CHAT, "gen_ai.usage.output_tokens"), scope=OFFICIAL, **fields).tokens_per_second is None
    assert call({**CHAT, "gen_ai.usage.output_tokens": 0}, scope=OFFICIAL, **fields).tokens_per_second is None


def test_unknown_scopes_are_read_by_the_conventions_they_use() -> None:
    assert call(CHAT, scope="my.library").source == "semconv"
    assert call({"openinference.span.kind": "LLM"}, scope="my.library").source == "openinference"
    assert call({"langfuse.observation.type": "generation"}, scope="").source == "langfuse"
    assert call({"mlflow.spanType": '"LLM"'}, scope="my.library").source == "mlflow"
    assert call({"ai.operationId": "ai.generateText.doGenerate"}, scope="my.library").source == "vercel-ai"


# --- any-llm ---

ANY_LLM: dict[str, Any] = {
    **without(CHAT, "gen_ai.operation.name", "gen_ai.response.id"),
    "gen_ai.conversation.id": "user-7",
    "anyllm.client_name": "forecasts",
    "anyllm.session_label": TRACE.hex(),
    "anyllm.performance.ttft_ms": 99.5,
}


def test_anyllm() -> None:
    found = call(ANY_LLM, scope="any-llm", name="llm.request", resource={"service.name": "shop"})
    assert (found.source, found.operation, found.meters) == ("any-llm", "chat", BOTH)
    assert (found.client_name, found.user, found.session) == ("forecasts", "user-7", TRACE.hex())
    assert (found.time_to_first_token_ms, found.ending) == (99.5, Ending.OK)
    labelled = {**ANY_LLM, "anyllm.user_session_label": "checkout"}
    assert call(labelled, scope="any-llm", name="llm.request").session == "checkout"


def test_anyllms_first_token_by_its_event() -> None:
    attributes = without(ANY_LLM, "anyllm.performance.ttft_ms")
    said = event("llm.first_token", SECOND, anyllm__performance__ttft_ms=75.0)
    assert call(attributes, scope="any-llm", name="llm.request", events=[said]).time_to_first_token_ms == 75
    unsaid = event("llm.first_token", SECOND // 2)
    assert call(attributes, scope="any-llm", name="llm.request", events=[unsaid]).time_to_first_token_ms == 500


def test_a_cancelled_stream() -> None:
    found = call(
        {**ANY_LLM, "anyllm.stream.cancelled": True, "error.type": "CancelledError"},
        scope="any-llm",
        name="llm.request",
        status=ERROR,
    )
    assert (found.ending, found.error_type) == (Ending.CANCELLED, "CancelledError")


def test_other_spans_of_anyllm_are_no_calls() -> None:
    assert read(only(ANY_LLM, scope="any-llm", name="llm.retry")) is None


# --- OpenLLMetry ---


def test_openllmetry() -> None:
    older: dict[str, Any] = {
        "gen_ai.system": "OpenAI",
        "llm.request.type": "chat",
        "gen_ai.request.model": "gpt-4",
        "gen_ai.usage.prompt_tokens": 10,
        "gen_ai.usage.completion_tokens": 5,
        "llm.usage.total_tokens": 15,
        "gen_ai.user": "u-1",
    }
    chunk = event("gen_ai.content.completion.chunk", SECOND // 4)
    scope = "opentelemetry.instrumentation.openai.v1"
    found = call(older, scope=scope, events=[chunk, event("gen_ai.content.completion.chunk", SECOND)])
    assert (found.source, found.provider, found.operation) == ("openllmetry", "openai", "chat")
    assert found.meters == {Meter.INPUT: 10, Meter.OUTPUT: 5}
    assert (found.user, found.time_to_first_token_ms, found.chunks_received) == ("u-1", 250, 2)
    long = call(older, scope=scope, events=[chunk] * 128, dropped_events_count=72)
    assert (long.time_to_first_token_ms, long.chunks_received) == (None, 200)
    assert call({"llm.request.type": "rerank"}, scope="opentelemetry.instrumentation.cohere").operation == "rerank"
    assert read(only({"llm.request.type": "unknown"}, scope=scope)) is None


@pytest.mark.parametrize("kind", ["workflow", "task", "agent", "tool"])
def test_a_workflow_of_traceloop_is_no_call(kind: str) -> None:
    attributes = {**CHAT, "traceloop.span.kind": kind, "llm.request.type": "chat"}
    assert read(only(attributes, scope="opentelemetry.instrumentation.langchain")) is None
    assert read(only(without(attributes, "gen_ai.operation.name"), scope="traceloop.tracer")) is None


def test_a_framework_is_no_provider() -> None:
    found = call({**CHAT, "gen_ai.provider.name": "Langchain"}, scope="opentelemetry.instrumentation.langchain")
    assert found.provider == "openai"
    unsure = {**CHAT, "gen_ai.provider.name": "langchain", "gen_ai.response.model": "llama-3.3-70b"}
    assert call(unsure, scope="opentelemetry.instrumentation.langchain").provider == ""


# --- OpenInference ---


@pytest.mark.parametrize(
    ("kind", "operation"), [("LLM", "chat"), ("EMBEDDING", "embeddings"), ("RERANKER", "rerank"), ("llm", "chat")]
)
def test_openinference(kind: str, operation: str) -> None:
    found = call(
        {
            "openinference.span.kind": kind,
            "llm.system": "openai",
            "llm.provider": "azure",
            "llm.model_name": "gpt-4o-mini-2024-07-18",
            "llm.token_count.prompt": 1200,
            "llm.token_count.completion": 300,
            "llm.token_count.total": 1500,
            "llm.token_count.prompt_details.cache_read": 1000,
            "llm.token_count.prompt_details.cache_write": 100,
            "llm.token_count.prompt_details.audio": 1,
            "llm.token_count.completion_details.reasoning": 120,
            "llm.token_count.completion_details.audio": 2,
            "llm.cost.total": 0.5,
            "session.id": "s",
            "user.id": "u",
        },
        scope="openinference.instrumentation.openai",
        events=[event("First Token Stream Event", SECOND)],
    )
    assert (found.source, found.operation, found.provider) == ("openinference", operation, "azure")
    assert found.model == "gpt-4o-mini-2024-07-18"
    assert found.meters == {
        **BOTH,
        Meter.CACHE_READ: 1000,
        Meter.CACHE_WRITE: 100,
        Meter.REASONING: 120,
        Meter.AUDIO_IN: 1,
        Meter.AUDIO_OUT: 2,
    }
    assert (found.session, found.user, found.reported_cost) == ("s", "u", Decimal("0.5"))
    assert found.time_to_first_token_ms == 1000


@pytest.mark.parametrize(
    "kind", ["CHAIN", "AGENT", "TOOL", "RETRIEVER", "GUARDRAIL", "EVALUATOR", "PROMPT", "DECISION", "UNKNOWN", ""]
)
def test_openinferences_other_kinds(kind: str) -> None:
    attributes = {"openinference.span.kind": kind, "llm.token_count.prompt": 5, "llm.model_name": "gpt-5"}
    assert read(only(attributes, scope="openinference.instrumentation.langchain")) is None


def test_models_of_openinference() -> None:
    embedding = {"openinference.span.kind": "EMBEDDING", "embedding.model_name": "embed-1", "llm.model_name": "x"}
    assert call(embedding, scope="openinference.instrumentation.openai").model == "embed-1"
    both = {"openinference.span.kind": "LLM", "llm.response.model_name": "a-1", "llm.request.model_name": "a"}
    found = call(both, scope="openinference.instrumentation.openai")
    assert (found.model, found.request_model) == ("a-1", "a")


# --- pydantic-ai and Logfire ---


def test_pydantic_ai() -> None:
    details = {
        "cache_read_tokens": 1000,
        "cache_write_tokens": 20,
        "reasoning_tokens": 120,
        "input_audio_tokens": 3,
        "output_audio_tokens": 4,
    }
    found = call(
        {
            **CHAT,
            "gen_ai.provider.name": "google-gla",
            **{f"gen_ai.usage.details.{name}": count for name, count in details.items()},
            "operation.cost": 0.0003,
            "gen_ai.client.operation.time_to_first_chunk": 0.5,
        },
        scope="pydantic-ai",
    )
    assert (found.source, found.provider, found.reported_cost) == ("pydantic-ai", "gemini", Decimal("0.0003"))
    assert found.meters == {
        **BOTH,
        Meter.CACHE_READ: 1000,
        Meter.CACHE_WRITE: 20,
        Meter.REASONING: 120,
        Meter.AUDIO_IN: 3,
        Meter.AUDIO_OUT: 4,
    }
    assert found.time_to_first_token_ms == 500


RAW = {
    "prompt_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 1000, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 120},
    "note": "never kept",
}


def test_logfire() -> None:
    attributes = {**CHAT, "logfire.span_type": "span", "gen_ai.usage.raw": json.dumps(RAW), "operation.cost": 0.000285}
    span = only(attributes, scope="logfire.openai")
    assert "never" not in repr(span)
    found = read(span)
    assert found is not None
    assert found.meters == {**BOTH, Meter.CACHE_READ: 1000, Meter.REASONING: 120, Meter.AUDIO_IN: 0}
    assert (found.source, found.reported_cost) == ("logfire", Decimal("0.000285"))


@pytest.mark.parametrize("scope", ["logfire.openai", "pydantic-ai", "my.library"])
def test_a_span_that_was_only_announced_is_no_call(scope: str) -> None:
    assert read(only({**CHAT, "logfire.span_type": "pending_span"}, scope=scope)) is None


def test_a_stream_of_logfire_is_one_call() -> None:
    opened = without(CHAT, "gen_ai.response.id", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    assert read(only({**opened, "logfire.span_type": "span"}, scope="logfire.openai")) is None
    ended: dict[str, Any] = {"start_time_unix_nano": START, "end_time_unix_nano": START}
    logged = {**without(CHAT, "gen_ai.response.id"), "logfire.span_type": "log", "duration": 1.5}
    found = call(logged, scope="logfire.openai", **ended)
    assert (found.meters, found.total_duration_ms) == (BOTH, 1500)
    silent = call({**opened, "logfire.span_type": "log", "duration": 1.5}, scope="logfire.openai", **ended)
    assert silent.meters == {}


def test_a_stream_of_logfire_that_was_refused_is_a_call() -> None:
    opened = without(CHAT, "gen_ai.response.id", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    found = call({**opened, "logfire.span_type": "span"}, scope="logfire.openai", status=ERROR)
    assert found.ending is Ending.ERROR


# --- Langfuse ---


def langfuse(usage: Any, **more: Any) -> Any:
    attributes = {
        "langfuse.observation.type": "generation",
        "langfuse.observation.model.name": "claude-sonnet-4-5",
        "langfuse.observation.usage_details": usage if isinstance(usage, str) else json.dumps(usage),
        **more,
    }
    return call(attributes, scope="langfuse-sdk")


@pytest.mark.parametrize(
    ("usage", "meters", "inside"),
    [
        (
            {
                "prompt_tokens": 1200,
                "completion_tokens": 300,
                "total_tokens": 1500,
                "prompt_tokens_details": {"cached_tokens": 1000},
                "completion_tokens_details": {"reasoning_tokens": 120},
            },
            {**BOTH, Meter.CACHE_READ: 1000, Meter.REASONING: 120},
            True,
        ),
        (
            {"input_tokens": 1200, "output_tokens": 300, "input_tokens_details": {"cached_tokens": 1000}},
            {**BOTH, Meter.CACHE_READ: 1000},
            True,
        ),
        (
            {
                "input_tokens": 500,
                "output_tokens": 70,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 50,
                "cache_creation": {"ephemeral_1h_input_tokens": 10},
            },
            {
                Meter.INPUT: 650,
                Meter.OUTPUT: 70,
                Meter.CACHE_READ: 100,
                Meter.CACHE_WRITE: 50,
                Meter.CACHE_WRITE_1H: 10,
            },
            False,
        ),
        (
            {"input_tokens": 500, "output_tokens": 70, "cache_read_input_tokens": 0},
            {Meter.INPUT: 500, Meter.OUTPUT: 70, Meter.CACHE_READ: 0},
            True,
        ),
        (
            {"input": 200, "output": 180, "input_cache_read": 1000, "output_reasoning": 120, "total": 1500},
            {**BOTH, Meter.CACHE_READ: 1000, Meter.REASONING: 120},
            False,
        ),
        (
            {"input": 50, "output": 70, "input_cache_creation_5m": 300, "input_cache_creation_1h": 100},
            {Meter.INPUT: 450, Meter.OUTPUT: 70, Meter.CACHE_WRITE: 400, Meter.CACHE_WRITE_1H: 100},
            False,
        ),
        (
            {"input": 50, "output": 70, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 400},
            {Meter.INPUT: 1450, Meter.OUTPUT: 70, Meter.CACHE_READ: 1000, Meter.CACHE_WRITE: 400},
            False,
        ),
        (
            {"input": 10, "output": 300, "completion_tokens_details": {"reasoning_tokens": 120}},
            {Meter.INPUT: 10, Meter.OUTPUT: 300, Meter.REASONING: 120},
            True,
        ),
        # What its handler for LangChain makes of details: each is taken out of `input` or `output`, here down to 0.
        (
            {
                "input": 0,
                "output": 0,
                "total": 1500,
                "input_modality_TEXT": 1100,
                "input_modality_IMAGE": 100,
                "output_modality_TEXT": 300,
            },
            BOTH,
            True,
        ),
        (
            {
                "input": 0,
                "output": 180,
                "total": 1500,
                "thoughts_token_count": 120,
                "input_modality_text": 150,
                "input_modality_audio": 50,
                "cached_modality_text": 900,
                "cached_modality_audio": 100,
                "cached_content_token_count": 1000,
            },
            {**BOTH, Meter.CACHE_READ: 1000, Meter.AUDIO_IN: 50, Meter.REASONING: 120},
            False,
        ),
        (
            {
                "input": 50,
                "output": 70,
                "total": 1520,
                "input_cache_read": 1000,
                "input_cache_creation": 0,
                "input_ephemeral_5m_input_tokens": 300,
                "input_ephemeral_1h_input_tokens": 100,
            },
            {
                Meter.INPUT: 1450,
                Meter.OUTPUT: 70,
                Meter.CACHE_READ: 1000,
                Meter.CACHE_WRITE: 400,
                Meter.CACHE_WRITE_1H: 100,
            },
            False,
        ),
        (
            {
                "input": 0,
                "output": 0,
                "total": 1500,
                "input_flex": 200,
                "output_flex": 180,
                "input_flex_cache_read": 1000,
                "output_flex_reasoning": 120,
            },
            {**BOTH, Meter.CACHE_READ: 1000, Meter.REASONING: 120},
            False,
        ),
        (
            {
                "input": 1200,
                "output": 300,
                "total": 1500,
                "input_priority": 200,
                "output_priority": 180,
                "input_priority_cache_read": 1000,
                "output_priority_reasoning": 120,
            },
            {**BOTH, Meter.CACHE_READ: 1000, Meter.REASONING: 120},
            True,
        ),
        # A text that was cached is a text.
        (
            {"input": 0, "output": 300, "total": 1500, "input_cached_tokens": 1000, "input_text_tokens": 1200},
            {**BOTH, Meter.CACHE_READ: 1000},
            False,
        ),
        ({"input": 0, "output": 0, "input_modality_TEXT": 1200, "output_modality_TEXT": 300}, BOTH, True),
        # More was used than is understood.
        ({"input": 0, "output": 0, "total": 1500, "input_modality_SMELL": 1200}, {}, True),
        ({"input": 200, "output": 300, "total": 1500, "input_of_tomorrow": 1000}, {}, True),
        ({"input": 4}, {Meter.INPUT: 4}, True),
        ({"input": 4, "total": 4}, {Meter.INPUT: 4}, True),
        ({"total": 15}, {}, True),
        ({"input": "many", "output": -1}, {}, True),
        ([1, 2], {}, True),
        ("no JSON", {}, True),
        ("[" * 100_000, {}, True),
    ],
)
def test_usage_of_langfuse(usage: Any, meters: dict[Meter, int], inside: bool) -> None:
    found = langfuse(usage)
    assert (found.meters, found.cache_in_input) == (meters, inside)


def test_langfuse() -> None:
    started = datetime.fromtimestamp(START // SECOND).astimezone() + timedelta(milliseconds=750)
    found = langfuse(
        {"input": 1, "output": 2},
        **{
            "langfuse.observation.cost_details": '{"input": 1, "total": 0.25}',
            "langfuse.observation.completion_start_time": json.dumps(started.isoformat()),
            "langfuse.observation.level": "ERROR",
            "langfuse.session.id": "s",
            "langfuse.user.id": "u",
        },
    )
    assert (found.source, found.operation) == ("langfuse", "chat")
    assert (found.provider, found.model) == ("anthropic", "claude-sonnet-4-5")
    assert (found.session, found.user, found.reported_cost) == ("s", "u", Decimal("0.25"))
    assert (found.time_to_first_token_ms, found.ending) == (750, Ending.ERROR)


@pytest.mark.parametrize("kind", ["span", "event", "agent", "tool", "chain", "retriever", "evaluator", "guardrail"])
def test_langfuses_other_observations(kind: str) -> None:
    """Even with a model: Langfuse itself would take that for a generation, and count twice."""
    attributes = {"langfuse.observation.type": kind, "langfuse.observation.model.name": "gpt-5"}
    assert read(only(attributes, scope="langfuse-sdk")) is None
    assert read(only(without(attributes, "langfuse.observation.type"), scope="langfuse-sdk")) is None


# --- MLflow, Anthropic, Vercel ---


def test_mlflow() -> None:
    tokens = {
        "input_tokens": 1450,
        "output_tokens": 70,
        "total_tokens": 1520,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 400,
        "cache_creation_input_tokens_above_1hr": 100,
    }
    found = call(
        {
            "mlflow.spanType": '"CHAT_MODEL"',
            "mlflow.llm.model": '"claude-sonnet-4-5-20250929"',
            "mlflow.llm.provider": '"anthropic"',
            "model": '"claude-sonnet-4-5"',
            "mlflow.chat.tokenUsage": json.dumps(tokens),
            "mlflow.llm.cost": '{"input_cost": 0.1, "total_cost": 0.3}',
            "mlflow.trace.session": '"s"',
        },
        scope="mlflow.tracing.provider",
    )
    assert (found.source, found.operation, found.provider) == ("mlflow", "chat", "anthropic")
    assert (found.model, found.request_model) == ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5")
    assert found.meters == {
        Meter.INPUT: 1450,
        Meter.OUTPUT: 70,
        Meter.CACHE_READ: 1000,
        Meter.CACHE_WRITE: 400,
        Meter.CACHE_WRITE_1H: 100,
    }
    assert (found.reported_cost, found.session) == (Decimal("0.3"), "s")


def test_mlflow_with_opentelemetrys_names() -> None:
    assert call(CHAT, scope="mlflow.tracing.provider").meters == BOTH


@pytest.mark.parametrize("kind", ["CHAIN", "AGENT", "TOOL", "RETRIEVER", "PARSER", "UNKNOWN", "RERANKER"])
def test_mlflows_other_spans(kind: str) -> None:
    attributes = {
        "mlflow.spanType": json.dumps(kind),
        "mlflow.chat.tokenUsage": '{"input_tokens": 5}',
        "mlflow.trace.tokenUsage": '{"input_tokens": 5}',
    }
    span = only(attributes, scope="mlflow.tracing.provider")
    assert read(span) is None
    assert "mlflow.trace.tokenUsage" not in span.attributes


def test_anthropic() -> None:
    found = call(
        {
            **CHAT,
            "gen_ai.provider.name": "anthropic",
            "gen_ai.usage.input_tokens": 1450,
            "gen_ai.usage.cache_read.input_tokens": 1000,
            "gen_ai.usage.cache_write.input_tokens": 400,
            "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 300,
            "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 100,
            "anthropic.response.service_tier": "standard",
        },
        scope="com.anthropic.sdk.python",
    )
    assert found.meters == {
        Meter.INPUT: 1450,
        Meter.OUTPUT: 300,
        Meter.CACHE_READ: 1000,
        Meter.CACHE_WRITE: 400,
        Meter.CACHE_WRITE_1H: 100,
    }
    assert (found.source, found.service_tier, found.cache_in_input) == ("anthropic", "standard", True)


def test_vercel() -> None:
    found = call(
        {
            "ai.operationId": "ai.streamText.doStream",
            "ai.model.id": "gpt-4o-mini",
            "ai.model.provider": "openai",
            "ai.response.model": "gpt-4o-mini-2024-07-18",
            "ai.response.id": "chatcmpl-1",
            "ai.response.msToFirstChunk": 80.5,
            "ai.response.avgOutputTokensPerSecond": 160.25,
            "ai.usage.inputTokens": 1200,
            "ai.usage.outputTokens": 300,
            "ai.usage.cachedInputTokens": 1000,
            "ai.usage.reasoningTokens": 120,
        },
        scope="ai",
    )
    assert found.meters == {**BOTH, Meter.CACHE_READ: 1000, Meter.REASONING: 120}
    assert (found.source, found.provider, found.time_to_first_token_ms) == ("vercel-ai", "openai", 80.5)
    assert found.tokens_per_second == 160.25
    outer = {"ai.operationId": "ai.streamText", "ai.usage.inputTokens": 1200}
    assert read(only(outer, scope="ai")) is None


@pytest.mark.parametrize(
    ("sent", "provider", "billed_as"),
    [
        ("openai.chat", "openai", "openai"),
        ("openai.responses", "openai", "openai"),
        ("anthropic.messages", "anthropic", "anthropic"),
        ("google.generative-ai", "gemini", "google"),
        ("google.vertex.chat", "vertexai", "google"),
        ("google.vertex.anthropic.messages", "vertexaianthropic", "google"),
        ("azure.chat", "azureopenai", "azure"),
        ("azure-openai.responses", "azureopenai", "azure"),
        ("amazon-bedrock", "bedrock", "aws"),
        ("mistral.chat", "mistral", "mistral"),
        ("xai.chat", "xai", "x-ai"),
        ("togetherai.chat", "together", "together"),
        ("moonshotai.chat", "moonshot", "moonshotai"),
        ("groq.chat", "groq", "groq"),
        ("gateway", "gateway", "gateway"),
        ("Somebody.chat", "somebody", "somebody"),
        # OpenTelemetry's names, which have dots of their own.
        ("gcp.vertex_ai", "vertexai", "google"),
        ("azure.ai.openai", "azureopenai", "azure"),
    ],
)
@pytest.mark.parametrize("attribute", ["ai.model.provider", "gen_ai.system"])
def test_providers_of_vercel(sent: str, provider: str, billed_as: str, attribute: str) -> None:
    found = call({"ai.operationId": "ai.streamText.doStream", attribute: sent}, scope="ai")
    assert (found.provider, canonical(found.provider)) == (provider, billed_as)


# --- The registry, and providers ---


def test_every_scope_has_one_emitter() -> None:
    scopes = [scope.rstrip("*") for emitter in EMITTERS for scope in emitter.scopes]
    assert len(scopes) == len(set(scopes))
    for emitter in EMITTERS:
        for scope in emitter.scopes:
            sample = scope.replace("*", "python")
            assert emitter_of(sample) is emitter
            assert [other for other in EMITTERS if other.claims(sample)] == [emitter]
    assert emitter_of("somebody.elses") is None


def test_emitters_agree_on_what_an_attribute_holds() -> None:
    kinds: dict[str, set[str]] = {}
    for emitter in EMITTERS:
        for key, kind in emitter.keys.items():
            kinds.setdefault(key, set()).add(kind.about)
    assert {key: found for key, found in kinds.items() if len(found) > 1} == {}


def test_every_meter_has_its_column() -> None:
    """What a row does not have, its price could not be made from again."""
    read_meters = {meter for emitter in EMITTERS for meter in emitter.fields.meters} | usage.PATHS.keys()
    assert read_meters <= METER_COLUMNS.keys()


def test_names_fit_their_columns() -> None:
    names = [emitter.name for emitter in EMITTERS]
    assert len(names) == len(set(names))
    assert all(len(name) <= 32 for name in names)


def test_providers_are_billed_as_the_price_table_has_them() -> None:
    ours = {sent for sent in NAMES if sent != "ibm.watsonx.ai"}
    assert {sent for sent in ours if canonical(sent) != canonical(NAMES[sent])} == set()


@pytest.mark.parametrize(
    ("sent", "model", "provider"),
    [
        ("OpenAI", "", "openai"),
        ("gcp.gemini", "", "gemini"),
        ("gcp.vertex_ai", "", "vertexai"),
        ("aws.bedrock", "", "bedrock"),
        ("azure.ai.openai", "gpt-5", "azureopenai"),
        ("x_ai", "", "xai"),
        ("somebody", "gpt-5", "somebody"),
        ("", "gpt-5", "openai"),
        ("langgraph", "o3-mini", "openai"),
        ("crewai", "Claude-Sonnet-4-5", "anthropic"),
        ("", "gemini-3-flash", "gemini"),
        ("", "mistral-large-latest", "mistral"),
        ("", "command-r-plus", "cohere"),
        ("", "grok-4", "xai"),
        ("", "deepseek-chat", "deepseek"),
        ("", "gpt-oss-120b", ""),
        ("", "mistral-7b-instruct", ""),
        ("", "deepseek-v3", ""),
        ("", "openai/gpt-5", ""),
        ("", "claude-sonnet-4@20250514", ""),
        ("", "mistral-large:123b", ""),
        ("", "o3x", ""),
        ("langchain", "", ""),
        # In lower case it is two characters.
        ("İ" * 64, "", "i\u0307" * 32),
    ],
)
def test_provider_names(sent: str, model: str, provider: str) -> None:
    assert provider_name(sent, model) == provider
