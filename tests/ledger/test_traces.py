"""POST /v1/traces: what exporters are answered, and what is stored."""

import gzip
import os
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import OperationalError
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceResponse,
)

from apps.directory import ingest_tokens
from apps.directory.services import retire_key
from apps.ledger import ingestion
from apps.ledger.models import SpanLink, UsageEvent
from apps.pricing.models import UnpricedModel
from apps.projects.models import Project
from apps.projects.services import archive_project, restore_project
from tenancy import tenant_scope
from tests.cast import Sdk, Workspace
from tests.ledger import facts
from tests.ledger.exporting import (
    OPENAI,
    PROTOBUF,
    START,
    Exporter,
    Sent,
    any_llm,
    chat,
    export,
    other_span,
)

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


def test_a_model_without_a_price_is_put_on_the_queue(exporter: Exporter) -> None:
    model = f"gpt-{uuid.uuid4().hex}"
    exporter.send(chat(attributes={"gen_ai.response.model": model, "gen_ai.request.model": model}))
    assert UnpricedModel.objects.filter(provider="openai", model=model, reason="unknown_model").count() == 1
