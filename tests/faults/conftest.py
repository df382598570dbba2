"""One stack for all tests of this folder; each leaves it as it found it: servers and web running, no workers."""

from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.faults.load import unit_prices
from tests.faults.stack import Program, Stack, Tenant, wait_until


def pytest_itemcollected(item: pytest.Item) -> None:
    """In one process: another would make a stack of its own."""
    item.add_marker(pytest.mark.xdist_group("faults"))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("stack")) as stack:
        yield stack


@pytest.fixture(scope="session")
def web(stack: Stack) -> Program:
    web = stack.program("web")
    web.start()
    wait_until(stack.is_ready, "web is ready")
    return web


@pytest.fixture(scope="session")
def tenant(stack: Stack) -> Tenant:
    return stack.tenants[0]


@pytest.fixture(scope="session")
def prices(stack: Stack, web: Program, tenant: Tenant) -> tuple[Decimal, Decimal]:
    return unit_prices(stack, tenant)


@pytest.fixture
def worker(stack: Stack) -> Iterator[Program]:
    """The Celery worker, not started. It keeps two spare schemas."""
    worker = stack.program("worker", SPARE_SCHEMAS="2")
    yield worker
    worker.kill()


@pytest.fixture
def exporter(stack: Stack) -> Iterator[Program]:
    """The program that makes exports, not started."""
    exporter = stack.program("exporter")
    yield exporter
    exporter.kill()
