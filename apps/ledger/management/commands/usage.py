"""`manage.py usage --project ID [--json]`: what the ledger holds."""

import json
import uuid
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.directory.selectors import organization_of
from apps.ledger.models import UsageEvent
from apps.ledger.selectors import usage_events
from tenancy import tenant_scope

PERFORMANCE = (
    "time_to_first_token_ms", "time_to_last_token_ms", "total_duration_ms", "tokens_per_second", "chunks_received",
    "avg_chunk_size", "inter_chunk_latency_variance_ms",
)  # fmt: skip


class Command(BaseCommand):
    help = "Lists a project's usage events, oldest first. Costs are exact; a missing one is an unknown price."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", type=uuid.UUID, required=True, metavar="ID", help="The project's id.")
        parser.add_argument("--json", action="store_true", help="One JSON array instead of a table.")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = organization_of(options["project"])
        if organization is None:
            raise CommandError(f"There is no project {options['project']} with a key.")
        with tenant_scope(organization):
            rows = [_as_dict(event) for event in usage_events(options["project"])]
        if options["json"]:
            self.stdout.write(json.dumps(rows, indent=2))
            return
        line = "{:25} {:12} {:32} {:16} {:>10} {:>10} {:>18}"
        self.stdout.write(line.format("time (UTC)", "provider", "model", "client", "input", "output", "cost"))
        for row in rows:
            cost = f"{row['cost']} {row['currency']}" if row["cost"] is not None else "unpriced"
            self.stdout.write(
                line.format(
                    row["time"][:23],
                    row["provider"],
                    row["model"],
                    row["client"] or "-",
                    _shown(row["input_tokens"]),
                    _shown(row["output_tokens"]),
                    cost,
                )
            )
        self.stdout.write(f"{len(rows)} events.")


def _as_dict(event: UsageEvent) -> dict[str, Any]:
    return {
        "id": str(event.event_id),
        "time": event.occurred_at.isoformat(),
        "provider": event.provider,
        "model": event.model,
        "client": event.client_name or None,
        "provider_key_id": str(event.provider_key_id),
        "input_tokens": event.input_tokens,
        "output_tokens": event.output_tokens,
        "cost": None if event.cost is None else format(event.cost.normalize(), "f"),
        "currency": event.currency,
        "price_status": event.price_status,
        "price_reason": event.price_reason or None,
        "performance": {name: value for name in PERFORMANCE if (value := getattr(event, name)) is not None},
    }


def _shown(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"
