"""Migrations over all tenants: each schema on its own, failures recorded and passed over, current ones skipped."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django_tenants.utils import get_tenant_model

from tenancy.models import SpareSchema
from tenancy.roles import as_owner, grant_runtime, schemas_to_grant
from tenancy.scope import schema_scope
from tenancy.versions import current_version, tenant_app_labels

logger = logging.getLogger(__name__)


@dataclass
class Report:
    """What a run did: schema names that were migrated, and (schema name, error) of those that failed."""

    migrated: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def migrate_tenants(progress: Callable[[str], object] = lambda _: None) -> Report:
    """Brings every organization's and every spare schema to this code's migrations and rights, as the owner.

    A schema that fails stays at its last good migration, has the error recorded, and the rest goes on; run again
    to repeat it. Schemas that are current cost nothing: they are not even listed.
    """
    with as_owner():
        report = _migrate_behind(progress)
        # Those that are current and were not visited.
        for schema_name in schemas_to_grant():
            grant_runtime(schema_name)
            progress(f"  {schema_name}: granted")
    return report


def _migrate_behind(progress: Callable[[str], object]) -> Report:
    report = Report()
    for model in (get_tenant_model(), SpareSchema):
        behind = model._default_manager.exclude(schema_version__in=[current_version(), ""])
        for schema_name in list(behind.order_by("created_at").values_list("schema_name", flat=True)):
            rows = model._default_manager.filter(schema_name=schema_name)
            try:
                migrate_schema(schema_name)
            except Exception as error:
                logger.exception("migrating a tenant schema failed", extra={"schema": schema_name})
                message = f"{type(error).__name__}: {error}".strip()
                rows.update(migration_error=message)
                report.failed.append((schema_name, message))
                progress(f"  {schema_name}: FAILED, {message}")
            else:
                rows.update(schema_version=current_version(), migration_error="")
                report.migrated.append(schema_name)
                progress(f"  {schema_name}: migrated")
    return report


def migrate_schema(schema_name: str) -> None:
    """Runs the tenant apps' missing migrations in one schema, as the owner, and gives the runtime role its rights."""
    with as_owner(), schema_scope(schema_name):
        executor = MigrationExecutor(connection)
        labels = tenant_app_labels()
        executor.migrate([node for node in executor.loader.graph.leaf_nodes() if node[0] in labels])
        grant_runtime(schema_name)
