"""What goes wrong between tenants. All of these are bugs or operating faults, never a user's doing."""


class TenancyError(Exception):
    """Base of all tenancy errors."""


class NoTenantError(TenancyError):
    """Tenant data was touched outside any tenant scope."""


class WrongTenantError(TenancyError):
    """A row or query of one tenant was used in another tenant's scope."""


class TenantNotReadyError(TenancyError):
    """The organization exists but may not be entered: it is being made, suspended or deleted."""


class NotOwnerError(TenancyError):
    """This process has not the credentials of the database's owner, and what it is to do needs them."""


class TenantSchemaMissingError(TenancyError):
    """The organization's schema is not in the database."""
