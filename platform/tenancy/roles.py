"""The two database roles: the owner, whose the tables are, and the runtime role, as which everything else is done.

Ledgers are append-only because the runtime role has no right to change them. So nothing that a request or a task does
may be done as the owner, but for what is inside `as_owner()`: migrations, making and dropping schemas, retention.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.utils import load_backend
from psycopg.sql import SQL, Identifier

from tenancy.errors import NotOwnerError
from tenancy.ids import SCHEMA_NAME

# For the owner's statements while the caller has a transaction of its own. Where they wait for it they would wait for
# good: the caller waits for them, which PostgreSQL can't see.
LOCK_SECONDS = 10


@contextmanager
def as_owner() -> Iterator[None]:
    """This thread's connection is the owner's inside the block: ORM, schema editor, migrations, transactions.

    It is a connection of its own. What is done on it is no part of a transaction that the caller is in: it sees nothing
    of that, and stays when that is rolled back. One inside another changes nothing. Where all is one role's, the block
    runs on the caller's connection, in its transaction. Never around an `await`.

    Raises NotOwnerError where this process was not given the owner's credentials (`DATABASE_OWNER_URL`).
    """
    outer = connections[DEFAULT_DB_ALIAS]
    if not settings.DATABASE_OWNER and not may_create():
        raise NotOwnerError("This process may not act as the owner of the database: DATABASE_OWNER_URL is not set.")
    if not settings.DATABASE_OWNER or outer.settings_dict["USER"] == settings.DATABASE_OWNER["USER"]:
        yield
        return
    credentials = {**copy.deepcopy(outer.settings_dict), **settings.DATABASE_OWNER}
    if outer.in_atomic_block:
        patience = f"-c lock_timeout={LOCK_SECONDS}s"
        options = credentials["OPTIONS"].get("options", "")
        credentials["OPTIONS"] = {**credentials["OPTIONS"], "options": f"{options} {patience}".strip()}
    owner = load_backend(credentials["ENGINE"]).DatabaseWrapper(credentials, DEFAULT_DB_ALIAS)
    connections[DEFAULT_DB_ALIAS] = owner
    try:
        yield
    finally:
        connections[DEFAULT_DB_ALIAS] = outer
        owner.close()


def is_split() -> bool:
    """Whether this process knows of two roles."""
    owner: dict[str, str] = settings.DATABASE_OWNER
    return bool(owner) and owner["USER"] != runtime_role()


def runtime_role() -> str:
    """As it stands in `DATABASE_URL`; empty where libpq's default is used."""
    name: str = settings.DATABASES[DEFAULT_DB_ALIAS]["USER"]
    return name


def may_create() -> bool:
    """Whether the connection's role may make schemas: then it is the owner, or the only role there is."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_database_privilege(current_database(), 'CREATE')")
        return bool(cursor.fetchone()[0])


def append_only_tables() -> list[str]:
    """Tables of the models that say `append_only = True`."""
    return sorted(model._meta.db_table for model in apps.get_models() if getattr(model, "append_only", False))


def grant_runtime(schema: str) -> None:
    """Gives the runtime role what it may do in a schema: read and write rows, and of append-only tables read and add.

    For the owner, after the schema's tables were made or changed; a new table is out of reach until then. Nothing is
    done where there is one role.
    """
    if not is_split():
        return
    names = {"schema": Identifier(schema), "role": Identifier(runtime_role())}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = %s::regnamespace AND relname = ANY(%s)",
            [schema, append_only_tables()],
        )
        ledgers = [Identifier(schema, table) for (table,) in cursor.fetchall()]
        statements = [
            "REVOKE CREATE ON SCHEMA {schema} FROM {role}, PUBLIC",
            "GRANT USAGE ON SCHEMA {schema} TO {role}",
            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}",
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {role}",
        ]
        if ledgers:
            statements += [
                "REVOKE ALL ON {ledgers} FROM {role}, PUBLIC",
                "GRANT SELECT, INSERT ON {ledgers} TO {role}",
            ]
        cursor.execute(SQL("; ".join(statements)).format(**names, ledgers=SQL(", ").join(ledgers)))


def schemas_to_grant() -> list[str]:
    """Tenant schemas in which the runtime role has not the rights that `grant_runtime` gives: after a move to two
    roles, after a migration that failed half-way, or when a table became append-only. One query for all of them."""
    if not is_split():
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT nspname
              FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
             WHERE nspname ~ %(pattern)s AND relkind IN ('r', 'p') AND pg_has_role(relowner, 'USAGE')
               AND (NOT has_schema_privilege(%(role)s, n.oid, 'USAGE')
                 OR NOT has_table_privilege(%(role)s, c.oid, 'SELECT')
                 OR relname = ANY(%(append_only)s)
                    AND has_table_privilege(%(role)s, c.oid, 'UPDATE, DELETE, TRUNCATE'))
             ORDER BY nspname
            """,
            {"pattern": f"^{SCHEMA_NAME.pattern}$", "role": runtime_role(), "append_only": append_only_tables()},
        )
        return [name for (name,) in cursor.fetchall()]
