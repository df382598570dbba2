"""Tenants: one PostgreSQL schema an organization, entered explicitly and never by accident.

`with tenant_scope(organization):` is the only way in. docs/tenancy.md tells the rules and why they are so.
"""

from tenancy.errors import (
    NoTenantError,
    NotOwnerError,
    TenancyError,
    TenantNotReadyError,
    TenantSchemaMissingError,
    WrongTenantError,
)
from tenancy.scope import Tenant, TenantRef, current_scope, no_tenant, require_scope, tenant_scope

__all__ = [
    "NoTenantError",
    "NotOwnerError",
    "TenancyError",
    "Tenant",
    "TenantNotReadyError",
    "TenantRef",
    "TenantSchemaMissingError",
    "WrongTenantError",
    "current_scope",
    "no_tenant",
    "require_scope",
    "tenant_scope",
]
