"""What exporters are answered, in the encoding they sent."""

import json

import pytest
from django.core.checks import run_checks
from google.protobuf.internal import api_implementation
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from apps.ledger import checks
from apps.ledger.otlp.answers import failure, partial_success, success
from apps.ledger.otlp.decode import JSON, PROTOBUF


def test_success_is_an_empty_response() -> None:
    answer = success(PROTOBUF)
    assert (answer.status_code, answer["Content-Type"], answer.content) == (200, PROTOBUF, b"")
    assert not ExportTraceServiceResponse.FromString(answer.content).HasField("partial_success")
    answer = success(JSON)
    assert (answer.status_code, answer["Content-Type"], json.loads(answer.content)) == (200, JSON, {})


def test_partial_success() -> None:
    answer = partial_success(PROTOBUF, 3, "Their ids.")
    assert (answer.status_code, answer["Content-Type"]) == (200, PROTOBUF)
    partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_spans, partial.error_message) == (3, "Their ids.")
    answer = partial_success(JSON, 3, "Their ids.")
    assert answer.status_code == 200
    assert json.loads(answer.content) == {"partialSuccess": {"rejectedSpans": "3", "errorMessage": "Their ids."}}


@pytest.mark.parametrize(("status", "code"), [(400, 3), (401, 16), (413, 8), (415, 3), (429, 8), (503, 14), (418, 2)])
def test_failure_is_a_status(status: int, code: int) -> None:
    answer = failure(PROTOBUF, status, "Why.", {"Retry-After": "2"})
    assert (answer.status_code, answer["Content-Type"], answer["Retry-After"]) == (status, PROTOBUF, "2")
    assert Status.FromString(answer.content) == Status(code=code, message="Why.")
    answer = failure(JSON, status, "Why.")
    assert json.loads(answer.content) == {"code": code, "message": "Why."}


def test_an_unknown_encoding_is_answered_in_json() -> None:
    answer = failure("text/plain", 415, "Why.")
    assert (answer.status_code, answer["Content-Type"]) == (415, JSON)


def test_protobuf_must_be_the_fast_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [found for found in run_checks() if found.id == "ledger.E001"] == []
    monkeypatch.setattr(api_implementation, "Type", lambda: "python")
    assert [found.id for found in checks.check_protobuf(None)] == ["ledger.E001"]
