"""The base of tenant models. It closes what a schema per tenant leaves open: rows and lazy queries that are made
in one tenant and used in another."""

from collections.abc import Iterable
from typing import Any, Self, TypeVar

from django.db import models

from tenancy.errors import WrongTenantError
from tenancy.ids import uuid7
from tenancy.scope import current_scope, require_scope

Row = TypeVar("Row", bound="TenantModel")


def _check(made_in: str | None, what: str) -> str:
    """The current schema, after making sure that it is the one `what` was made in (None: not bound yet)."""
    schema = require_scope().schema_name
    if made_in is not None and made_in != schema:
        raise WrongTenantError(f"{what} was made in {made_in} and is used in {schema}.")
    return schema


class TenantQuerySet(models.QuerySet[Row]):
    """A queryset bound to the tenant it was made in; one made outside any tenant is bound to none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scope = current_scope()
        self._made_in = None if scope is None else scope.schema_name

    def _clone(self) -> Self:
        clone: Self = super()._clone()  # type: ignore[misc]
        clone._made_in = self._made_in
        return clone

    @property
    def db(self) -> str:
        """Django asks for the database whenever, and only when, it is about to run the query."""
        _check(self._made_in, f"This query for {self.model.__name__} rows")
        return super().db

    def bulk_create(self, objs: Iterable[Row], *args: Any, **kwargs: Any) -> list[Row]:
        return super().bulk_create(self._checked(objs), *args, **kwargs)

    def bulk_update(self, objs: Iterable[Row], *args: Any, **kwargs: Any) -> int:
        return super().bulk_update(self._checked(objs), *args, **kwargs)

    def _checked(self, objs: Iterable[Row]) -> list[Row]:
        rows = list(objs)
        for row in rows:
            row.check_tenant()
        return rows


class TenantModel(models.Model):
    """A row of one tenant: UUIDv7 key, usable only in the scope of the tenant it was made or loaded in."""

    # The runtime role may add rows and read them, nothing else (tenancy/roles.py).
    append_only = False

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    objects = TenantQuerySet.as_manager()

    class Meta:
        abstract = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scope = current_scope()
        self._made_in = None if scope is None else scope.schema_name

    def check_tenant(self) -> None:
        """Raises WrongTenantError or NoTenantError unless this row belongs to the current scope."""
        self._made_in = _check(self._made_in, f"This {type(self).__name__}")

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.check_tenant()
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        self.check_tenant()
        return super().delete(*args, **kwargs)

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        self.check_tenant()
        super().refresh_from_db(*args, **kwargs)
