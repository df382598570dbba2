"""Prepares and changes the contract tests' database through the product's own services (drivers/answering.py)."""

import os
import uuid
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db.models import Sum  # noqa: E402
from django.db.models.functions import Now  # noqa: E402

from apps.directory.services import retire_key  # noqa: E402
from apps.ledger.models import METER_COLUMNS, Adjustment, PriceStatus, UsageEvent  # noqa: E402
from apps.ledger.standing import Standing, standings  # noqa: E402
from apps.organizations.models import Organization  # noqa: E402
from apps.pricing.services import import_all  # noqa: E402
from apps.usage.services import make_ingest_token  # noqa: E402
from apps.vault.models import ProviderKey  # noqa: E402
from tenancy import tenant_scope  # noqa: E402
from tests.cast import Workspace  # noqa: E402


def prepare() -> None:
    call_command("migrate", verbosity=0)
    import_all()


def make_workspace(provider_keys: dict[str, str]) -> dict[str, Any]:
    """A fresh organization with one project, whose owner added these provider keys and made a token for exporters."""
    workspace = Workspace.make("Contract", "carol")
    added = {provider: workspace.add_provider_key(provider, value) for provider, value in provider_keys.items()}
    with tenant_scope(workspace.organization):
        _, token = make_ingest_token(project=workspace.project, name="exporter", actor=workspace.owner.user)
    return {
        "ingest_token": token,
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


def ledger(schema: str) -> dict[str, Any]:
    """Every row as it stands now, in the order in which the calls began, and the sums over facts and adjustments."""
    with tenant_scope(Organization.objects.get(schema_name=schema)):
        events = list(UsageEvent.objects.order_by("occurred_at", "id"))
        rows = [_shown(standing) for standing in standings(events)]
        columns = {"cost": "cost", **{str(meter): column for meter, column in METER_COLUMNS.items()}}
        counted = UsageEvent.objects.exclude(price_status=PriceStatus.DUPLICATE)
        totals = [
            table.aggregate(**{f"sum_{name}": Sum(column) for name, column in columns.items()})
            for table in (counted, Adjustment.objects.all())
        ]
    return {
        "rows": rows,
        "sums": {name: str(sum(total[f"sum_{name}"] or 0 for total in totals)) for name in columns},
    }


def _shown(standing: Standing) -> dict[str, Any]:
    event = standing.event
    return {
        "event_id": str(event.event_id),
        "status": standing.price.status,
        "reason": standing.price.reason,
        "cost": None if standing.price.cost is None else str(standing.price.cost),
        "meters": {str(meter): count for meter, count in standing.meters.items()},
        "same_call_as": standing.same_call_as and str(standing.same_call_as),
        "first_token_ms": event.time_to_first_token_ms,
        "occurred_at": event.occurred_at.timestamp(),
        "ingest_token": event.ingest_token_id is not None,
        "provider_key_id": event.provider_key_id and str(event.provider_key_id),
        "reported_cost": None if event.reported_cost is None else str(event.reported_cost),
        **{name: getattr(event, name) for name in _PLAIN},
    }


# What is shown as it is stored.
_PLAIN = (
    *("source", "operation", "provider", "model", "request_model", "service_tier", "ending", "error_type"),
    *("client_name", "session", "user_label", "response_id", "key_generation", "total_duration_ms", "flags"),
    *("tokens_per_second", "chunks_received"),
)
COMMANDS = {
    "ledger": ledger,
    "prepare": prepare,
    "make_workspace": make_workspace,
    "retire": retire,
    "archive_provider_key": archive_provider_key,
}
