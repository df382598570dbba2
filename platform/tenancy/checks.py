"""System checks of tenancy. Those that ask the database run with `manage.py check --database default`."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import connection, models

from tenancy.roles import runtime_role
from tenancy.rows import TenantModel
from tenancy.versions import tenant_app_labels

# A tenant table costs its rows and indexes in the catalog once an organization.
MOST_TENANT_TABLES = 20


def tenant_models() -> list[type[models.Model]]:
    labels = tenant_app_labels()
    return [model for model in apps.get_models(include_auto_created=True) if model._meta.app_label in labels]


@register(Tags.models)
def check_models(app_configs: Sequence[AppConfig] | None, **_: Any) -> Iterable[CheckMessage]:
    """E003 to E006: what tenant models must be, so that tenants stay apart and schemas can be sharded."""
    labels = tenant_app_labels()
    for model in apps.get_models(include_auto_created=True):
        tenant = model._meta.app_label in labels
        if tenant and not issubclass(model, TenantModel):
            yield Error(
                f"{model._meta.label} is in a tenant app but is no TenantModel.",
                hint="Derive it from tenancy.rows.TenantModel.",
                obj=model,
                id="tenancy.E003",
            )
        for field in model._meta.local_fields:
            target = field.related_model
            if not isinstance(target, type) or not getattr(field, "db_constraint", False):
                continue
            if (target._meta.app_label in labels) != tenant:
                yield Error(
                    f"{field} is a database foreign key between a tenant table and a shared one.",
                    hint="Store the id in a UUIDField.",
                    obj=field,
                    id="tenancy.E004",
                )
    if both := set(settings.SHARED_APPS) & set(settings.TENANT_APPS):
        yield Error(
            f"Apps in SHARED_APPS and TENANT_APPS at once: {', '.join(sorted(both))}.",
            hint="A table stands either in public or in the tenants' schemas.",
            id="tenancy.E005",
        )
    if len(tenant_models()) > MOST_TENANT_TABLES:
        yield Error(
            f"There are {len(tenant_models())} tenant tables; {MOST_TENANT_TABLES} is the limit.",
            hint="Each costs catalog rows in every organization's schema. Merge or share some.",
            id="tenancy.E006",
        )


@register(Tags.database)
def check_database(databases: Sequence[str] | None, **_: Any) -> Iterable[CheckMessage]:
    """E001, E002, W001: what the server must be and hold, and what it should keep the runtime role from."""
    if not databases:
        return
    connection.ensure_connection()
    if connection.connection.info.parameter_status("search_path") is None:
        yield Error(
            "The database server does not report search_path to its clients.",
            hint="Use PostgreSQL 18 or later; behind PgBouncer 1.25.2 or later, add search_path to "
            "track_extra_parameters.",
            id="tenancy.E001",
        )
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY(%s)",
            [[model._meta.db_table for model in tenant_models()]],
        )
        for (table,) in cursor.fetchall():
            yield Error(
                f"The tenant table {table} also exists in the schema public.",
                hint="Drop it there: a tenant without this table would read the shared one.",
                id="tenancy.E002",
            )
        cursor.execute(
            """
            SELECT rolname FROM pg_roles, pg_database
             WHERE rolname = coalesce(nullif(%s, ''), current_user) AND datname = current_database()
               AND (has_database_privilege(rolname, datname, 'CREATE') OR pg_has_role(rolname, datdba, 'MEMBER'))
            """,
            [runtime_role()],
        )
        for (role,) in cursor.fetchall():
            yield CheckWarning(
                f"The database does not keep ledgers append-only: the role {role} may do anything in it.",
                hint="Let web and workers use a role that owns nothing (DATABASE_URL), and let another own the "
                "database (DATABASE_OWNER_URL). docs/operations.md has the statements.",
                id="tenancy.W001",
            )
