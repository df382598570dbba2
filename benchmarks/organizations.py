"""How long an organization takes to be ready: with a spare schema, without one, and as migrations would make it.

Runs in a process of its own on the stack's database (see __main__.py) and prints JSON.
"""

import json
import statistics
import time
from collections.abc import Callable

from django.db import connection

from apps.organizations.services import create_organization
from tenancy import provisioning
from tenancy.ids import new_schema_name
from tenancy.migrating import migrate_schema
from tenancy.models import SpareSchema
from tenancy.roles import as_owner
from tests.cast import Member


def main(rounds: int) -> None:
    owner = Member.sign_up("owner").user

    def sign_up() -> None:
        create_organization(name="Measured", owner=owner)

    def migrate() -> None:
        name = new_schema_name()
        with as_owner():
            with connection.cursor() as cursor:
                cursor.execute(f'CREATE SCHEMA "{name}"')
            migrate_schema(name)

    found: dict[str, list[float]] = {"with a spare schema": [], "without one": [], "schema by migrations": []}
    for _ in range(rounds):
        provisioning.fill_pool()
        found["with a spare schema"].append(_milliseconds(sign_up))
        SpareSchema.objects.all().delete()
        found["without one"].append(_milliseconds(sign_up))
        found["schema by migrations"].append(_milliseconds(migrate))
    print(
        json.dumps(
            {
                name: {"median_ms": round(statistics.median(values), 1), "most_ms": round(max(values), 1)}
                for name, values in found.items()
            }
        )
    )


def _milliseconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)
