"""SIGKILL to PostgreSQL, while usage events come in. The web server is not restarted: it recovers by itself."""

from collections.abc import Callable
from decimal import Decimal

import psutil
import pytest

from cryptokit.encoding import b64
from devstack.servers import end, is_gone
from tests.faults.load import Event, Load, check_ledger
from tests.faults.stack import Program, Stack, Tenant, wait_until


def kill_everything(stack: Stack) -> None:
    stack.postgres.kill()
    stack.postgres.start()


def kill_postmaster(stack: Stack) -> None:
    """Its children notice, and end by themselves."""
    postmaster = psutil.Process(stack.postgres.pid)
    children = postmaster.children(recursive=True)
    end([postmaster])
    wait_until(lambda: all(map(is_gone, children)), "its children have ended")
    stack.postgres.kill()
    stack.postgres.start()


def kill_child(stack: Stack) -> None:
    """One of those that serve web: the postmaster ends all others, recovers, and goes on."""
    serving = next(
        process
        for process in psutil.Process(stack.postgres.pid).children()
        if "anyllm" in " ".join(process.cmdline()) and "idle" in " ".join(process.cmdline())
    )
    end([serving])


@pytest.mark.parametrize("fault", [kill_everything, kill_postmaster, kill_child])
def test_postgres_dies(
    fault: Callable[[Stack], None],
    stack: Stack,
    web: Program,
    tenant: Tenant,
    prices: tuple[Decimal, Decimal],
) -> None:
    processes = web.tree()
    with Load(stack, tenant) as load:
        load.until(0.25)
        fault(stack)

    # A client hears that it should try again, never that something is wrong with its request or with our code.
    assert load.failures().keys() <= {503}
    wait_until(stack.is_ready, "web is ready again")
    check_ledger(load, prices)
    assert web.tree() == processes


def test_web_says_that_it_is_busy(stack: Stack, web: Program, tenant: Tenant) -> None:
    """Without PostgreSQL each endpoint answers 503 at once, for clients to try again; health tells it apart."""
    requests = [
        ("GET", f"/api/v1/provider-keys/{tenant.provider}", None),
        ("POST", "/api/v1/usage-events/", Event(tenant, 1).body()),
        ("POST", "/api/v1/auth/", {"encryption_key": b64(tenant.key.public)}),
        ("POST", "/api/v1/auth/token", {"solved_challenge": "0190b6a5-0000-4000-8000-000000000000"}),
    ]
    processes = web.tree()
    stack.postgres.kill()
    try:
        for method, path, body in requests:
            answer = stack.request(method, path, body, token=tenant.token)
            assert (answer.status, answer.json["code"]) == (503, "unavailable"), path
            assert answer.json.keys() == {"detail", "code"}
            assert int(answer.headers["retry-after"]) > 0
        assert stack.request("GET", "/healthz").status == 200
        ready = stack.request("GET", "/readyz")
        assert (ready.status, ready.json["database"], ready.json["broker"]) == (503, "unreachable", "ok")
    finally:
        stack.postgres.start()

    wait_until(stack.is_ready, "web is ready again")
    assert [stack.request(*request, token=tenant.token).status for request in requests] == [200, 201, 200, 401]
    assert web.tree() == processes
