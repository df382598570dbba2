"""SIGKILL to Valkey, while usage events come in: nothing that SDKs need depends on it."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import redis

from cryptokit.encoding import b64
from tests.faults.load import Load, check_ledger
from tests.faults.pool import empty_pool, fill_pool, spares
from tests.faults.stack import Program, Stack, Tenant, wait_until


def cold_start(stack: Stack, tenant: Tenant) -> str:
    """What an SDK does before its first call; the provider key it opened."""
    key = tenant.key
    challenge = stack.request("POST", "/api/v1/auth/", {"encryption_key": b64(key.public)}).json
    solved = {"solved_challenge": key.open(challenge["encrypted_challenge"])}
    token = stack.request("POST", "/api/v1/auth/token", solved).json["access_token"]
    return key.open(stack.request("GET", "/api/v1/provider-keys/openai", token=token).json["encrypted_key"])


def failed_proof(stack: Stack) -> int:
    wrong = {"solved_challenge": "0190b6a5-0000-4000-8000-000000000000"}
    return stack.request("POST", "/api/v1/auth/token", wrong).status


@contextmanager
def without_valkey(stack: Stack) -> Iterator[None]:
    stack.valkey.kill()
    try:
        yield
    finally:
        stack.valkey.start()


def test_valkey_dies(
    stack: Stack, web: Program, worker: Program, tenant: Tenant, prices: tuple[Decimal, Decimal]
) -> None:
    worker.start()
    fill_pool(stack)
    wait_until(lambda: len(spares(stack)) >= 2, "the worker works")
    processes = web.tree()

    with Load(stack, tenant) as load:
        load.until(0.25)
        with without_valkey(stack):
            assert cold_start(stack, tenant) == tenant.secret
            assert failed_proof(stack) == 401
            ready = stack.request("GET", "/readyz")
            assert (ready.status, ready.json["database"], ready.json["broker"]) == (503, "ok", "unreachable")

    assert not load.failures()
    check_ledger(load, prices)
    wait_until(stack.is_ready, "web is ready again")
    assert web.tree() == processes
    # Failures are counted again, and the worker finds its way back to the queue.
    assert failed_proof(stack) == 401
    with redis.Redis.from_url(stack.valkey.url, decode_responses=True) as client:
        assert client.keys("*failures:sdk:127.0.0.1:*")
    empty_pool(stack)
    fill_pool(stack)
    wait_until(lambda: len(spares(stack)) == 2, "the worker has built spare schemas again")
