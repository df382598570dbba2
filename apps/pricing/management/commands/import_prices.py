from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.pricing.feeds.base import FeedError
from apps.pricing.models import PriceSnapshot
from apps.pricing.services import import_all


class Command(BaseCommand):
    help = "Imports list prices from the installed feeds. Writes nothing where they are imported already."

    def handle(self, *_: Any, **__: Any) -> None:
        try:
            imports = import_all()
        except FeedError as error:
            raise CommandError(str(error)) from error
        for done in imports:
            if done.is_new:
                self.stdout.write(
                    f"{done.snapshot}: prices {done.prices_opened} opened, {done.prices_closed} closed; "
                    f"model rules {done.aliases_opened} opened, {done.aliases_closed} closed."
                )
            elif done.snapshot.status == PriceSnapshot.Status.REJECTED:
                self.stdout.write(f"{done.snapshot}: rejected by {done.snapshot.decided_by}, nothing changed.")
            else:
                self.stdout.write(f"{done.snapshot}: imported already, nothing changed.")
