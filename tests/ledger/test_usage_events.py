"""Usage events: what is stored, what it costs, what is refused, and that nothing is lost or counted twice."""

import copy
import json
import threading
import uuid
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, DataError, IntegrityError, connection, transaction
from django.utils import timezone

from apps.directory.services import retire_key
from apps.ledger.group_commit import GroupCommit
from apps.ledger.models import UsageEvent
from apps.projects.services import create_project
from apps.vault.models import ProviderKey
from tenancy import tenant_scope
from tests.cast import Sdk, Workspace

PERFORMANCE = {
    "time_to_first_token_ms": 99.5,
    "time_to_last_token_ms": 900.1,
    "total_duration_ms": 1234.5,
    "tokens_per_second": 50.0,
    "chunks_received": 12,
    "avg_chunk_size": 3.75,
    "inter_chunk_latency_variance_ms": 4.2,
}


class Reporter:
    """An SDK of Acme that reports usage."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.provider_key = workspace.add_provider_key(f"openai-{uuid.uuid4().hex[:8]}", "sk-acme")
        self.sdk: Sdk = workspace.sdk()

    def event(self, **changes: Any) -> dict[str, Any]:
        return {
            "id": str(uuid.uuid4()),
            "provider_key_id": str(self.provider_key.id),
            "provider": "openai",
            "model": "gpt-4o-mini",
            "data": {"input_tokens": "123", "output_tokens": "45"},
            **changes,
        }

    def post(self, body: Any) -> Any:
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        return self.sdk.client.post(
            "/api/v1/usage-events/", data, content_type="application/json", headers=self.sdk.bearer
        )

    def rows(self) -> list[UsageEvent]:
        with tenant_scope(self.workspace.organization):
            return list(UsageEvent.objects.filter(provider_key_id=self.provider_key.id).order_by("id"))


@pytest.fixture
def reporter(acme: Workspace) -> Reporter:
    return Reporter(acme)


def test_an_event_is_stored_with_its_exact_cost(reporter: Reporter) -> None:
    event = reporter.event(
        client_name="batch-3", data={"input_tokens": "123", "output_tokens": "45", "performance": PERFORMANCE}
    )
    answer = reporter.post(event)
    assert answer.status_code == 201
    assert answer.json() == {"id": event["id"], "status": "stored"}
    (row,) = reporter.rows()
    assert str(row.event_id) == event["id"]
    assert row.project_id == reporter.workspace.project.id
    assert (row.provider, row.model, row.client_name, row.source) == ("openai", "gpt-4o-mini", "batch-3", "json")
    assert (row.input_tokens, row.output_tokens, row.key_generation) == (123, 45, 1)
    assert {name: getattr(row, name) for name in PERFORMANCE} == PERFORMANCE
    # 123 tokens at 0.15 and 45 at 0.60 USD a million
    assert row.cost == Decimal("0.00004545")
    assert (row.currency, row.price_status, row.price_reason) == ("USD", "priced", "")
    assert sum(Decimal(line["amount"]) for line in row.price_lines) == row.cost
    assert row.occurred_at.tzinfo is not None


@pytest.mark.parametrize(
    ("sent", "stored"), [("0", 0), (7, 7), ("1000000000000", 10**12), (10**12, 10**12), (None, None), ("None", None)]
)
def test_counts_come_as_text_or_number(reporter: Reporter, sent: Any, stored: int | None) -> None:
    assert reporter.post(reporter.event(data={"input_tokens": sent, "output_tokens": 1})).status_code == 201
    assert [row.input_tokens for row in reporter.rows()] == [stored]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("0.1234567890123456", Decimal("0.123456789012")),
        ("1E-999999", Decimal(0)),
        (10**9, Decimal(10**9)),
        (0.000285, Decimal("0.000285")),
    ],
)
def test_a_reported_cost_is_kept_with_the_ledgers_places(reporter: Reporter, sent: Any, stored: Decimal) -> None:
    assert reporter.post(reporter.event(reported_cost=sent)).status_code == 201
    assert [row.reported_cost for row in reporter.rows()] == [stored]


@pytest.mark.parametrize(("minutes", "flags"), [(0, []), (10, ["clock_skew"])])
def test_an_event_that_ends_in_the_future_is_marked(reporter: Reporter, minutes: int, flags: list[str]) -> None:
    """It began a minute ago, by its own clock."""
    began = (timezone.now() - timedelta(minutes=1)).isoformat()
    performance = {"total_duration_ms": 1_000 + minutes * 60_000}
    data = {"input_tokens": 1, "output_tokens": 1, "performance": performance}
    assert reporter.post(reporter.event(occurred_at=began, data=data)).status_code == 201
    assert [row.flags for row in reporter.rows()] == [flags]


def test_an_unknown_model_is_unpriced_and_never_free(reporter: Reporter) -> None:
    assert reporter.post(reporter.event(model="gpt-of-tomorrow")).status_code == 201
    (row,) = reporter.rows()
    assert row.cost is None
    assert (row.price_status, row.price_reason) == ("unpriced", "unknown_model")


@pytest.mark.parametrize("counts", [(None, None), ("5", "None"), (None, 5)])
def test_a_call_without_its_counts_is_unpriced(reporter: Reporter, counts: tuple[Any, Any]) -> None:
    data = {"input_tokens": counts[0], "output_tokens": counts[1]}
    assert reporter.post(reporter.event(data=data)).status_code == 201
    (row,) = reporter.rows()
    assert (row.cost, row.price_status, row.price_reason) == (None, "unpriced", "missing_usage")


def test_a_free_model_costs_nothing_and_says_so(reporter: Reporter) -> None:
    assert reporter.post(reporter.event(provider="ollama", model="llama3")).status_code == 201
    (row,) = reporter.rows()
    assert (row.cost, row.price_status, row.price_reason) == (Decimal(0), "priced", "self_hosted")


def test_a_repeated_id_changes_nothing(reporter: Reporter) -> None:
    event = reporter.event()
    assert reporter.post(event).status_code == 201
    for repeated in (event, {**event, "model": "gpt-4o", "data": {"input_tokens": "9", "output_tokens": "9"}}):
        answer = reporter.post(repeated)
        assert answer.status_code == 200
        assert answer.json() == {"id": event["id"], "status": "duplicate"}
    (row,) = reporter.rows()
    assert (row.model, row.input_tokens) == ("gpt-4o-mini", 123)


def test_ids_are_each_projects_own(reporter: Reporter, globex: Workspace) -> None:
    other = Reporter(globex)
    event = reporter.event()
    assert reporter.post(event).status_code == 201
    assert other.post({**event, "provider_key_id": str(other.provider_key.id)}).status_code == 201
    assert len(reporter.rows()) == len(other.rows()) == 1


def test_an_archived_provider_key_is_no_reason_to_refuse(reporter: Reporter) -> None:
    with tenant_scope(reporter.workspace.organization):
        ProviderKey.objects.filter(id=reporter.provider_key.id).update(archived_at="2026-01-01T00:00Z")
    assert reporter.post(reporter.event()).status_code == 201


def test_provider_keys_of_others_are_refused(reporter: Reporter, globex: Workspace) -> None:
    acme = reporter.workspace
    with tenant_scope(acme.organization):
        neighbour = create_project(name="staging")
        of_neighbour = ProviderKey.objects.create(project=neighbour, provider="openai")
    of_globex = globex.add_provider_key("openai", "sk-globex")
    for foreign in (of_neighbour.id, of_globex.id, uuid.uuid4()):
        answer = reporter.post(reporter.event(provider_key_id=str(foreign)))
        assert answer.status_code == 422
        assert answer.json()["code"] == "foreign_provider_key"
    assert reporter.rows() == []


def test_after_revocation_nothing_is_stored(reporter: Reporter) -> None:
    event = reporter.event()
    assert reporter.post(event).status_code == 201
    retire_key(project_id=reporter.workspace.project.id, generation=1)
    assert reporter.post(reporter.event()).status_code == 401
    assert reporter.post(event).status_code == 401
    assert len(reporter.rows()) == 1


def test_the_header_pair_of_old_releases_reports_too(reporter: Reporter) -> None:
    answer = reporter.sdk.client.post(
        "/api/v1/usage-events/",
        json.dumps(reporter.event()),
        content_type="application/json",
        headers=reporter.sdk.header_pair(),
    )
    assert answer.status_code == 201


def put(event: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(event)
    target = changed
    *parents, last = path.split(".")
    for name in parents:
        target = target.setdefault(name, {})
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return changed


# Fields and what none of them may hold (... for a missing one).
BAD_VALUES: list[tuple[list[str], list[Any]]] = [
    (["id", "provider", "model", "data", "data.input_tokens", "data.output_tokens"], [...]),
    (["id", "provider_key_id"], ["", "x", 5, "0" * 40, []]),
    (["id"], [None]),
    (["provider", "model"], ["", 5, None, {}, "a\0b", "a\nb", "x" * 300]),
    (["client_name"], [5, "a\0b", "x" * 300, []]),
    (
        ["data.input_tokens", "data.output_tokens"],
        [-1, "-1", "1.5", 1.5, "", "many", "1e3", 10**13, "9" * 13, "9" * 400, 10**400, True, [], {}, "１２", "0x1"],
    ),
    (["data"], [None, [], "x", 5]),
    (
        [f"data.performance.{name}" for name in ("total_duration_ms", "chunks_received", "tokens_per_second")],
        [-1, "fast", True, [], 1e300, -0.5],
    ),
    (["data.performance.chunks_received"], [1.5]),
    (["data.performance"], ["fast"]),
    (["data.input_tokens", "data.output_tokens"], ["5\n", "None\n"]),
    (["provider", "model", "client_name", "session", "service_tier", "response_id"], ["name\n"]),
    (["reported_cost"], ["NaN", "sNaN", "-NaN", "Infinity", "-Infinity", -1, "-0.01", "1000000000.01", "1e99999", ""]),
    (["sequence"], [{"source": "worker-1", "number": 2**63 - 1}, {"source": "worker-1", "number": -1}]),
    (["occurred_at"], ["1999-12-31T23:59:59Z", "2100-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00"]),
]
BAD = [(path, value) for paths, values in BAD_VALUES for path in paths for value in values]


@pytest.mark.parametrize(("path", "value"), BAD, ids=[f"{path}-{number}" for number, (path, _) in enumerate(BAD)])
def test_bad_values_are_refused_with_a_reason_and_nothing_is_stored(reporter: Reporter, path: str, value: Any) -> None:
    answer = reporter.post(put(reporter.event(), path, value))
    assert answer.status_code in {400, 422}
    assert set(answer.json()) == {"detail", "code"}
    assert len(answer.json()["detail"]) > 10
    assert reporter.rows() == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"\xff\xfe\x00", 400), (b"[]", 422), (b"null", 422), (b'"x"', 422),
        (b'{"id": NaN}', 400), (b"[" * 60_000, 422), (b'{"x": ' + b"[" * 60_000, 400), (b'{"model": "\\ud800"}', 400), (b"x" * 10_000_000, 413),
    ],
    ids=range(11),
)  # fmt: skip
def test_bad_bodies_are_refused_with_a_reason_and_nothing_is_stored(
    reporter: Reporter, body: bytes, status: int
) -> None:
    answer = reporter.post(body)
    assert answer.status_code == status
    assert set(answer.json()) == {"detail", "code"}
    assert reporter.rows() == []


def test_fields_we_do_not_know_are_passed_over_and_not_kept(reporter: Reporter) -> None:
    canary = "the-prompt-that-nobody-may-store"
    event = reporter.event(prompt=canary, data={"input_tokens": 1, "output_tokens": 1, "messages": [canary]})
    assert reporter.post(event).status_code == 201
    with tenant_scope(reporter.workspace.organization), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ledger_usageevent e WHERE e::text LIKE %s", [f"%{canary}%"])
        assert cursor.fetchone() == (0,)


def test_inside_a_transaction_nothing_can_be_acknowledged(reporter: Reporter) -> None:
    """Its commit comes later, and takes along what other threads were told is stored."""
    with transaction.atomic():
        answer = reporter.post(reporter.event())
    assert answer.status_code == 500
    assert reporter.rows() == []


def test_many_at_once_with_repeats_are_each_stored_once(committed: tuple[Workspace, Workspace]) -> None:
    reporter = Reporter(committed[0])
    events = [reporter.event() for _ in range(40)]
    answers: list[tuple[str, int]] = []
    barrier = threading.Barrier(8)

    def report(own: list[dict[str, Any]]) -> None:
        client = Sdk(reporter.sdk.key, reporter.sdk.token)
        try:
            barrier.wait(timeout=30)
            for event in own:
                answer = client.client.post(
                    "/api/v1/usage-events/", json.dumps(event), content_type="application/json", headers=client.bearer
                )
                answers.append((event["id"], answer.status_code))
        finally:
            connection.close()

    # Each event is sent by two threads.
    threads = [threading.Thread(target=report, args=[events[start % 4 :: 4]]) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for _, status in answers} <= {200, 201}
    assert len(answers) == 80
    rows = reporter.rows()
    assert sorted(str(row.event_id) for row in rows) == sorted(event["id"] for event in events)
    assert sum((row.cost or 0 for row in rows), Decimal()) == 40 * Decimal("0.00004545")


def test_the_command_lists_what_the_ledger_holds(reporter: Reporter) -> None:
    event = reporter.event(
        client_name="batch-3", data={"input_tokens": 123, "output_tokens": 45, "performance": PERFORMANCE}
    )
    reporter.post(event)
    reporter.post(reporter.event(model="gpt-of-tomorrow"))
    output = StringIO()
    call_command("usage", project=reporter.workspace.project.id, json=True, stdout=output)
    rows = {row["id"]: row for row in json.loads(output.getvalue())}
    assert rows[event["id"]] == {
        "id": event["id"],
        "time": rows[event["id"]]["time"],
        "provider": "openai",
        "model": "gpt-4o-mini",
        "client": "batch-3",
        "provider_key_id": str(reporter.provider_key.id),
        "input_tokens": 123,
        "output_tokens": 45,
        "cost": "0.00004545",
        "currency": "USD",
        "price_status": "priced",
        "price_reason": None,
        "requests": 1,
        "revision": 0,
        "source": "json",
        "performance": PERFORMANCE,
    }
    table = StringIO()
    call_command("usage", project=reporter.workspace.project.id, stdout=table)
    assert "0.00004545 USD" in table.getvalue()
    assert "unpriced" in table.getvalue()
    with pytest.raises(CommandError, match="no project"):
        call_command("usage", project=uuid.uuid4())


class TestGroupCommit:
    """The queue behind the endpoint, with a commit that the test holds open."""

    def run(
        self, fail_on: int | None = None, error: Exception | None = None
    ) -> tuple[list[list[int]], dict[int, object]]:
        """Five rows: 0 is being stored while 1 to 4 arrive. The batches, and what each row's thread got."""
        batches: list[list[int]] = []
        results: dict[int, object] = {}
        first_runs, others_wait = threading.Event(), threading.Event()

        def commit(rows: Sequence[int]) -> list[bool]:
            batches.append(list(rows))
            if rows[0] == 0:
                first_runs.set()
                assert others_wait.wait(timeout=30)
            if fail_on in rows:
                raise error or RuntimeError("the disk is full")
            return [row % 2 == 0 for row in rows]

        group = GroupCommit(commit, most=4)

        def store(row: int) -> None:
            try:
                results[row] = group.store("tenant", row)
            except (RuntimeError, DatabaseError) as error:
                results[row] = str(error)

        threads = [threading.Thread(target=store, args=[row]) for row in range(5)]
        threads[0].start()
        assert first_runs.wait(timeout=30)
        for thread in threads[1:]:
            thread.start()
        while len(group._queues.get("tenant", [])) < 4:
            pass
        others_wait.set()
        for thread in threads:
            thread.join(timeout=30)
        assert group._queues == {}
        return batches, results

    def test_what_waits_goes_together_and_each_gets_its_own_answer(self) -> None:
        batches, results = self.run()
        assert batches[0] == [0]
        assert [sorted(batch) for batch in batches[1:]] == [[1, 2, 3, 4]]
        assert results == {0: True, 1: False, 2: True, 3: False, 4: True}

    def test_a_failed_commit_is_everybodys_who_was_in_it_and_nobody_elses(self) -> None:
        _, results = self.run(fail_on=3)
        assert results == {0: True, **dict.fromkeys((1, 2, 3, 4), "the disk is full")}

    @pytest.mark.parametrize("error", [DataError("out of range"), IntegrityError("not unique")])
    def test_a_row_that_the_database_refuses_is_no_error_of_the_others(self, error: Exception) -> None:
        batches, results = self.run(fail_on=3, error=error)
        assert sorted(batches[2:]) == [[1], [2], [3], [4]]
        assert results == {0: True, 1: False, 2: True, 3: str(error), 4: True}
