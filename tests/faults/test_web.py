"""SIGKILL to web, while usage events come in."""

from decimal import Decimal

import psutil

from devstack.servers import end
from tests.faults.load import Load, check_ledger
from tests.faults.stack import Program, Stack, Tenant, wait_until


def connections(process: psutil.Process) -> int:
    """Clients connected to it now."""
    return sum(connection.status == psutil.CONN_ESTABLISHED for connection in process.net_connections("tcp"))


def test_a_worker_dies(stack: Stack, web: Program, tenant: Tenant, prices: tuple[Decimal, Decimal]) -> None:
    before = {process.pid for process in web.tree()}
    with Load(stack, tenant) as load:
        load.until(0.25)
        busiest = max(web.main.children(), key=connections)
        end([busiest])

    assert load.failures(), "nobody noticed"
    assert load.failures().keys() <= {"RemoteDisconnected", "ConnectionResetError", "BrokenPipeError"}
    check_ledger(load, prices)
    # The web server has put another in its place, and is the same otherwise.
    wait_until(lambda: len({process.pid for process in web.tree()}) == len(before), "a worker in its place")
    assert before - {process.pid for process in web.tree()} == {busiest.pid}


def test_the_whole_web_server_dies(stack: Stack, web: Program, tenant: Tenant, prices: tuple[Decimal, Decimal]) -> None:
    with Load(stack, tenant) as load:
        load.until(0.25)
        web.kill()
        web.start()

    assert load.failures()["ConnectionRefusedError"], "it was never down"
    check_ledger(load, prices)
