"""Prepares and changes the contract tests' database through the product's own services (drivers/answering.py)."""

import os
import uuid
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db.models.functions import Now  # noqa: E402

from apps.directory.services import retire_key  # noqa: E402
from apps.organizations.models import Organization  # noqa: E402
from apps.pricing.services import import_all  # noqa: E402
from apps.vault.models import ProviderKey  # noqa: E402
from tenancy import tenant_scope  # noqa: E402
from tests.cast import Workspace  # noqa: E402


def prepare() -> None:
    call_command("migrate", verbosity=0)
    import_all()


def make_workspace(provider_keys: dict[str, str]) -> dict[str, Any]:
    """A fresh organization with one project, whose owner added these provider keys."""
    workspace = Workspace.make("Contract", "carol")
    added = {provider: workspace.add_provider_key(provider, value) for provider, value in provider_keys.items()}
    return {
        "schema": workspace.organization.schema_name,
        "project_id": str(workspace.project.id),
        "key": workspace.key.any_llm_key,
        "provider_key_ids": {provider: str(key.id) for provider, key in added.items()},
    }


def retire(project_id: str) -> bool:
    return retire_key(project_id=uuid.UUID(project_id), generation=1)


def archive_provider_key(schema: str, provider_key_id: str) -> int:
    with tenant_scope(Organization.objects.get(schema_name=schema)):
        return ProviderKey.objects.filter(id=provider_key_id).update(archived_at=Now())


COMMANDS = {
    "prepare": prepare,
    "make_workspace": make_workspace,
    "retire": retire,
    "archive_provider_key": archive_provider_key,
}
