"""SIGKILL to the Celery worker in the middle of building a spare schema, while usage events come in, and to the exporter
in the middle of an export."""

import csv
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal

import psycopg
import pytest
from celery import Celery

from devstack.servers import end
from tests.faults.load import Load, check_ledger
from tests.faults.pool import empty_pool, fill_pool, orphans, spares
from tests.faults.stack import Program, Stack, Tenant, wait_until

BUILDING = """
    SELECT pid FROM pg_stat_activity
     WHERE application_name = 'anyllm-platform' AND wait_event_type = 'Lock' AND query LIKE '%tenancy_spareschema%'
"""

FILLING = "SELECT FROM pg_locks WHERE locktype = 'advisory'"
EXPORTING = """
    SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
     WHERE locktype = 'advisory' AND application_name = 'anyllm-platform' AND query LIKE '%ledger_usageevent%'
"""


@contextmanager
def half_way(stack: Stack) -> Iterator[None]:
    """Holds every filler of the pool where the schema stands and its row in the pool is not yet written."""
    with psycopg.connect(stack.postgres.url) as connection:
        connection.execute("LOCK TABLE tenancy_spareschema IN SHARE MODE")
        yield


def kill_all(stack: Stack, worker: Program) -> None:
    """What it had taken from the queue waits there for an hour."""
    worker.kill()
    worker.start()


def kill_building_process(stack: Stack, worker: Program) -> None:
    """The task goes back to the queue and another process takes it."""
    end(worker.main.children(recursive=True))


@pytest.mark.parametrize("fault", [kill_all, kill_building_process])
def test_the_worker_dies_half_way(
    fault: Callable[[Stack, Program], None],
    stack: Stack,
    web: Program,
    worker: Program,
    tenant: Tenant,
    prices: tuple[Decimal, Decimal],
) -> None:
    empty_pool(stack)
    worker.start()
    with half_way(stack):
        fill_pool(stack)
        wait_until(lambda: bool(stack.query(BUILDING)), "a spare schema is being built")
        with Load(stack, tenant) as load:
            load.until(0.25)
            fault(stack, worker)

    assert not load.failures()
    check_ledger(load, prices)
    # Whoever comes while the dead one's connection still holds the lock leaves the work to the next tick of beat.
    wait_until(lambda: not stack.query(FILLING), "the dead one's transaction has ended")
    fill_pool(stack)
    wait_until(lambda: len(spares(stack)) == 2, "the pool is full")
    assert orphans(stack) == set()


CALLS = 40_000


def test_the_exporter_dies_while_it_exports(stack: Stack, tenant: Tenant, worker: Program, exporter: Program) -> None:
    """There is no file then, and the next one makes all of it, once."""
    organization_id, project_id, export_id = json.loads(stack.run("tests.faults.exports", CALLS))
    exports = f"{tenant.schema}.analytics_export"

    def state() -> tuple[str, int]:
        [(status, attempts)] = stack.query(f"SELECT status, attempts FROM {exports} WHERE id = %s", [export_id])
        return status, attempts

    try:
        exporter.start()
        wait_until(lambda: bool(stack.query(EXPORTING)), "the export is being made")
        exporter.kill()
        assert state() == ("running", 1)
        assert list(stack.exports.rglob("*.gz")) == []
        exporter.start()
        worker.start()
        wait_until(lambda: not stack.query(EXPORTING), "the dead one's transaction has ended")
        # As analytics.sweep does every hour.
        with Celery(broker=stack.valkey.url, set_as_current=False) as app:
            sweep = {"organization_id": organization_id}
            app.send_task("analytics.sweep_organization", kwargs=sweep, ignore_result=True)
        wait_until(lambda: state()[0] == "done", "the export is made", seconds=60)
        assert state() == ("done", 2)
        [path] = stack.exports.rglob("*.gz")
        assert path.name == f"{export_id}.csv.gz"
        with gzip.open(path, "rt", newline="") as file:
            assert len({row["id"] for row in csv.DictReader(file)}) == CALLS
    finally:
        worker.kill()
        exporter.kill()
        stack.query(f"DELETE FROM {tenant.schema}.ledger_usageevent WHERE project_id = %s", [project_id])
        stack.query(f"DELETE FROM {tenant.schema}.analytics_dayrollup WHERE project_id = %s", [project_id])
        stack.query(f"DELETE FROM {exports}")
