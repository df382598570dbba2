"""The pool of spare schemas, seen from outside."""

from celery import Celery

from tests.faults.stack import Stack


def fill_pool(stack: Stack) -> None:
    """Queues the task, as beat does every minute."""
    with Celery(broker=stack.valkey.url, set_as_current=False) as app:
        app.send_task("tenancy.fill_pool", ignore_result=True)


def spares(stack: Stack) -> set[str]:
    return {name for (name,) in stack.query("SELECT schema_name FROM tenancy_spareschema")}


def orphans(stack: Stack) -> set[str]:
    """Tenant schemas that neither wait in the pool nor belong to an organization."""
    schemas = stack.query(
        "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 't_')"
        " EXCEPT SELECT schema_name FROM tenancy_spareschema"
        " EXCEPT SELECT schema_name FROM organizations_organization"
    )
    return {name for (name,) in schemas}


def empty_pool(stack: Stack) -> None:
    for name in spares(stack):
        stack.query(f"DROP SCHEMA {name} CASCADE")
        stack.query("DELETE FROM tenancy_spareschema WHERE schema_name = %s", [name])
