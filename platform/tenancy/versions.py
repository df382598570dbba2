"""Which migrations a tenant schema has. One hash stands for all of them, so that a deployment with nothing to
migrate costs one query instead of a visit to each schema."""

import hashlib
from functools import cache

from django.apps import apps
from django.conf import settings
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import StateApps


def tenant_app_labels() -> frozenset[str]:
    return frozenset(config.label for config in apps.get_app_configs() if config.name in settings.TENANT_APPS)


@cache
def tenant_migrations() -> tuple[tuple[str, str], ...]:
    """(app label, name) of every migration on disk that belongs in a tenant schema, sorted."""
    labels = tenant_app_labels()
    return tuple(sorted(key for key in MigrationLoader(None).disk_migrations if key[0] in labels))


@cache
def current_version() -> str:
    """SHA-256 (hex) over the names of the tenant migrations this code has."""
    names = "\n".join(f"{app}.{name}" for app, name in tenant_migrations())
    return hashlib.sha256(names.encode()).hexdigest()


@cache
def current_state() -> StateApps:
    """The models as the migrations leave them."""
    return MigrationLoader(None).project_state().apps
