"""Nothing is killed: while usage comes in, each call is in the sums within five seconds of its report."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.faults.load import Event
from tests.faults.stack import Program, Stack, Tenant, wait_until

SUMMARY = "/api/v1/usage/summary"
EVENTS = "/api/v1/usage-events/"
# What is promised, and how much load is normal: events a second.
WITHIN_SECONDS = 5.0
RATE = 20
PROBES = 8


@pytest.fixture
def beat(stack: Stack, tmp_path: Path) -> Iterator[Program]:
    beat = stack.program("beat", BEAT_SCHEDULE=str(tmp_path / "schedule"))
    beat.start()
    yield beat
    beat.kill()


@contextmanager
def normal_load(stack: Stack, tenant: Tenant) -> Iterator[list[int]]:
    """RATE events a second until it is left; the statuses that came."""
    statuses: list[int] = []
    over = threading.Event()

    def send() -> None:
        number = 0
        while not over.wait(1 / RATE):
            number += 1
            statuses.append(stack.request("POST", EVENTS, Event(tenant, number).body(), token=tenant.token).status)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    try:
        yield statuses
    finally:
        over.set()
        sender.join()


def summary(stack: Stack, tenant: Tenant, query: str = "") -> Any:
    answer = stack.request("GET", SUMMARY + query, token=tenant.token)
    assert answer.status == HTTPStatus.OK, answer.body
    return answer.json


def test_a_call_is_in_the_sums_within_five_seconds(
    stack: Stack, web: Program, worker: Program, beat: Program, tenant: Tenant
) -> None:
    before = len(worker.log.read_text(encoding="utf-8")) if worker.log.exists() else 0
    worker.start()
    with normal_load(stack, tenant) as statuses:
        # The first sums are of everything that the tests before have left.
        wait_until(lambda: summary(stack, tenant)["as_of"] is not None, "there are sums")
        for number in range(PROBES):
            client = f"probe-{number}"
            body = Event(tenant, number).body() | {"client_name": client}
            assert stack.request("POST", EVENTS, body, token=tenant.token).status == HTTPStatus.CREATED
            # The one before was shown as soon as it could be, so each of these has the longest way to the next time.
            wait_until(
                lambda query=f"?client_name={client}": summary(stack, tenant, query)["totals"]["calls"] == 1,  # type: ignore[misc]  # mypy infers no default
                f"{client} is in the sums",
                WITHIN_SECONDS,
            )
    assert set(statuses) == {HTTPStatus.CREATED}
    # What is not a probe is counted, too.
    count = f"SELECT count(*) FROM {tenant.schema}.ledger_usageevent"
    [(stored,)] = stack.query(count)
    wait_until(lambda: summary(stack, tenant)["totals"]["events"] == stored, "all is in the sums", WITHIN_SECONDS)
    # No task failed that somebody asks for again.
    assert '"level":"ERROR"' not in worker.log.read_text(encoding="utf-8")[before:]
