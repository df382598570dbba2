"""`manage.py fill_schema_pool`: what the background task does, now. For a first start and for operators."""

from typing import Any

from django.core.management.base import BaseCommand

from tenancy.provisioning import fill_pool


class Command(BaseCommand):
    help = "Makes spare tenant schemas until SPARE_SCHEMAS stand."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"Spare schemas made: {fill_pool()}.")
