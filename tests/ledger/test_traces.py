"""POST /v1/traces: what exporters are answered, what is stored, and that of reports of one call one counts."""

import gzip
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.db import DataError, OperationalError, connection
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status as Code

from apps.directory import ingest_tokens
from apps.directory.services import retire_key
from apps.ledger import ingestion, related
from apps.ledger.models import PriceStatus, SpanLink, UsageEvent
from apps.ledger.standing import Standing, standings
from apps.pricing.models import UnpricedModel
from apps.projects.models import Project
from apps.projects.services import archive_project, create_project, restore_project
from tenancy import tenant_scope
from tests.cast import Sdk, Workspace
from tests.ledger import facts

START = 1_790_000_000 * 10**9  # 2026-09-21, in nanoseconds
OPENAI = "opentelemetry.instrumentation.genai.openai"
OPENINFERENCE = "openinference.instrumentation.openai"
OPENLLMETRY = "opentelemetry.instrumentation.openai.v1"
PROTOBUF = "application/x-protobuf"


def value_of(value: Any) -> AnyValue:
    match value:
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
    return AnyValue(string_value=value)


@dataclass
class Sent:
    """A span as a test describes it."""

    attributes: dict[str, Any]
    scope: str = OPENAI
    name: str = "chat gpt-4o-mini"
    trace: bytes = field(default_factory=lambda: os.urandom(16))
    span: bytes = field(default_factory=lambda: os.urandom(8))
    parent: bytes = b""
    start_ms: float = 0
    duration_ms: float = 1_000
    error: bool = False
    instance: str = ""

    def below(self, other: "Sent") -> "Sent":
        self.trace, self.parent = other.trace, other.span
        return self

    @property
    def event_id(self) -> uuid.UUID:
        return uuid.UUID(bytes=self.trace[8:] + self.span)


def chat(input_tokens: int | None = 1_200, output_tokens: int | None = 100, **others: Any) -> Sent:
    """OpenTelemetry's own span of a chat with gpt-4o-mini: 0.15 and 0.60 USD a million, cached 0.075."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    }
    if input_tokens is not None:
        attributes["gen_ai.usage.input_tokens"] = input_tokens
    if output_tokens is not None:
        attributes["gen_ai.usage.output_tokens"] = output_tokens
    return Sent(attributes | others.pop("attributes", {}), **others)


def any_llm(**others: Any) -> Sent:
    sent = chat(**others)
    del sent.attributes["gen_ai.operation.name"]
    sent.scope, sent.name = "any-llm", "llm.request"
    return sent


def other_span(**others: Any) -> Sent:
    return Sent({"http.request.method": "POST"}, scope="opentelemetry.instrumentation.httpx", name="POST", **others)


def export(sent: Sequence[Sent]) -> bytes:
    request = ExportTraceServiceRequest()
    for each in sent:
        resource = request.resource_spans.add()
        resource.resource.attributes.append(KeyValue(key="service.name", value=value_of("shop")))
        if each.instance:
            instance = KeyValue(key="service.instance.id", value=value_of(each.instance))
            resource.resource.attributes.append(instance)
        scope = resource.scope_spans.add()
        scope.scope.name = each.scope
        span = scope.spans.add(
            trace_id=each.trace,
            span_id=each.span,
            parent_span_id=each.parent,
            name=each.name,
            start_time_unix_nano=START + int(each.start_ms * 1e6),
            end_time_unix_nano=START + int((each.start_ms + each.duration_ms) * 1e6),
        )
        span.status.code = Code.STATUS_CODE_ERROR if each.error else Code.STATUS_CODE_UNSET
        span.attributes.extend(KeyValue(key=key, value=value_of(value)) for key, value in each.attributes.items())
    return request.SerializeToString()


class Exporter:
    """An exporter of a project of its own."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        with tenant_scope(workspace.organization):
            self.project = create_project(name=f"spans-{uuid.uuid4().hex[:8]}")
            _, self.token = ingest_tokens.issue(
                organization_id=workspace.organization.id, project_id=self.project.id, name="exporter", user_id=None
            )
        self.client = workspace.sdk().client

    def post(self, body: bytes, content_type: str = PROTOBUF, **headers: str) -> Any:
        bearer = {"Authorization": f"Bearer {self.token}"}
        # Django's client leaves the type out where there is no body; exporters don't.
        return self.client.post(
            "/v1/traces", body, content_type=content_type, CONTENT_TYPE=content_type, headers=bearer | headers
        )

    def send(self, *sent: Sent) -> None:
        answer = self.post(export(sent))
        assert answer.status_code == 200, Status.FromString(answer.content)
        assert answer.content == b""

    def standings(self) -> dict[uuid.UUID, Standing]:
        with tenant_scope(self.workspace.organization):
            events = UsageEvent.objects.filter(project_id=self.project.id)
            return {standing.event.event_id: standing for standing in standings(events)}

    def cost(self) -> Decimal:
        """Of all that counts, to the last digit."""
        return sum((one.price.cost for one in self.standings().values() if one.price.cost is not None), Decimal())


@pytest.fixture
def exporter(acme: Workspace) -> Exporter:
    return Exporter(acme)


# --- What is stored ---


def test_a_call_is_stored_with_all_that_was_said_of_it(exporter: Exporter) -> None:
    sent = chat(
        attributes={
            "gen_ai.usage.cache_read.input_tokens": 1_000,
            "gen_ai.usage.reasoning.output_tokens": 40,
            "gen_ai.response.id": "chatcmpl-1",
            "gen_ai.conversation.id": "order 7",
            "user.id": "u-12",
            "gen_ai.input.messages": "canary",
        },
        parent=b"12345678",
        duration_ms=1_250.5,
    )
    exporter.send(sent)
    (one,) = exporter.standings().values()
    row = one.event
    assert (row.event_id, row.trace_id, row.source, row.scope) == (
        sent.event_id,
        uuid.UUID(bytes=sent.trace),
        "semconv",
        OPENAI,
    )
    assert (row.provider, row.model, row.request_model) == ("openai", "gpt-4o-mini-2024-07-18", "gpt-4o-mini")
    assert (row.input_tokens, row.cache_read_tokens, row.output_tokens, row.reasoning_tokens) == (1_200, 1_000, 100, 40)
    assert (row.operation, row.ending, row.response_id, row.session, row.user_label, row.client_name) == (
        "chat",
        "ok",
        "chatcmpl-1",
        "order 7",
        "u-12",
        "shop",
    )
    assert row.total_duration_ms == 1_250.5
    assert int(row.occurred_at.timestamp() * 10**9) == START
    assert (row.key_generation, row.ingest_token_id is not None, row.requests) == (None, True, 1)
    # 200 at 0.15, 1,000 at 0.075 and 100 at 0.60 USD a million
    assert row.cost == Decimal("0.000165")
    assert row.flags == []


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_json_and_gzip_are_taken_too(exporter: Exporter, encoding: str) -> None:
    body = (
        b'{"resourceSpans":[{"scopeSpans":[{"scope":{"name":"any-llm"},"spans":[{"traceId":"'
        + os.urandom(16).hex().encode()
        + b'","spanId":"00f067aa0ba902b7","name":"llm.request","kind":3,"startTimeUnixNano":"1790000000000000000",'
        b'"endTimeUnixNano":1790000001000000000,"unknown":[1],"attributes":['
        b'{"key":"gen_ai.provider.name","value":{"stringValue":"openai"}},'
        b'{"key":"gen_ai.response.model","value":{"stringValue":"gpt-4o-mini"}},'
        b'{"key":"gen_ai.usage.input_tokens","value":{"intValue":"1000000"}},'
        b'{"key":"gen_ai.usage.output_tokens","value":{"intValue":0}}]}]}]}]}'
    )
    body = gzip.compress(body) if encoding == "gzip" else body
    answer = exporter.post(body, "application/json; charset=utf-8", **{"Content-Encoding": encoding})
    assert (answer.status_code, answer.json(), answer["Content-Type"]) == (200, {}, "application/json")
    assert exporter.cost() == Decimal("0.15")


def test_an_error_without_usage_is_a_failed_call_and_not_an_unpriced_one(exporter: Exporter) -> None:
    exporter.send(chat(None, None, error=True, attributes={"error.type": "RateLimitError"}), chat(None, None))
    failed, unknown = sorted((one.event for one in exporter.standings().values()), key=lambda row: row.price_status)
    assert (failed.price_status, failed.ending, failed.error_type, failed.cost) == (
        "failed",
        "error",
        "RateLimitError",
        None,
    )
    assert (unknown.price_status, unknown.price_reason, unknown.cost) == ("unpriced", "missing_usage", None)


def test_an_embedding_has_no_output(exporter: Exporter) -> None:
    attributes = {"gen_ai.operation.name": "embeddings", "gen_ai.response.model": "text-embedding-3-small"}
    exporter.send(chat(1_000_000, None, attributes=attributes))
    assert exporter.cost() == Decimal("0.02")


def test_times_are_the_reporters_own_and_a_wrong_clock_is_marked(exporter: Exporter) -> None:
    year = 365 * 86_400_000
    late, early = chat(start_ms=-year), chat(start_ms=year)
    exporter.send(late, early, chat(duration_ms=-5))
    rows = {one.event.event_id: one.event for one in exporter.standings().values()}
    assert rows[late.event_id].flags == []
    assert rows[late.event_id].occurred_at.year < 2026
    assert rows[early.event_id].flags == ["clock_skew"]
    assert sum(row.flags == ["clock_skew"] for row in rows.values()) == 2
    endless = chat(duration_ms=73 * year)
    exporter.send(endless)
    assert exporter.standings()[endless.event_id].event.flags == ["clock_skew"]


def test_labels_are_hidden_where_the_project_says_so(exporter: Exporter) -> None:
    with tenant_scope(exporter.workspace.organization):
        Project.objects.filter(id=exporter.project.id).update(hides_labels=True)
    labels = {"user.id": "ann@example.com", "gen_ai.conversation.id": "ann@example.com"}
    exporter.send(chat(attributes=labels), chat(attributes=labels), chat())
    users = sorted(one.event.user_label for one in exporter.standings().values())
    assert users[0] == ""
    assert users[1] == users[2]
    assert len(users[1]) == 16
    assert "ann" not in repr([vars(one.event) for one in exporter.standings().values()])


# --- What exporters are answered ---


def test_spans_that_are_no_calls_are_accepted_and_left_out(exporter: Exporter) -> None:
    root = other_span()
    exporter.send(root, other_span().below(root))
    assert exporter.standings() == {}
    assert exporter.post(b"").status_code == 200


def test_what_cannot_be_read_is_said_and_the_rest_is_stored(exporter: Exporter) -> None:
    broken = chat(span=b"short")
    answer = exporter.post(export([broken, chat()]))
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert partial.rejected_spans == 1
    assert "8 bytes" in partial.error_message
    assert len(exporter.standings()) == 1
    answer = exporter.post(export([chat(attributes={"gen_ai.usage.input_tokens": -5})]))
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_spans, "gen_ai.usage.input_tokens" in partial.error_message) == (0, True)


@pytest.mark.parametrize(
    ("body", "content_type", "headers", "status"),
    [
        (b"\xff\xff", PROTOBUF, {}, 400),
        (b"{", "application/json", {}, 400),
        (b"", "text/plain", {}, 415),
        (b"", PROTOBUF, {"Content-Encoding": "br"}, 415),
        (b"no gzip", PROTOBUF, {"Content-Encoding": "gzip"}, 400),
        (b"", PROTOBUF, {"Authorization": "Bearer alpi_unknown"}, 401),
        (b"", PROTOBUF, {"Authorization": "Basic eA=="}, 401),
        (b"", PROTOBUF, {"Authorization": ""}, 401),
    ],
)
def test_errors_are_a_status_in_the_requests_encoding(
    exporter: Exporter, body: bytes, content_type: str, headers: dict[str, str], status: int
) -> None:
    answer = exporter.post(body, content_type, **headers)
    assert answer.status_code == status
    message = Status.FromString(answer.content).message if content_type == PROTOBUF else answer.json()["message"]
    assert message.endswith(".")
    assert exporter.standings() == {}


def test_a_body_that_inflates_beyond_the_limit_is_refused(exporter: Exporter, settings: Any) -> None:
    settings.OTLP_BODY_LIMIT = 100_000
    answer = exporter.post(gzip.compress(bytes(10_000_000)), **{"Content-Encoding": "gzip"})
    assert answer.status_code == 413


def test_the_path_is_exact_and_only_posted_to(exporter: Exporter) -> None:
    assert exporter.client.post("/v1/traces/", b"", content_type=PROTOBUF).status_code == 404
    answer = exporter.client.get("/v1/traces")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")


@pytest.mark.parametrize("error", [OperationalError("gone"), RuntimeError("a fault of ours"), MemoryError()])
def test_whatever_is_not_the_exporters_fault_is_to_be_sent_again(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(ingestion, "_begin", fail)
    answer = exporter.post(export([chat()]))
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) <= 3
    monkeypatch.undo()
    assert exporter.standings() == {}


def test_what_the_database_cannot_take_is_said_and_the_rest_is_stored(exporter: Exporter) -> None:
    """Sent again it would be the same."""
    outer = other_span()
    with facts.a_dollar_a_token(exporter.workspace.organization.id):
        answer = exporter.post(export([outer, chat(), other_span().below(outer), chat(10**12), chat()]))
    assert answer.status_code == 200
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_spans, "too large" in partial.error_message) == (1, True)
    assert len(exporter.standings()) == 2
    with tenant_scope(exporter.workspace.organization):
        assert SpanLink.objects.filter(project_id=exporter.project.id).count() == 1


def test_a_providers_name_fits_its_column_in_lower_case_too(exporter: Exporter) -> None:
    exporter.send(chat(attributes={"gen_ai.provider.name": "İ" * 64}))
    assert [one.event.provider for one in exporter.standings().values()] == ["i\u0307" * 32]


def test_the_sdks_token_reports_until_its_key_is_retired(acme: Workspace) -> None:
    sdk: Sdk = acme.sdk()
    key = acme.add_provider_key("openai", "sk-acme")

    def post(sent: Sent) -> int:
        answer = sdk.client.post("/v1/traces", export([sent]), content_type=PROTOBUF, headers=sdk.bearer)
        return int(answer.status_code)

    sent = any_llm()
    assert post(sent) == 200
    with tenant_scope(acme.organization):
        row = UsageEvent.objects.get(event_id=sent.event_id)
    assert (row.source, row.key_generation, row.provider_key_id) == ("any-llm", 1, key.id)
    retire_key(project_id=acme.project.id, generation=1)
    assert post(any_llm()) == 401


def test_an_ingest_token_writes_usage_and_nothing_else(exporter: Exporter) -> None:
    bearer = {"Authorization": f"Bearer {exporter.token}"}
    assert exporter.client.get("/api/v1/provider-keys/openai", headers=bearer).status_code == 401
    assert exporter.client.get("/api/v1/usage-events/", headers=bearer).status_code == 401
    event: dict[str, Any] = {"id": str(uuid.uuid4()), "provider": "openai", "model": "gpt-4o-mini"}
    event["data"] = {"input_tokens": 1, "output_tokens": 1}
    answer = exporter.client.post("/api/v1/usage-events/", event, content_type="application/json", headers=bearer)
    assert answer.status_code == 201
    (token,) = ingest_tokens.live_tokens(exporter.project.id)
    assert token.last_used_at is not None
    ingest_tokens.revoke(project_id=exporter.project.id, token_id=token.id)
    assert exporter.post(export([chat()])).status_code == 401
    assert len(exporter.standings()) == 1


def test_an_archived_projects_token_waits_until_it_is_restored(exporter: Exporter) -> None:
    actor = exporter.workspace.owner.user
    with tenant_scope(exporter.workspace.organization):
        archive_project(project_id=exporter.project.id, actor=actor)
    assert exporter.post(export([chat()])).status_code == 401
    with tenant_scope(exporter.workspace.organization):
        restore_project(project_id=exporter.project.id, actor=actor)
    exporter.send(chat())


# --- Which of several reports counts ---


def test_a_span_sent_twice_counts_once(exporter: Exporter) -> None:
    sent = chat()
    exporter.send(sent, sent)
    exporter.send(sent)
    assert len(exporter.standings()) == 1
    assert exporter.cost() == Decimal("0.00024")


def anthropic_call() -> tuple[Sent, Sent, Sent]:
    """any-llm's span, an HTTP span below it, and below that the span of Anthropic's own library, which knows the split:
    1,450 input tokens of which 1,000 were read from the cache and 400 written, 100 of these for an hour."""
    model = {
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.response.model": "claude-sonnet-4-5-20250929",
    }
    outer = any_llm(input_tokens=1_450, output_tokens=70, attributes=model)
    between = other_span().below(outer)
    inner = chat(
        1_450,
        70,
        scope="com.anthropic.sdk.python",
        name="anthropic.messages.create",
        attributes=model
        | {
            "gen_ai.response.id": "msg_1",
            "gen_ai.usage.cache_read.input_tokens": 1_000,
            "gen_ai.usage.cache_write.input_tokens": 400,
            "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 100,
        },
    ).below(between)
    return outer, between, inner


# 50 at 3, 1,000 at 0.30, 300 at 3.75, 100 at 6 and 70 at 15 USD a million; without the split 0.0054.
ANTHROPIC_COST = Decimal("0.003225")


@pytest.mark.parametrize("order", ["012", "210", "021", "102", "120", "201"])
@pytest.mark.parametrize("together", [True, False])
def test_the_outer_call_counts_with_what_the_inner_one_knows(exporter: Exporter, order: str, together: bool) -> None:
    spans = anthropic_call()
    in_order = [spans[int(place)] for place in order]
    if together:
        exporter.send(*in_order)
    else:
        for each in in_order:
            exporter.send(each)
    found = exporter.standings()
    outer, inner = found[spans[0].event_id], found[spans[2].event_id]
    assert exporter.cost() == outer.price.cost == ANTHROPIC_COST
    assert (inner.price.status, inner.price.reason, inner.same_call_as, inner.meters) == (
        PriceStatus.DUPLICATE,
        "within_call",
        spans[0].event_id,
        {},
    )
    assert outer.event.cost == Decimal("0.0054")


def test_a_duplicate_names_the_row_that_counts_whatever_counted_before(exporter: Exporter) -> None:
    outer = chat(scope="langchain")
    middle = chat().below(outer)
    inner = chat(scope="httpx").below(middle)
    for each in (inner, middle, outer):
        exporter.send(each)
    found = exporter.standings()
    assert {one: row.same_call_as for one, row in found.items()} == {
        outer.event_id: None,
        middle.event_id: outer.event_id,
        inner.event_id: outer.event_id,
    }
    # The inner one was the middle one's at first, which stays in its history.
    assert found[inner.event_id].revision == 2
    assert exporter.cost() == Decimal("0.00024")
    exporter.send(inner, middle, outer)
    assert exporter.standings() == found


def test_the_same_response_of_two_traces_is_one_call(exporter: Exporter) -> None:
    response = {"gen_ai.response.id": "chatcmpl-7"}
    split = {"gen_ai.usage.cache_read.input_tokens": 1_000}
    exporter.send(chat(attributes=response | split))
    exporter.send(chat(attributes=response, scope="opentelemetry.instrumentation.openai.v1", start_ms=-20))
    exporter.send(chat(attributes=response | {"gen_ai.provider.name": "azure.ai.openai"}, start_ms=-40))
    statuses = sorted(one.price.status for one in exporter.standings().values())
    assert statuses == ["duplicate", "priced", "priced"]  # another provider's response is another
    assert Decimal("0.000165") in {one.price.cost for one in exporter.standings().values()}


def lookalikes(count: int = 1) -> list[Sent]:
    """LangChain's view and the OpenAI library's of the same calls: separate traces, no id in common."""
    attributes: dict[str, Any] = {
        "openinference.span.kind": "LLM",
        "llm.system": "openai",
        "llm.model_name": "gpt-4o-mini",
    }
    attributes |= {"llm.token_count.prompt": 1_200, "llm.token_count.completion": 100}
    sent = []
    for number in range(count):
        for scope, margin in (("openinference.instrumentation.langchain", 10), (OPENINFERENCE, 0)):
            start, duration = number * 300 - margin, 1_000 + 2 * margin
            sent.append(Sent(dict(attributes), scope, start_ms=start, duration_ms=duration, instance="pod-1"))
    return sent


def test_lookalikes_of_one_process_are_one_call_each(exporter: Exporter) -> None:
    sent = lookalikes(3)
    for each in reversed(sent):
        exporter.send(each)
    reasons = sorted(one.price.reason for one in exporter.standings().values())
    assert reasons == ["", "", "", "possible_duplicate", "possible_duplicate", "possible_duplicate"]
    assert exporter.cost() == 3 * Decimal("0.00024")


def test_what_cannot_be_one_call_is_not_taken_for_it(exporter: Exporter) -> None:
    outer, inner = lookalikes()
    for change in (
        {"instance": "pod-2"},
        {"instance": ""},
        {"scope": outer.scope},
        {"start_ms": 500},
        {"attributes": inner.attributes | {"llm.token_count.prompt": 1_201}},
        {"attributes": inner.attributes | {"llm.model_name": "gpt-4o"}},
    ):
        fields = {**vars(inner), "span": os.urandom(8), "trace": os.urandom(16), **change}
        exporter.send(Sent(**fields))
    exporter.send(outer)
    assert {one.price.status for one in exporter.standings().values()} == {PriceStatus.PRICED}


def test_spans_that_are_each_others_parents_still_count_once(exporter: Exporter) -> None:
    one, other = chat(), chat()
    one.below(other)
    other.below(one)
    exporter.send(one, other)
    assert exporter.cost() == Decimal("0.00024")


def test_an_agents_turns_are_calls_of_their_own(exporter: Exporter) -> None:
    usage = {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 2_400}
    agent = chat(attributes=usage)
    tool = chat(attributes={"gen_ai.operation.name": "execute_tool"}).below(agent)
    first, second = chat().below(agent), chat().below(tool)
    exporter.send(first, second, tool, agent)
    assert set(exporter.standings()) == {first.event_id, second.event_id}
    assert exporter.cost() == 2 * Decimal("0.00024")
    with tenant_scope(exporter.workspace.organization):
        # A tool's span is kept neither: what is below it is no part of what is above.
        assert SpanLink.objects.filter(project_id=exporter.project.id).count() == 0


TOOLS: list[tuple[str, dict[str, str]]] = [
    (OPENAI, {"gen_ai.operation.name": "execute_tool"}),
    (OPENAI, {"gen_ai.operation.name": "invoke_agent"}),
    ("traceloop.tracer", {"traceloop.span.kind": "tool"}),
    (OPENINFERENCE, {"openinference.span.kind": "TOOL"}),
    ("langfuse-sdk", {"langfuse.observation.type": "agent"}),
    ("mlflow", {"mlflow.spanType": '"TOOL"'}),
    ("ai", {"ai.operationId": "ai.toolCall"}),
]


@pytest.mark.parametrize(("scope", "attributes"), TOOLS)
def test_a_call_that_a_tool_makes_is_no_part_of_the_one_that_asked_for_the_tool(
    exporter: Exporter, scope: str, attributes: dict[str, str]
) -> None:
    outer = chat(duration_ms=5_000)
    tool = Sent(attributes, scope).below(outer)
    inner = chat(5_000, 500).below(other_span().below(tool))
    exporter.send(inner)
    exporter.send(outer, tool)
    assert exporter.cost() == Decimal("0.00024") + Decimal("0.00105")


@pytest.mark.parametrize("together", [True, False])
def test_two_responses_are_two_calls_even_one_within_the_other(exporter: Exporter, together: bool) -> None:
    own, others = ({"gen_ai.response.id": response} for response in ("chatcmpl-own", "chatcmpl-other"))
    outer = chat(attributes=own, duration_ms=5_000)
    between = other_span().below(outer)
    inner = chat(5_000, 500, attributes=others).below(between)
    same = chat(5_000, 500, scope=OPENLLMETRY).below(inner)
    if together:
        exporter.send(outer, between, inner, same)
    else:
        for each in (same, inner, between, outer):
            exporter.send(each)
    assert exporter.cost() == Decimal("0.00024") + Decimal("0.00105")
    assert exporter.standings()[same.event_id].same_call_as == inner.event_id


def wrapper(scope: str, attributes: dict[str, Any]) -> tuple[Sent, Sent, Sent]:
    """A function that somebody marked as a call, without saying of which model, and the two calls that it makes."""
    outer = Sent(attributes, scope, duration_ms=3_000)
    return outer, chat().below(outer), chat(5_000, 500, start_ms=1_000).below(other_span().below(outer))


@pytest.mark.parametrize("order", ["012", "210", "102", "120"])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("scope", "attributes"),
    [
        ("mlflow.tracing.provider", {"mlflow.spanType": '"LLM"'}),
        ("langfuse-sdk", {"langfuse.observation.type": "generation"}),
        # Whose model that is can't be told.
        (
            "langfuse-sdk",
            {
                "langfuse.observation.type": "generation",
                "langfuse.observation.model.name": "our-own-router",
                "langfuse.observation.usage_details": '{"input": 6200, "output": 600}',
            },
        ),
    ],
)
def test_a_report_that_names_no_model_leaves_the_calls_within_it_their_prices(
    exporter: Exporter, scope: str, attributes: dict[str, Any], together: bool, order: str
) -> None:
    outer, first, second = spans = wrapper(scope, attributes)
    second.parent = outer.span
    in_order = [spans[int(place)] for place in order]
    if together:
        exporter.send(*in_order)
    else:
        for each in in_order:
            exporter.send(each)
    found = exporter.standings()
    assert exporter.cost() == Decimal("0.00024") + Decimal("0.00105")
    assert (found[outer.event_id].price.reason, found[outer.event_id].same_call_as) == ("around_calls", first.event_id)
    assert {found[each.event_id].price.status for each in (first, second)} == {PriceStatus.PRICED}


def test_a_report_that_names_no_model_is_a_call_where_nothing_is_known_to_be_within(exporter: Exporter) -> None:
    outer, *_ = wrapper("mlflow.tracing.provider", {"mlflow.spanType": '"LLM"'})
    within = Sent({"mlflow.spanType": '"LLM"'}, "mlflow.tracing.provider").below(outer)
    exporter.send(outer)
    assert [one.price.status for one in exporter.standings().values()] == [PriceStatus.UNPRICED]
    exporter.send(within)
    found = exporter.standings()
    assert found[within.event_id].price.status == PriceStatus.UNPRICED
    assert found[outer.event_id].same_call_as == within.event_id


def test_a_report_that_names_no_model_does_not_come_between_two_of_one_call(exporter: Exporter) -> None:
    outer, _, inner = anthropic_call()
    between = Sent({"mlflow.spanType": '"LLM"', "mlflow.chat.tokenUsage": '{"input_tokens": 9, "output_tokens": 9}'})
    between.scope = "mlflow"
    inner.parent = between.below(outer).span
    exporter.send(inner)
    exporter.send(between)
    exporter.send(outer)
    assert exporter.cost() == exporter.standings()[outer.event_id].price.cost == ANTHROPIC_COST
    assert exporter.standings()[between.event_id].price.reason == "within_call"


def test_what_was_left_out_leads_to_the_row_that_counts_whatever_comes_later(exporter: Exporter) -> None:
    outer = chat()
    middle = chat().below(outer)
    inner = chat().below(middle)
    exporter.send(middle, inner)
    assert exporter.standings()[inner.event_id].same_call_as == middle.event_id
    exporter.send(outer)
    found = exporter.standings()
    assert {found[each.event_id].same_call_as for each in (middle, inner)} == {outer.event_id}
    assert (found[inner.event_id].revision, exporter.cost()) == (1, Decimal("0.00024"))
    exporter.send(outer, middle, inner)
    assert {one.revision for one in exporter.standings().values()} == {0, 1}


@pytest.mark.parametrize("name", ["a call", "no model"])
def test_links_are_forgotten_and_what_they_led_to_is_not(exporter: Exporter, name: str) -> None:
    outer, between, inner = anthropic_call()
    if name == "no model":
        outer.scope, outer.attributes = "mlflow", {"mlflow.spanType": '"LLM"'}
    exporter.send(outer, between, inner)
    with tenant_scope(exporter.workspace.organization):
        assert SpanLink.objects.filter(project_id=exporter.project.id).delete()[0] == 1
    before = exporter.standings()
    exporter.send(inner)
    exporter.send(outer)
    assert exporter.standings() == before
    assert exporter.cost() == ANTHROPIC_COST


def test_a_batch_that_is_tried_again_alone_has_nothing_left_of_the_first_time(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer, inner = chat(), chat()
    inner.below(outer)
    batches: list[Any] = []

    def keep(_: str, batch: Any) -> ingestion.Stored:
        batches.append(batch)
        return ingestion.Stored()

    with monkeypatch.context() as patch:
        patch.setattr(ingestion._group, "store", keep)
        exporter.send(outer)
        exporter.send(inner)
    with tenant_scope(exporter.workspace.organization):
        with mock.patch.object(ingestion, "store_links", side_effect=DataError), pytest.raises(DataError):
            ingestion._commit(batches)
        ingestion._commit(batches[1:])
    assert [one.same_call_as for one in exporter.standings().values()] == [None]
    assert exporter.cost() == Decimal("0.00024")


def test_of_thousands_of_the_same_call_hardly_any_are_looked_at(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One instrumentation, one process, always as many tokens: none of them can be another's call."""
    statement, rows = related._RELATED, list[int]()

    class Counting:
        def fetch_all(self, *values: Any) -> list[Any]:
            found = statement.fetch_all(*values)
            rows.append(len(found))
            return found

    def same(start: int, count: int, **others: Any) -> list[Sent]:
        return [chat(instance="pod-1", start_ms=1_000 * each, **others) for each in range(start, start + count)]

    plan_as_for_a_large_table()
    exporter.send(*same(0, 2_000, duration_ms=900))
    monkeypatch.setattr(related, "_RELATED", Counting())
    read = entries_read(exporter)
    exporter.send(*same(2_000, 500, duration_ms=900))
    # All of an hour once, not all of an hour for each.
    assert 2_000 <= entries_read(exporter) - read <= 5_000
    assert sum(rows) == 0
    # A second instrumentation reports twenty of them.
    exporter.send(*same(1_000, 20, duration_ms=905, scope=OPENLLMETRY))
    reasons = [one.price.reason for one in exporter.standings().values()]
    assert (len(reasons), reasons.count("possible_duplicate")) == (2_520, 20)
    assert sum(rows) <= 4 * 20


def plan_as_for_a_large_table() -> None:
    """Until the end of the test's transaction: the table may be known to be empty, and then reading all of it is
    best."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; DISCARD PLANS")


def entries_read(exporter: Exporter) -> int:
    """Of the fingerprints' index, in the test's transaction."""
    with tenant_scope(exporter.workspace.organization), connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_get_xact_tuples_returned('usage_event_fingerprint'::regclass)")
        (count,) = cursor.fetchone()
    return int(count)


def test_two_projects_do_not_see_each_others_spans(exporter: Exporter, acme: Workspace) -> None:
    other = Exporter(acme)
    outer, _, inner = anthropic_call()
    inner.parent = outer.span
    exporter.send(outer)
    other.send(inner)
    assert exporter.cost() == Decimal("0.0054")
    assert other.cost() == ANTHROPIC_COST


def test_a_model_without_a_price_is_put_on_the_queue(exporter: Exporter) -> None:
    model = f"gpt-{uuid.uuid4().hex}"
    exporter.send(chat(attributes={"gen_ai.response.model": model, "gen_ai.request.model": model}))
    assert UnpricedModel.objects.filter(provider="openai", model=model, reason="unknown_model").count() == 1
