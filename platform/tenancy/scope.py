"""Which tenant the running code works for.

The answer lives in a context variable, not on the connection: every thread, every asyncio task and every
callback registered for commit has its own, and a new thread has none. The database backend follows it
(tenancy/backend/base.py), so a query can't reach a schema that the running code did not enter.
"""

import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Protocol

from tenancy.errors import NoTenantError, TenantNotReadyError
from tenancy.ids import SCHEMA_NAME

PUBLIC = "public"


class Tenant(Protocol):
    """What can be entered: an Organization, or a light stand-in for one on a hot path."""

    @property
    def pk(self) -> uuid.UUID: ...
    @property
    def schema_name(self) -> str: ...
    @property
    def is_ready(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class TenantRef:
    """An organization by what never changes of it, for hot paths that ask the database themselves, in the statement
    that does the work, whether it is ready."""

    pk: uuid.UUID
    schema_name: str
    is_ready: bool = True


@dataclass(frozen=True, slots=True)
class Scope:
    """One stay in a schema. `search_path` is PostgreSQL's setting for it, names unquoted."""

    schema_name: str
    search_path: str
    tenant_id: uuid.UUID | None


_current: ContextVar[Scope | None] = ContextVar("tenant_scope", default=None)


def current_scope() -> Scope | None:
    """The scope the running code is in, or None outside any."""
    return _current.get()


def current_schema() -> str:
    """The schema that queries go to now: the tenant's, or `public` outside any scope."""
    scope = _current.get()
    return PUBLIC if scope is None else scope.schema_name


def require_scope() -> Scope:
    """The current scope; NoTenantError outside any."""
    scope = _current.get()
    if scope is None:
        raise NoTenantError(
            "This touches tenant data: enter the organization first, `with tenant_scope(organization):`."
        )
    return scope


def require_tenant_id() -> uuid.UUID:
    """Of the organization whose scope this is; NoTenantError outside any."""
    tenant_id = require_scope().tenant_id
    assert tenant_id is not None  # only a migration's scope has none
    return tenant_id


def tenant_scope(tenant: Tenant) -> AbstractContextManager[None]:
    """`with tenant_scope(organization): …` — tenant tables inside are this organization's.

    Only for `with`, a new object each time; it can't decorate, be stored or be entered twice. Raises
    TenantNotReadyError unless the organization is ready.
    """
    if not tenant.is_ready:
        raise TenantNotReadyError(f"Organization {tenant.pk} is not ready.")
    return _enter(_scope_of(tenant.schema_name, tenant.pk, include_public=True))


def schema_scope(schema_name: str) -> AbstractContextManager[None]:
    """A schema by name, without the shared tables behind it, for provisioning and migrations only.

    Leaving `public` out of the path makes a table that the tenant lacks an error instead of a read of its
    shared namesake.
    """
    return _enter(_scope_of(schema_name, None, include_public=False))


def _scope_of(schema_name: str, tenant_id: uuid.UUID | None, *, include_public: bool) -> Scope:
    if not SCHEMA_NAME.fullmatch(schema_name):
        raise ValueError(f"{schema_name!r} is not a tenant schema's name.")
    return Scope(schema_name, f"{schema_name}, {PUBLIC}" if include_public else schema_name, tenant_id)


class _enter(AbstractContextManager[None]):  # noqa: N801 - a function to its callers
    """Single use: entering a second time would restore the wrong scope, so it raises."""

    __slots__ = ("_scope", "_token")

    def __init__(self, scope: Scope) -> None:
        self._scope: Scope | None = scope
        self._token: Token[Scope | None] | None = None

    def __enter__(self) -> None:
        if self._scope is None:
            raise RuntimeError("A tenant scope can be entered once; make a new one.")
        self._token = _current.set(self._scope)
        self._scope = None

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        _current.reset(self._token)


@contextmanager
def no_tenant() -> Iterator[None]:
    """Leaves any scope for the block: for work on shared tables that must not see a tenant."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)
