"""`manage.py migrate`: as the owner, the shared schema first, then every tenant's. The only migrate command."""

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands.migrate import Command as Migrate

from tenancy.errors import NotOwnerError
from tenancy.migrating import migrate_tenants
from tenancy.roles import as_owner, grant_runtime
from tenancy.scope import PUBLIC


class Command(Migrate):
    help = "Migrates the shared schema, then all tenant schemas; goes on past a failing one and exits 1."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--shared-only", action="store_true", help="Leave the tenant schemas as they are.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with as_owner():
                self._migrate(*args, **options)
        except NotOwnerError as error:
            raise CommandError(str(error)) from error

    def _migrate(self, *args: Any, **options: Any) -> None:
        super().handle(*args, **options)
        if not (options["plan"] or options["check_unapplied"]):
            grant_runtime(PUBLIC)
        partial = options["app_label"] or options["plan"] or options["check_unapplied"] or options["fake"]
        if options["shared_only"] or partial:
            return
        loud = options["verbosity"] >= 1
        report = migrate_tenants(self.stdout.write if loud else lambda _: None)
        if loud:
            self.stdout.write(f"Tenant schemas: {len(report.migrated)} migrated, {len(report.failed)} failed.")
        if report.failed:
            raise CommandError("Some tenant schemas could not be migrated; mend the cause and run this again.")
