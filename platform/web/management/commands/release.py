"""`manage.py release`: what a new version needs before its processes start. Can be run again at any time."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

# In this order: prices go into migrated tables, spare schemas are made in their migrated form.
STEPS = ("migrate", "import_prices", "fill_schema_pool")


class Command(BaseCommand):
    help = "Migrates all schemas, imports list prices, makes spare schemas."

    def handle(self, *args: Any, **options: Any) -> None:
        for step in STEPS:
            call_command(step, verbosity=options["verbosity"], stdout=self.stdout, stderr=self.stderr)
