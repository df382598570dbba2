"""What was sent is in no log, error report or answer where the database refuses to store it and quotes what it was
handed."""

import json
import logging
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.core import mail
from django.utils.log import AdminEmailHandler
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from apps.ledger import rows
from apps.ledger.otlp.decode import JSON, PROTOBUF
from tenancy.sql import Statement
from tests.cast import Sdk, Workspace
from tests.ledger.otlp.spans import as_json
from tests.ledger.otlp.test_canaries import CANARY, NAMES, SCOPES, everywhere
from web.logs import JsonFormatter

# Each names in its message all of the rows that it was to store.
DATA_ERROR = "SELECT $1::text::integer"
PROGRAMMING_ERROR = "SELECT set_config($1, '', true)"


class Reports:
    """Everything that is logged, with its traceback, and the reports of errors that Django mails."""

    def __init__(self, logged: pytest.LogCaptureFixture) -> None:
        self._logged = logged

    def texts(self) -> list[str]:
        formatter = JsonFormatter()
        texts = [self._logged.text, *(formatter.format(record) for record in self._logged.records)]
        for message in mail.outbox:
            assert isinstance(message, mail.EmailMultiAlternatives)
            texts += [str(message.subject), str(message.body), *(str(part[0]) for part in message.alternatives)]
        return texts


@pytest.fixture
def reports(settings: Any, caplog: pytest.LogCaptureFixture) -> Iterator[Reports]:
    settings.ADMINS = [("Staff", "staff@example.com")]
    # The answer is then the page with the report.
    settings.DEBUG = True
    handler = AdminEmailHandler(include_html=True)
    handler.setLevel(logging.ERROR)
    logging.getLogger().addHandler(handler)
    caplog.set_level(logging.DEBUG)
    yield Reports(caplog)
    logging.getLogger().removeHandler(handler)


def refuse(monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    refusing = Statement(sql)
    monkeypatch.setattr(rows, "_STORE_ALLOWED", refusing)
    monkeypatch.setattr(rows._COPY, "send", lambda data: refusing.fetch_all(data.decode()))


def check(reports: Reports, answer: bytes, project_id: uuid.UUID, *, quotes_rows: bool) -> None:
    texts = reports.texts()
    assert mail.outbox
    assert (f'"{project_id}"' in texts[0]) is quotes_rows
    assert [text for text in [*texts, answer.decode(errors="replace")] if CANARY in text] == []


def of_every_emitter() -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    for number, scope in enumerate(SCOPES, 1):
        made.MergeFrom(everywhere(scope, CANARY))
        made.resource_spans[-1].scope_spans[0].spans[0].span_id = number.to_bytes(8, "big")
    return made


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
@pytest.mark.parametrize(("sql", "status"), [(DATA_ERROR, 200), (PROGRAMMING_ERROR, 503)])
def test_spans(
    acme: Workspace, monkeypatch: pytest.MonkeyPatch, reports: Reports, content_type: str, sql: str, status: int
) -> None:
    sdk: Sdk = acme.sdk()
    made = of_every_emitter()
    refuse(monkeypatch, sql)
    answer = sdk.client.post(
        "/v1/traces",
        made.SerializeToString() if content_type == PROTOBUF else as_json(made),
        content_type=content_type,
        headers=sdk.bearer,
    )
    assert answer.status_code == status
    check(reports, answer.content, acme.project.id, quotes_rows=status != 200)


@pytest.mark.parametrize("response", ["", "chatcmpl-7"])
@pytest.mark.parametrize(
    ("path", "sql", "status"),
    [
        ("/api/v1/usage-events/", DATA_ERROR, 500),
        ("/api/v1/usage-events/batch", DATA_ERROR, 200),
        ("/api/v1/usage-events/batch", PROGRAMMING_ERROR, 500),
    ],
)
def test_events(
    acme: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    reports: Reports,
    response: str,
    path: str,
    sql: str,
    status: int,
) -> None:
    sdk: Sdk = acme.sdk()
    content: dict[str, Any] = {
        **dict.fromkeys(NAMES, CANARY),
        "messages": [{"role": "user", "content": CANARY}],
        CANARY: CANARY,
    }
    event = {
        **content,
        "id": str(uuid.uuid4()),
        "provider": "openai",
        "model": "gpt-4o-mini",
        "response_id": response,
        "data": {**content, "input_tokens": 1, "output_tokens": 1, "performance": content},
        "sequence": {**content, "source": "worker-1", "number": 1},
    }
    refuse(monkeypatch, sql)
    answer = sdk.client.post(
        path,
        json.dumps([event] if path.endswith("batch") else event),
        content_type="application/json",
        headers=sdk.bearer,
    )
    assert answer.status_code == status
    check(reports, answer.content, acme.project.id, quotes_rows=status != 200)
