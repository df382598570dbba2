"""A PostgreSQL connection that follows the running code's tenant scope.

It takes the place of django-tenants' backend, whose schema is an attribute of the connection and so outlives
requests, leaks between asyncio tasks and runs commit callbacks under whichever tenant is current then.

Before each cursor is handed out the connection's `search_path` is compared with the scope's and set where it
differs. What the server holds is not remembered but read: from PostgreSQL 18 it reports `search_path` to the
client, after rollbacks and behind a pooler too, and libpq keeps the report locally, so comparing costs no
round trip (the check `tenancy.E001` holds the server to it).
"""

from collections import OrderedDict
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Any, NoReturn

from django.db.backends.postgresql import base as postgresql
from psycopg.pq import TransactionStatus

from tenancy.backend.introspection import TenantIntrospection
from tenancy.errors import TenancyError, TenantSchemaMissingError
from tenancy.scope import PUBLIC, current_schema, current_scope

SET_PATH = "SELECT set_config('search_path', %s, false) FROM pg_namespace WHERE nspname = %s"


class DatabaseWrapper(postgresql.DatabaseWrapper):
    introspection_class = TenantIntrospection

    # --- What django-tenants reads (its router, log filter and model) ---

    @property
    def schema_name(self) -> str:
        return current_schema()

    @property
    def tenant(self) -> None:
        return None

    def set_tenant(self, *_: object, **__: object) -> NoReturn:
        """Refused: a schema set on the connection would outlive the code that set it."""
        raise TenancyError("Enter a tenant with `with tenancy.tenant_scope(organization):`.")

    set_schema = set_schema_to_public = set_tenant

    # --- Following the scope ---

    def get_connection_params(self) -> dict[str, Any]:
        params: dict[str, Any] = super().get_connection_params()
        # Start where a connection without a scope belongs, so that the first statement needs no SET. What tenancy.sql
        # prepares looks rows up by their keys: the first plan is as good as the sixth, which would be the first kept.
        options = f"-c search_path={PUBLIC} -c plan_cache_mode=force_generic_plan"
        params["options"] = f"{params.get('options', '')} {options}".strip()
        return params

    def connect(self) -> None:
        super().connect()
        # What tenancy.sql has prepared on this connection: (statement, schema) → name, oldest use first.
        self.prepared_statements: OrderedDict[tuple[int, str], bytes] = OrderedDict()

    def _cursor(self, name: str | None = None) -> Any:
        self.ensure_connection()
        self.follow_scope()
        return super()._cursor(name)  # type: ignore[misc]  # the stubs leave it out

    def follow_scope(self) -> None:
        """Makes the open connection's search_path the current scope's.

        Raises TenantSchemaMissingError when the schema does not exist: PostgreSQL itself would go on to
        `public` without a word.
        """
        scope = current_scope()
        wanted = PUBLIC if scope is None else scope.search_path
        raw = self.connection
        if raw.info.parameter_status("search_path") == wanted:
            return
        if raw.info.transaction_status == TransactionStatus.INERROR:
            # Nothing but a rollback can run now, and the rollback is what the caller is about to send.
            return
        schema = PUBLIC if scope is None else scope.schema_name
        if raw.execute(SET_PATH, [wanted, schema]).fetchone() is None:
            raise TenantSchemaMissingError(f"The schema {schema} does not exist.")

    def on_commit(self, func: Callable[[], object], robust: bool = False) -> None:
        """As Django's, but `func` runs in the scope in which it was registered, not in the one at commit."""
        super().on_commit(partial(copy_context().run, func), robust)
