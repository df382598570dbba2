"""A row of the ledger on its way into the database: what comes out is what went in."""

import threading
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import msgspec
import psycopg
import pytest
from django.db import DataError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.directory.callers import Reporter
from apps.ledger.calls import Call, Ending
from apps.ledger.emitters.values import clean
from apps.ledger.models import METER_COLUMNS, Outbox, PriceStatus, UsageEvent
from apps.ledger.prices import Price
from apps.ledger.rows import NewRow, encoded, row_of, store_rows
from apps.ledger.settling import fingerprint
from tenancy import tenant_scope
from tenancy.ids import uuid7
from tenancy.sql import CopyIn
from tests.cast import Workspace

MAY = datetime(2026, 5, 1, 10, 0, 0, 123_456, tzinfo=UTC)
SPECIAL = ["null", "NULL", "", '"', '""', "\\", "\\\\", '\\"', "\\.", "\\n", ",", "{}", "a, b", " ", "\x80", "\u2028"]
# As emitters and shapes let them pass.
TEXT = st.sampled_from(SPECIAL) | st.text(max_size=64).map(lambda text: clean(text, 64))
NUMBER = st.none() | st.floats(0, 1e12)
COUNT = st.none() | st.integers(0, 10**12)


def row(**changes: Any) -> NewRow:
    facts: dict[str, Any] = {"source": "semconv", "occurred_at": MAY, "price_status": "unpriced"} | changes
    return NewRow(id=uuid7(), event_id=uuid.uuid4(), project_id=uuid.uuid4(), **facts)


def stored(rows: list[NewRow]) -> list[dict[str, Any]]:
    """The rows as the database has them, in the types of NewRow."""
    with transaction.atomic():
        store_rows([encoded(each) for each in rows])
    by_id = {each["id"]: each for each in UsageEvent.objects.values(*NewRow.__struct_fields__)}
    return [by_id[each.id] for each in rows]


def expected(sent: NewRow) -> dict[str, Any]:
    facts = msgspec.structs.asdict(sent)
    return facts | {name: msgspec.json.decode(facts[name]) for name in ("price_lines", "flags")}


def test_each_fact_of_a_call_has_its_place() -> None:
    values: dict[str, Any] = {}
    for number, field in enumerate(msgspec.structs.fields(Call), 1):
        # Some value of the field's type that no other field has; both booleans are turned round.
        kind = str(field.type)
        match kind:
            case _ if "Mapping" in kind:
                values[field.name] = {meter: 100 + place for place, meter in enumerate(METER_COLUMNS)}
            case _ if "UUID" in kind:
                values[field.name] = uuid.UUID(int=number)
            case _ if "datetime" in kind:
                values[field.name] = MAY + timedelta(seconds=number)
            case _ if "Decimal" in kind:
                values[field.name] = Decimal(number)
            case _ if "bool" in kind:
                values[field.name] = not field.default
            case _ if "int" in kind or "float" in kind:
                values[field.name] = number
            case _ if "Ending" in kind:
                values[field.name] = Ending.CANCELLED
            case _:
                values[field.name] = field.name
    call = Call(**values)
    reporter = Reporter(uuid.UUID(int=101), Mock(), 102, uuid.UUID(int=103))
    price = Price(PriceStatus.PRICED, "reason", "rule", 104, ({"price_id": 1},), Decimal(105), "EUR", ("a flag",))
    made = row_of(reporter, call, price, call.meters, occurred_at=MAY, now=MAY)
    named = {"user": "user_label"}
    row_says = msgspec.structs.asdict(made)
    of_call = {named.get(name, name): value for name, value in values.items()}
    apart = {"meters", "instance", "started_at", "ended_at"}
    assert {name: row_says.pop(name) for name in of_call.keys() - apart} == {
        name: value for name, value in of_call.items() if name not in apart
    }
    assert row_says.pop("id").version == 7
    assert row_says == {
        "project_id": reporter.project_id,
        "occurred_at": MAY,
        "price_status": "priced",
        "key_generation": 102,
        "ingest_token_id": reporter.ingest_token_id,
        "fingerprint": fingerprint("instance", call.meters),
        "price_reason": "reason",
        "price_rule": "rule",
        "price_snapshot_id": 104,
        "price_lines": '[{"price_id":1}]',
        "cost": Decimal(105),
        "currency": "EUR",
        "flags": '["a flag"]',
        "same_call_as": None,
        **{name: 100 + place for place, name in enumerate(METER_COLUMNS.values())},
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(TEXT, min_size=8, max_size=8),
    numbers=st.lists(NUMBER, min_size=3, max_size=3),
    counts=st.lists(COUNT, min_size=4, max_size=4),
    flags=st.lists(TEXT, max_size=3),
    lines=st.lists(st.dictionaries(TEXT, TEXT, max_size=3), max_size=3),
    cost=st.none() | st.decimals(0, 10**9, places=12),
    is_batch=st.booleans(),
)
def test_every_text_and_number_is_stored_as_it_is(
    acme: Workspace,
    texts: list[str],
    numbers: list[float | None],
    counts: list[int | None],
    flags: list[str],
    lines: list[dict[str, str]],
    cost: Decimal | None,
    is_batch: bool,
) -> None:
    first = row(
        **dict(
            zip(
                ("provider", "model", "request_model", "client_name", "session", "user_label", "response_id", "scope"),
                texts,
                strict=True,
            )
        ),
        **dict(
            zip(("time_to_first_token_ms", "total_duration_ms", "tokens_per_second"), numbers, strict=True),
        ),
        **dict(zip(("input_tokens", "output_tokens", "fingerprint", "sequence_number"), counts, strict=True)),
        price_status="unpriced" if cost is None else "priced",
        cost=cost,
        reported_cost=cost,
        is_batch=is_batch,
        cache_in_input=not is_batch,
        flags=msgspec.json.encode(flags).decode(),
        price_lines=msgspec.json.encode(lines).decode(),
        trace_id=uuid.uuid4(),
        ingest_token_id=uuid.uuid4(),
    )
    with tenant_scope(acme.organization):
        rows = [first, row(), row(session="of the last")]
        assert stored(rows) == [expected(each) for each in rows]
        # Whoever sums them up is told of all of them, in the same transaction.
        assert sorted(Outbox.objects.latest("id").events) == sorted(each.id for each in rows)


def test_one_bad_row_leaves_none_and_the_connection_as_it_was(acme: Workspace) -> None:
    with tenant_scope(acme.organization):
        with pytest.raises(DataError):
            stored([row(), row(provider="p" * 65)])
        assert not UsageEvent.objects.exists()
        assert len(stored([row()])) == 1


def test_rows_are_copied_in_a_transaction_only(acme: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenancy.sql.connection", SimpleNamespace(in_atomic_block=False))
    with tenant_scope(acme.organization), pytest.raises(RuntimeError):
        CopyIn("COPY {tenant}.ledger_usageevent (id) FROM STDIN").send(b"")


def test_other_threads_go_on_while_the_server_is_at_the_rows(acme: Workspace) -> None:
    """The row waits for a lock that only another thread of this process gives back."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(7)")
        is_over = threading.Event()

        def give_back() -> None:
            waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted"
            while not other.execute(waiting).fetchall() and not is_over.wait(0.01):
                pass
            other.execute("SELECT pg_advisory_unlock(7)")

        with tenant_scope(acme.organization), connection.cursor() as cursor:
            cursor.execute(
                "CREATE TEMP TABLE held (n integer CHECK (pg_advisory_xact_lock(n)::text = '')) ON COMMIT DROP"
            )
            cursor.execute("SET LOCAL lock_timeout = '10s'")
            thread = threading.Thread(target=give_back)
            thread.start()
            try:
                CopyIn("COPY held (n) FROM STDIN").send(b"7\n")
            finally:
                is_over.set()
                thread.join()
            cursor.execute("SELECT n FROM held")
            assert cursor.fetchall() == [(7,)]
