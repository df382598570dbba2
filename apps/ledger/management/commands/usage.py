"""`manage.py usage --project ID [--json]`: what the ledger holds."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.directory.selectors import organization_of
from apps.ledger.models import METER_COLUMNS, PriceStatus
from apps.ledger.selectors import EventFilter, stream
from apps.ledger.snapshot import snapshot
from apps.ledger.standing import Standing
from apps.pricing.meters import Meter
from tenancy import tenant_scope

PERFORMANCE = (
    "time_to_first_token_ms", "time_to_last_token_ms", "total_duration_ms", "tokens_per_second", "chunks_received",
    "avg_chunk_size", "inter_chunk_latency_variance_ms",
)  # fmt: skip


class Command(BaseCommand):
    help = (
        "Lists a project's usage events, oldest first, as they stand now. Costs are exact; a missing one is an unknown "
        "price, or another row counts for the same call."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--project", type=uuid.UUID, required=True, metavar="ID", help="The project's id.")
        parser.add_argument("--json", action="store_true", help="One JSON array instead of a table.")

    def handle(self, *args: Any, **options: Any) -> None:
        organization = organization_of(options["project"])
        if organization is None:
            raise CommandError(f"There is no project {options['project']} with a key.")
        with tenant_scope(organization), snapshot():
            rows = stream(EventFilter(project_ids=(options["project"],)))
            lines = _json(rows) if options["json"] else _table(rows)
            for line in lines:
                self.stdout.write(line)


def _json(rows: Iterator[Standing]) -> Iterator[str]:
    """An array, an event a line."""
    before = "["
    for row in rows:
        yield before + json.dumps(_as_dict(row))
        before = ","
    yield "[]" if before == "[" else "]"


def _table(rows: Iterator[Standing]) -> Iterator[str]:
    line = "{:25} {:12} {:32} {:16} {:>10} {:>10} {:>18}"
    yield line.format("time (UTC)", "provider", "model", "client", "input", "output", "cost")
    count = 0
    for row in rows:
        event, price = row.event, row.price
        yield line.format(
            event.occurred_at.isoformat()[:23],
            event.provider,
            event.model,
            event.client_name or "-",
            _shown(row.meters.get(Meter.INPUT)),
            _shown(row.meters.get(Meter.OUTPUT)),
            f"{price.cost.normalize():f} {price.currency}"
            if price.cost is not None
            else PriceStatus(price.status).value,
        )
        count += 1
    yield f"{count} events."


def _as_dict(row: Standing) -> dict[str, Any]:
    event, price = row.event, row.price
    meters = {name: row.meters.get(meter) for meter, name in METER_COLUMNS.items()}
    return {
        "id": str(event.event_id),
        "time": event.occurred_at.isoformat(),
        "source": event.source,
        "provider": event.provider,
        "model": event.model,
        "client": event.client_name or None,
        "provider_key_id": None if event.provider_key_id is None else str(event.provider_key_id),
        "input_tokens": meters.pop("input_tokens"),
        "output_tokens": meters.pop("output_tokens"),
        **{name: count for name, count in meters.items() if count is not None},
        "cost": None if price.cost is None else format(price.cost.normalize(), "f"),
        "currency": price.currency,
        "price_status": price.status,
        "price_reason": price.reason or None,
        **({"same_call_as": str(row.same_call_as)} if row.same_call_as else {}),
        "revision": row.revision,
        "performance": {name: value for name in PERFORMANCE if (value := getattr(event, name)) is not None},
    }


def _shown(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"
