"""Making tenant schemas.

A schema is made by creating every table at its final form in one transaction, which takes a fraction of the time
of running the migrations one by one (tests hold both ways to the same result). Finished ones wait in a pool; an
organization takes one by deleting its row. Plain Django DDL, so that it works on Citus as well.
"""

import logging
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder

from tenancy.errors import TenancyError
from tenancy.ids import SCHEMA_NAME, new_schema_name
from tenancy.models import SpareSchema
from tenancy.roles import as_owner, grant_runtime
from tenancy.scope import schema_scope
from tenancy.versions import current_state, current_version, tenant_app_labels, tenant_migrations

logger = logging.getLogger(__name__)

# Any number that nothing else locks: one filler of the pool at a time.
POOL_LOCK = 0x616C_7001
# How often a sign-up makes a schema because others took those that it made before.
CLAIMS = 5


class TenantSchema(NamedTuple):
    """A finished schema and the hash of the migrations it has."""

    name: str
    version: str


def build_schema() -> TenantSchema:
    """Makes a new schema with all tenant tables, empty, as the owner and in one transaction: a crash leaves nothing.

    Raises NotOwnerError where this process may not.
    """
    name = new_schema_name()
    with as_owner(), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE SCHEMA "{name}"')
        with schema_scope(name):
            labels = tenant_app_labels()
            with connection.schema_editor() as editor:
                for model in current_state().get_models():
                    if model._meta.app_label in labels:
                        editor.create_model(model)
            recorder = MigrationRecorder(connection)
            recorder.ensure_schema()
            recorder.migration_qs.bulk_create(
                [recorder.Migration(app=app, name=migration) for app, migration in tenant_migrations()]
            )
        grant_runtime(name)
    return TenantSchema(name, current_version())


def claim_schema() -> TenantSchema:
    """A finished schema for a new organization: a spare one that is current, else one that is made a spare first.

    Call it in the transaction that stores the organization: rolled back, the spare is in the pool again. Raises
    NotOwnerError where there is none and this process may make none.
    """
    for _ in range(CLAIMS):
        if (name := _claim_spare()) is not None:
            return TenantSchema(name, current_version())
        _make_spare()
    raise TenancyError(f"{CLAIMS} schemas were made for this organization, and none could be had.")


def _claim_spare() -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            DELETE FROM tenancy_spareschema WHERE schema_name = (
                SELECT schema_name FROM tenancy_spareschema WHERE schema_version = %s
                 ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING schema_name
            """,
            [current_version()],
        )
        row = cursor.fetchone()
    return row[0] if row else None


def _make_spare() -> TenantSchema:
    """A finished schema in the pool. Made by the owner, it stays when the caller's transaction is rolled back."""
    with as_owner(), transaction.atomic():
        schema = build_schema()
        SpareSchema.objects.create(schema_name=schema.name, schema_version=schema.version)
    return schema


def drop_schema(name: str) -> None:
    """Deletes a tenant's schema with all that is in it, for good. Call it as the owner, in the transaction in which the
    row that stands for it loses its `schema_version`."""
    if not SCHEMA_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a tenant schema's name.")
    with connection.cursor() as cursor:
        cursor.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
    logger.info("dropped a schema", extra={"schema": name})


def fill_pool() -> int:
    """Makes spare schemas until `SPARE_SCHEMAS` current ones stand; how many were made.

    One filler at a time; another returns 0 at once.
    """
    made = 0
    with as_owner():
        while _fill_one():
            made += 1
    return made


def _fill_one() -> bool:
    """Makes one spare schema, unless enough stand or another is filling; whether it did."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [POOL_LOCK])
            if not cursor.fetchone()[0]:
                return False
        if SpareSchema.objects.filter(schema_version=current_version()).count() >= settings.SPARE_SCHEMAS:
            return False
        schema = _make_spare()
    logger.info("made a spare schema", extra={"schema": schema.name})
    return True
