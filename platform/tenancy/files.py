"""Files of tenants: below a folder each, named as the tenant's schema, in the storage "exports"."""

from django.core.files.storage import Storage, storages

from tenancy.ids import SCHEMA_NAME
from tenancy.scope import require_scope


def storage() -> Storage:
    return storages["exports"]


def tenant_path(name: str) -> str:
    """Where the current tenant's file of this name is."""
    return f"{require_scope().schema_name}/{name}"


def delete_tenant_files(beginning: str) -> None:
    """Deletes those of the current tenant whose names begin so."""
    _delete(require_scope().schema_name, beginning)


def delete_all_files(schema: str) -> None:
    """Deletes a tenant's files, after its schema: who writes one holds a lock on a table there until it is done."""
    if not SCHEMA_NAME.fullmatch(schema):
        raise ValueError(f"{schema!r} is not a tenant schema's name.")
    _delete(schema, "")
    storage().delete(schema)


def _delete(folder: str, beginning: str) -> None:
    found = storage()
    try:
        _, names = found.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        if name.startswith(beginning):
            found.delete(f"{folder}/{name}")
