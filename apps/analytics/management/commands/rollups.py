"""`manage.py rollups verify|rebuild [--organization ID]`: whether the sums are the ledger's, and making them again."""

import uuid
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.analytics import rollups
from apps.analytics.rollups import until_done
from apps.analytics.selectors import Granularity, Question, summed, whole
from apps.ledger.models import Outbox
from apps.ledger.selectors import EventFilter, Totals, totals
from apps.ledger.selectors.filters import projects_with_events
from apps.ledger.snapshot import snapshot
from apps.organizations.models import Organization
from tenancy import tenant_scope


class Command(BaseCommand):
    help = "The sums over the ledger that pages and reports are made of."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="verify|rebuild")
        for name, text in (
            ("verify", "Compare the sums of every project and month with the ledger; exit with 1 on any difference."),
            ("rebuild", "Make all sums again from the ledger. Usage may come in meanwhile."),
        ):
            command = commands.add_parser(name, help=text)
            command.add_argument("--organization", type=uuid.UUID, metavar="ID", help="Only this one; all by default.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = Organization.objects.filter(status=Organization.Status.READY).order_by("id")
        if options["organization"] is not None:
            found = found.filter(pk=options["organization"])
            if not found.exists():
                raise CommandError(f"There is no organization {options['organization']} that is ready.")
        differences = 0
        for organization in found.iterator(chunk_size=1_000):
            with tenant_scope(organization):
                if options["command"] == "rebuild":
                    self._rebuild(organization)
                else:
                    differences += self._verify(organization)
        if differences:
            raise CommandError(f"The sums are not the ledger's: {differences:,} differences. Try: rollups rebuild")

    def _rebuild(self, organization: Organization) -> None:
        until_done(partial(rollups.recount, organization.time_zone))
        self.stdout.write(f"organization {organization.pk}: made again")

    def _verify(self, organization: Organization) -> int:
        """What is noted and not counted yet is counted first, so that both sides are of the same rows."""
        until_done(partial(rollups.roll_up, organization.time_zone))
        differences = 0
        with snapshot():
            if Outbox.objects.exists():
                self.stdout.write(f"organization {organization.pk}: usage came in meanwhile; run it again")
                return 0
            for project_id in projects_with_events():
                wanted = EventFilter(project_ids=(project_id,))
                zone = ZoneInfo(organization.time_zone)
                months = summed(Question(wanted, zone, Granularity.MONTH))
                for month, following in zip(months, [*months[1:], None], strict=True):
                    end = following.starts_at if following else None
                    ledger = totals(EventFilter(project_ids=(project_id,), start=month.starts_at, end=end))
                    for problem in _differences(month.totals, ledger):
                        self.stdout.write(f"project {project_id}, {month.starts_at:%Y-%m}: {problem}")
                        differences += 1
                for problem in _differences(whole(Question(wanted, zone)), totals(wanted)):
                    self.stdout.write(f"project {project_id}: {problem}")
                    differences += 1
        self.stdout.write(f"organization {organization.pk}: {differences:,} differences")
        return differences


def _differences(sums: Totals, ledger: Totals) -> Iterator[str]:
    for one in fields(Totals):
        ours, theirs = (_without_zeros(getattr(each, one.name)) for each in (sums, ledger))
        if ours != theirs:
            yield f"{one.name}: the sums say {ours}, the ledger {theirs}"


def _without_zeros(value: Any) -> Any:
    """Of a mapping: nothing and 0 are the same there."""
    return {key: part for key, part in value.items() if part} if isinstance(value, dict) else value
