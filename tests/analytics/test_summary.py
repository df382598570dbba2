"""GET /api/v1/usage/summary: the ledger's numbers by time and dimension, for the token's project."""

import uuid
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.analytics import api, rollups
from apps.analytics.exports.making import streamed
from apps.analytics.exports.wanted import Content, Format, Wanted
from apps.analytics.models import DayRollup
from apps.analytics.selectors import summed
from apps.ledger.models import Outbox
from apps.ledger.read_api import totals_as_json
from apps.ledger.selectors import EventFilter, totals
from apps.ledger.verifying import Report, verify
from tenancy import tenant_scope
from tests.cast import Sdk, Workspace
from tests.ledger import facts
from tests.ledger.facts import MAY


def model_of(number: int) -> str:
    return facts.MODELS[number % 3]


@pytest.fixture
def sdk(acme: Workspace) -> Sdk:
    with tenant_scope(acme.organization):
        rows = [
            facts.event(acme.project.id, occurred_at=MAY + timedelta(hours=n), model=model_of(n)) for n in range(80)
        ]
        for number in range(0, 80, 9):
            facts.detail(rows[number], input=10**6 + number)
        facts.make_duplicate(rows[5], rows[6].event_id)
        failed = {"price_status": "failed", "ending": "error", "error_type": "Timeout"}
        rows.append(facts.event(acme.project.id, meters={}, **failed))
        rows.append(facts.event(acme.project.id, provider="anthropic", client_name="api", total_duration_ms=20.0))
        rows.append(facts.event(uuid.uuid4(), client_name="another project's"))
        Outbox.objects.create(events=[row.id for row in rows])
        rollups.recount("UTC")
    return acme.sdk()


def ask(sdk: Sdk, **parameters: Any) -> Any:
    answer = sdk.client.get("/api/v1/usage/summary", parameters, headers=sdk.bearer)
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_all_of_it_ties_with_the_ledger_the_csv_and_verify(acme: Workspace, sdk: Sdk) -> None:
    found = ask(sdk)
    wanted = EventFilter(project_ids=(acme.project.id,))
    with tenant_scope(acme.organization):
        ledger = totals_as_json(totals(wanted))
        assert list(verify(Report())) == []
        asked = Wanted(content=Content.ROWS, format=Format.CSV, filter=wanted, zone="UTC")
        lines = "".join(streamed(asked)).splitlines()
    named = {name: value or 0 for name, value in ledger.pop("meters").items()}
    assert {name: value or 0 for name, value in found["totals"].pop("meters").items()} == named
    assert found["totals"] == ledger
    header = lines[0].split(",")
    costs = [Decimal(line.split(",")[header.index("cost")] or 0) for line in lines[1:]]
    assert sum(costs) == Decimal(ledger["costs"]["USD"])
    assert [row["starts_at"] for row in found["data"]] == [None]


def test_by_time_and_dimensions(sdk: Sdk) -> None:
    found = ask(sdk, granularity="day", group_by="provider,model,status", tz="Asia/Kolkata")
    assert (found["tz"], found["group_by"]) == ("Asia/Kolkata", ["provider", "model", "status"])
    assert found["as_of"] is not None
    assert {row["starts_at"][10:] for row in found["data"]} == {"T00:00:00+05:30"}
    assert {row["provider"] for row in found["data"]} == {"openai", "anthropic"}
    assert sum(row["calls"] for row in found["data"]) == found["totals"]["calls"]
    cost = sum(Decimal(row["costs"].get("USD", "0")) for row in found["data"])
    assert cost == Decimal(found["totals"]["costs"]["USD"])
    errors = ask(sdk, group_by="error", ending="error")
    assert [row["error"] for row in errors["data"]] == ["Timeout"]


def test_bounds_are_days_or_quarters(acme: Workspace, sdk: Sdk) -> None:
    days = ask(sdk, **{"from": "2026-05-02", "to": "2026-05-02"})
    times = ask(sdk, **{"from": "2026-05-02T00:00:00Z", "to": "2026-05-03T00:00:00Z"})
    assert days == times
    with tenant_scope(acme.organization):
        second = EventFilter(project_ids=(acme.project.id,), start=MAY + timedelta(days=1), end=MAY + timedelta(days=2))
        assert days["totals"]["calls"] == totals(second).calls > 0
    quarter = ask(sdk, **{"from": "2026-05-02T10:00:00 05:30", "to": "2026-05-02T05:30:00+00:00", "tz": "UTC"})
    assert quarter["totals"]["events"] == 1


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"granularity": "year"}, "hour, day, week, month"),
        ({"group_by": "model,user"}, "group_by must be one of project"),
        ({"tz": "Mars"}, "IANA"),
        ({"from": "2026-05-02T10:07:00Z"}, "quarters"),
        ({"from": "2026-05-02T10:00:00"}, "time zone"),
        ({"to": "yesterday"}, "to must be a day"),
        ({"to": "9999-12-31"}, "to must be a day"),
        ({"session": "s"}, "no parameter session"),
        ({"model": "a\0b"}, "NUL"),
        ({"ending": "well"}, "ending"),
        ({"provider_key_id": "1"}, "provider_key_id"),
    ],
)
def test_what_cannot_be_read_is_named(sdk: Sdk, parameters: dict[str, str], says: str) -> None:
    answer = sdk.client.get("/api/v1/usage/summary", parameters, headers=sdk.bearer)
    assert answer.status_code == 422
    assert says in answer.json()["detail"]


def test_more_rows_than_can_be_answered_are_not_read(
    acme: Workspace, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = {"granularity": "day", "group_by": "model,status"}
    every = ask(sdk, **parameters)["data"]
    monkeypatch.setattr(api, "MOST_ROWS", len(every))
    assert ask(sdk, **parameters)["data"] == every
    monkeypatch.setattr(api, "MOST_ROWS", len(every) - 1)
    answer = sdk.client.get("/api/v1/usage/summary", parameters, headers=sdk.bearer)
    assert answer.status_code == 422
    assert f"more than {len(every) - 1} rows" in answer.json()["detail"]
    question = api.question_of(parameters, "UTC", (acme.project.id,))
    with tenant_scope(acme.organization):
        assert summed(question, most=5) == summed(question)[:5]


def test_another_project_is_not_there_and_tokens_for_ingestion_read_nothing(sdk: Sdk) -> None:
    answer = sdk.client.get("/api/v1/usage/summary", {"project_id": str(uuid.uuid4())}, headers=sdk.bearer)
    assert answer.status_code == 404
    assert sdk.client.get("/api/v1/usage/summary").status_code == 401


def test_the_command_finds_a_sum_that_is_wrong_and_makes_it_again(acme: Workspace, sdk: Sdk) -> None:
    out, only = StringIO(), ["--organization", str(acme.organization.id)]
    call_command("rollups", "verify", *only, stdout=out)
    assert "0 differences" in out.getvalue()
    with tenant_scope(acme.organization):
        row = DayRollup.objects.filter(cost__gt=0).first()
        assert row is not None
        DayRollup.objects.filter(pk=row.pk).update(cost=row.cost + Decimal("0.000000000001"))
    with pytest.raises(CommandError, match="differences"):
        call_command("rollups", "verify", *only, stdout=out)
    assert "costs: the sums say" in out.getvalue()
    call_command("rollups", "rebuild", *only, stdout=out)
    call_command("rollups", "verify", *only, stdout=out)
