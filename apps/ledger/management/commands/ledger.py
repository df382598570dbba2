"""`manage.py ledger verify [--organization ID] [--json]`: whether the ledger adds up."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.ledger.snapshot import snapshot
from apps.ledger.verifying import Report, verify
from apps.organizations.models import Organization
from tenancy import tenant_scope


class Command(BaseCommand):
    help = "Checks of the ledger."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="verify")
        verifying = commands.add_parser(
            "verify",
            help="Recompute every cost, state and total from the rows; name what differs and exit with 1.",
        )
        verifying.add_argument("--organization", type=uuid.UUID, metavar="ID", help="Only this one; all by default.")
        verifying.add_argument("--json", action="store_true", help="A JSON object a line.")

    def handle(self, *args: Any, **options: Any) -> None:
        as_json, found = options["json"], 0
        for organization in _organizations(options["organization"]):
            report, differences = Report(), 0
            with tenant_scope(organization), snapshot():
                for difference in verify(report):
                    differences += 1
                    subject, problem = difference
                    named = {"organization": str(organization.pk), "subject": subject, "problem": problem}
                    self.stdout.write(json.dumps(named) if as_json else f"{subject}: {problem}")
            counts = {
                "organization": str(organization.pk),
                "events": report.events,
                "adjustments": report.adjustments,
                "sums": report.sums,
                "differences": differences,
            }
            self.stdout.write(json.dumps(counts) if as_json else _line(counts))
            found += differences
        if found:
            raise CommandError(f"The ledger does not add up: {found:,} differences.")


def _organizations(only: uuid.UUID | None) -> Iterator[Organization]:
    ready = Organization.objects.filter(status=Organization.Status.READY)
    if only is not None:
        ready = ready.filter(pk=only)
        if not ready.exists():
            raise CommandError(f"There is no organization {only} that is ready.")
    yield from ready.order_by("id").iterator(chunk_size=1_000)


def _line(counts: dict[str, Any]) -> str:
    return (
        f"organization {counts['organization']}: {counts['events']:,} events, {counts['adjustments']:,} adjustments,"
        f" {counts['sums']:,} totals, {counts['differences']:,} differences"
    )
