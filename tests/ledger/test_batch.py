"""POST /usage-events/batch: an answer for each event, in order; a bad one costs the others nothing."""

import json
import uuid
from decimal import Decimal
from typing import Any

import pytest

from apps.ledger.api import MOST_EVENTS
from apps.ledger.labels import hidden
from apps.ledger.models import UsageEvent
from apps.ledger.standing import standings
from apps.projects.models import Project
from tenancy import tenant_scope
from tenancy.roles import as_owner
from tests.cast import Sdk, Workspace
from tests.ledger import facts


class Reporter:
    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.sdk: Sdk = workspace.sdk()
        self.ids: list[uuid.UUID] = []

    def event(self, **changes: Any) -> dict[str, Any]:
        self.ids.append(uuid.uuid4())
        data = {"input_tokens": 1_200, "output_tokens": 100, **changes.pop("data", {})}
        return {"id": str(self.ids[-1]), "provider": "openai", "model": "gpt-4o-mini", "data": data, **changes}

    def post(self, body: Any, **headers: str) -> Any:
        return self.sdk.client.post(
            "/api/v1/usage-events/batch",
            body if isinstance(body, bytes) else json.dumps(body),
            content_type="application/json",
            headers=self.sdk.bearer | headers,
        )

    def rows(self) -> list[UsageEvent]:
        with tenant_scope(self.workspace.organization):
            return list(UsageEvent.objects.filter(event_id__in=self.ids).order_by("id"))


@pytest.fixture
def reporter(acme: Workspace) -> Reporter:
    return Reporter(acme)


def test_each_event_has_its_own_answer(reporter: Reporter, globex: Workspace) -> None:
    foreign = globex.add_provider_key("openai", "sk-globex")
    good, other = reporter.event(), reporter.event()
    bad = [
        {"id": str(uuid.uuid4())},
        17,
        reporter.event(data={"input_tokens": -1}),
        reporter.event(provider_key_id=str(foreign.id)),
        reporter.event(occurred_at="1970-01-01T00:00:00Z"),
        reporter.event(occurred_at="2026-01-01T00:00:00"),
    ]
    answer = reporter.post([good, *bad, other, good])
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["stored", *["rejected"] * 6, "stored", "duplicate"]
    assert results[0]["id"] == good["id"]
    assert all(result["detail"].endswith(".") for result in results[1:7])
    assert {str(row.event_id) for row in reporter.rows()} == {good["id"], other["id"]}
    assert sum((row.cost or 0 for row in reporter.rows()), Decimal()) == 2 * Decimal("0.00024")
    again = reporter.post([other, good]).json()["results"]
    assert [result["status"] for result in again] == ["duplicate", "duplicate"]


def test_a_text_that_is_none_costs_the_others_nothing(reporter: Reporter) -> None:
    good, bad = reporter.event(), reporter.event(model="?", reported_cost="NaN")
    body = json.dumps([good, bad, {**bad, "reported_cost": 1}]).encode().replace(b"?", b"\xff")
    results = reporter.post(body).json()["results"]
    assert [result["status"] for result in results] == ["stored", "rejected", "rejected"]
    assert len(reporter.rows()) == 1


@pytest.mark.parametrize("response", ["", "chatcmpl-"])
def test_an_event_that_the_database_cannot_take_costs_the_others_nothing(
    committed: tuple[Workspace, Workspace], response: str
) -> None:
    reporter = Reporter(committed[0])
    events = [reporter.event(response_id=response and f"{response}{number}", user="u-12") for number in range(5)]
    events[3]["data"]["input_tokens"] = 10**12
    with tenant_scope(reporter.workspace.organization):
        Project.objects.filter(id=reporter.workspace.project.id).update(hides_labels=True)
    with facts.a_dollar_a_token(reporter.workspace.organization.id):
        results = reporter.post(events).json()["results"]
    assert [result["status"] for result in results] == [*["stored"] * 3, "rejected", "stored"]
    assert "too large" in results[3]["detail"]
    rows = reporter.rows()
    assert len(rows) == 4
    assert {row.user_label for row in rows} == {hidden(reporter.workspace.project.id, "u-12")}
    # Their price is gone, so to verify the ledger would find them at fault.
    with as_owner(), tenant_scope(reporter.workspace.organization):
        UsageEvent.objects.filter(event_id__in=reporter.ids).delete()
        Project.objects.filter(id=reporter.workspace.project.id).update(hides_labels=False)


@pytest.mark.parametrize("path", ["/api/v1/usage-events/", "/api/v1/usage-events/batch"])
@pytest.mark.parametrize("response", ["", "chatcmpl-7"])
def test_labels_are_hidden_where_the_project_says_so(reporter: Reporter, path: str, response: str) -> None:
    labels = {"session": "ann@example.com", "user": "ann@example.com", "response_id": response}
    events = [reporter.event(**labels), reporter.event(**labels, model="gpt-4o"), reporter.event()]

    def post() -> None:
        for body in [events] if path.endswith("batch") else events:
            answer = reporter.sdk.client.post(
                path, json.dumps(body), content_type="application/json", headers=reporter.sdk.bearer
            )
            assert answer.status_code in (200, 201)

    with tenant_scope(reporter.workspace.organization):
        Project.objects.filter(id=reporter.workspace.project.id).update(hides_labels=True)
    post()
    rows = reporter.rows()
    label = rows[0].user_label
    assert [(row.session, row.user_label) for row in rows] == [(label, label), (label, label), ("", "")]
    assert len(label) == 16
    assert "ann" not in repr([vars(row) for row in rows])


def test_a_whole_batch_goes_at_once_and_one_more_is_refused(reporter: Reporter) -> None:
    events = [reporter.event() for _ in range(MOST_EVENTS)]
    results = reporter.post(events).json()["results"]
    assert [result["id"] for result in results] == [event["id"] for event in events]
    assert len(reporter.rows()) == MOST_EVENTS
    answer = reporter.post([*events, reporter.event()])
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert len(reporter.rows()) == MOST_EVENTS
    assert reporter.post([]).json() == {"results": []}


@pytest.mark.parametrize("body", [b"", b"[", b"{}", b"null", b'"x"', b"[" * 100_000])
def test_what_is_no_array_is_refused(reporter: Reporter, body: bytes) -> None:
    assert reporter.post(body).status_code in (400, 422)


def test_only_with_a_token(reporter: Reporter) -> None:
    assert reporter.post([reporter.event()], Authorization="Bearer nonsense").status_code == 401
    assert reporter.rows() == []


def test_an_event_says_as_much_as_a_span(reporter: Reporter) -> None:
    details = {"cache_read_tokens": "1000", "cache_write_tokens": 0, "reasoning_tokens": 40, "requests": 1}
    event = reporter.event(
        data=details,
        request_model="gpt-4o-mini-latest",
        operation="chat",
        service_tier="default",
        occurred_at="2026-09-01T10:00:00+02:00",
        ending="cancelled",
        session="order 7",
        user="u-12",
        response_id=f"chatcmpl-{uuid.uuid4()}",
        reported_cost="0.0002",
        sequence={"source": "worker-1", "number": 7},
    )
    beside = reporter.event(data={"input_tokens": 200, "cache_read_tokens": 1_000, "cache_in_input": False})
    assert [each["status"] for each in reporter.post([event, beside]).json()["results"]] == ["stored", "stored"]
    rows = {row.event_id: row for row in reporter.rows()}
    row = rows[uuid.UUID(event["id"])]
    assert row.occurred_at.isoformat() == "2026-09-01T08:00:00+00:00"
    assert (row.cache_read_tokens, row.reasoning_tokens, row.ending) == (1_000, 40, "cancelled")
    assert (row.session, row.user_label, row.operation) == ("order 7", "u-12", "chat")
    assert (row.sequence_source, row.sequence_number, row.reported_cost) == ("worker-1", 7, Decimal("0.0002"))
    row_beside = rows[uuid.UUID(beside["id"])]
    assert (row_beside.input_tokens, row_beside.cache_in_input) == (1_200, False)
    # 200 at 0.15, 1,000 at 0.075 and 100 at 0.60 USD a million
    assert row.cost == row_beside.cost == Decimal("0.000165")


def test_an_event_and_a_span_of_one_response_are_one_call(reporter: Reporter) -> None:
    response = f"chatcmpl-{uuid.uuid4()}"
    reporter.post(
        [reporter.event(response_id=response), reporter.event(response_id=response, data={"input_tokens": 1_200})]
    )
    with tenant_scope(reporter.workspace.organization):
        statuses = sorted(one.price.status for one in standings(reporter.rows()))
    assert statuses == ["duplicate", "priced"]
