"""GET /usage-events/: a project's own events, page by page, with totals that tie."""

import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.directory import tokens
from apps.directory.ingest_tokens import issue
from apps.directory.services import retire_key
from apps.projects.services import create_project
from tenancy import tenant_scope
from tests.cast import Sdk, Workspace
from tests.ledger import facts
from tests.ledger.facts import MAY

URL = "/api/v1/usage-events/"
HOUR = timedelta(hours=1)


@pytest.fixture
def sdk(acme: Workspace) -> Iterator[Sdk]:
    """Acme's, in Acme's scope, with a project of its own."""
    with tenant_scope(acme.organization):
        yield acme.sdk()


@pytest.fixture
def project(acme: Workspace) -> uuid.UUID:
    return acme.project.id


def get(sdk: Sdk, **parameters: Any) -> Any:
    return sdk.client.get(URL, parameters, headers=sdk.bearer)


def test_rows_have_every_column_exact_amounts_and_explicit_nulls(sdk: Sdk, project: uuid.UUID) -> None:
    row = facts.event(project, client_name="batch-3", reported_cost=Decimal("0.5"), flags=["clock_skew"])
    answer = get(sdk, project_id=project)
    assert answer.status_code == 200
    assert answer["Cache-Control"] == "no-store"
    body = answer.json()
    [found] = body["data"]
    assert {name: found[name] for name in ("id", "project_id", "occurred_at", "client_name", "flags")} == {
        "id": str(row.event_id),
        "project_id": str(project),
        "occurred_at": "2026-05-01T00:00:00+00:00",
        "client_name": "batch-3",
        "flags": ["clock_skew"],
    }
    assert (found["cost"], found["currency"], found["reported_cost"]) == ("0.00004545", "USD", "0.5")
    assert (found["input_tokens"], found["cache_read_tokens"], found["session"]) == (123, None, None)
    assert [line["amount"] for line in found["price_lines"]] == [line["amount"] for line in row.price_lines]
    assert body["next_cursor"] is None
    assert body["totals"]["costs"] == {"USD": "0.00004545"}


def test_pages_lead_to_all_rows_and_the_first_has_their_totals(sdk: Sdk, project: uuid.UUID) -> None:
    made = facts.a_mix(project, count=23)
    rows, cursor, pages = [], "", []
    while cursor is not None:
        body = get(sdk, limit=5, cursor=cursor).json()
        pages.append(body)
        rows += body["data"]
        cursor = body["next_cursor"]
    assert [row["id"] for row in rows] == [str(row.event_id) for row in reversed(made)]
    assert [page["totals"] is None for page in pages] == [False, True, True, True, True]
    sums = pages[0]["totals"]
    assert sums["events"] == 23
    assert sums["meters"]["input_tokens"] == sum(row["input_tokens"] or 0 for row in rows)
    assert Decimal(sums["costs"]["USD"]) == sum(Decimal(row["cost"]) for row in rows if row["cost"] is not None)
    assert sums["unpriced"] == sum(row["price_status"] == "unpriced" for row in rows) > 0
    assert 0 < Decimal(sums["unpriced_share"]) < 1


def test_who_needs_no_totals_does_not_pay_for_them(
    sdk: Sdk, project: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts.event(project)
    assert get(sdk, totals=1).json()["totals"]["events"] == 1
    # It would raise if it were called.
    monkeypatch.setattr("apps.ledger.read_api.totals", None)
    answer = get(sdk, totals=0).json()
    assert (len(answer["data"]), answer["totals"]) == (1, None)


def test_times_and_names_narrow_it(sdk: Sdk, project: uuid.UUID) -> None:
    rows = [facts.event(project, occurred_at=MAY + number * HOUR) for number in range(3)]
    facts.event(project, occurred_at=MAY + HOUR, model="gpt-4o")
    wanted = {"from": "2026-05-01T03:00:00 02:00", "to": "2026-05-01T02:00:00Z", "model": "gpt-4o-mini"}
    answer = get(sdk, **wanted)
    assert [row["id"] for row in answer.json()["data"]] == [str(rows[1].event_id)]
    assert answer.json()["totals"]["events"] == 1


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "501"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"from": "yesterday"}, "$.from"),
        ({"to": "2026-05-01T00:00:00"}, "to needs a time zone"),
        ({"project_id": "7"}, "$.project_id"),
        ({"cursor": "abc"}, "cursor"),
        ({"colour": "red"}, "colour"),
        ({"totals": "no"}, "totals"),
        ({"status": "free"}, "$.status"),
        ({"project_ids": "7"}, "$.project_ids"),
        ({"model": "\0"}, "model can't hold a NUL character."),
        ({"session": "a\0b"}, "session can't hold a NUL character."),
        ({"cursor": "\0"}, "cursor"),
        ({"limit": "1\0"}, "limit"),
        ({"\0": "x"}, "unknown field"),
    ],
)
def test_bad_parameters_are_named(sdk: Sdk, parameters: dict[str, str], said: str) -> None:
    answer = get(sdk, **parameters)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


class TestWhoMayRead:
    def test_another_project_is_not_there(self, sdk: Sdk, acme: Workspace, globex: Workspace) -> None:
        sibling = create_project(name="another")
        facts.event(sibling.id)
        for project_id in (sibling.id, globex.project.id, uuid.uuid4()):
            assert get(sdk, project_id=project_id).status_code == 404
        assert get(sdk).json()["data"] == []

    def test_a_retired_key_reads_nothing(self, sdk: Sdk, project: uuid.UUID) -> None:
        facts.event(project)
        retire_key(project_id=project, generation=1)
        assert get(sdk).status_code == 401

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eA=="}])
    def test_nobody_without_a_token(self, sdk: Sdk, headers: dict[str, str]) -> None:
        assert sdk.client.get(URL, headers=headers).status_code == 401

    def test_tokens_for_ingestion_write_only(self, sdk: Sdk, acme: Workspace) -> None:
        organization_id, project_id = acme.organization.id, acme.project.id
        _, token = issue(organization_id=organization_id, project_id=project_id, name="collector", user_id=None)
        answer = sdk.client.get(URL, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
        assert "token" in answer.json()["detail"]

    def test_a_token_of_another_organization_reads_that_one(
        self, sdk: Sdk, project: uuid.UUID, globex: Workspace
    ) -> None:
        facts.event(project)
        theirs = Sdk(globex.key, tokens.issue(globex.project.id, 1))
        assert get(theirs).json() == {
            "data": [],
            "next_cursor": None,
            "totals": json.loads(theirs.client.get(URL, headers=theirs.bearer).content)["totals"],
        }
        assert get(theirs, project_id=project).status_code == 404
