"""An exporter of spans, and the spans that it sends."""

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Status as Code

from apps.directory import ingest_tokens
from apps.ledger.models import UsageEvent
from apps.ledger.standing import Standing, standings
from apps.projects.services import create_project
from tenancy import tenant_scope
from tests.cast import Workspace

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
