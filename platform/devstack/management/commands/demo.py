"""`manage.py demo [--json] [--provider-key openai=sk-… …] [--usage 90d …]`: an organization to try things with."""

import argparse
import json
import re
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from devstack import demo, demo_usage
from web.errors import DomainError

MOST_DAYS, MOST_CALLS = 730, 1_000_000


def provider_key(text: str) -> tuple[str, str]:
    provider, separator, value = text.partition("=")
    if not separator or not provider:
        raise argparse.ArgumentTypeError("write it as provider=key, such as openai=sk-…")
    return provider, value


def days(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,2}d", text, re.ASCII) or int(text[:-1]) > MOST_DAYS:
        raise argparse.ArgumentTypeError(f"write it as a number of days up to {MOST_DAYS}d, such as 90d")
    return int(text[:-1])


def number_of_calls(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,6}", text, re.ASCII) or int(text) > MOST_CALLS:
        raise argparse.ArgumentTypeError(f"write it as a number from 1 to {MOST_CALLS}")
    return int(text)


class Command(BaseCommand):
    help = (
        "Plays the browser's part: an organization, its owner, the project 'Assistant' and sealed provider keys. "
        "What a browser or its user would keep stands in var/demo/. Running it again gives the same project. "
        "With --usage the organization also has projects whose calls look like life."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="One JSON object and nothing else.")
        parser.add_argument(
            "--provider-key",
            action="append",
            default=[],
            type=provider_key,
            metavar="PROVIDER=KEY",
            help="A key to seal; nothing after = for a local provider that needs none. Can be repeated.",
        )
        parser.add_argument("--email", default="demo@example.com", help="The owner's address (%(default)s).")
        usage = parser.add_argument_group("usage")
        usage.add_argument("--usage", type=days, metavar="90d", help="Calls of so many days until now. Again: goes on.")
        usage.add_argument("--calls", type=number_of_calls, default=50_000, help="About how many (%(default)s).")
        usage.add_argument("--seed", type=int, default=1, help="The same one gives the same calls (%(default)s).")
        usage.add_argument("--replace", action="store_true", help="Deletes the calls of before first.")
        usage.add_argument(
            "--owner", metavar="EMAIL", help="An account that signed up in the browser, to own it instead of --email."
        )
        usage.add_argument("--in-production", action="store_true", help="Yes, also where DEBUG is off.")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = options["usage"]
        if wanted is None and (options["owner"] or options["replace"]):
            raise CommandError("--owner and --replace are about usage. Say of how many days, such as --usage 90d.")
        if options["owner"] and options["provider_key"]:
            raise CommandError("Only the browser of --owner can seal provider keys. Leave one of the two out.")
        if wanted is not None and not (settings.DEBUG or options["in_production"]):
            raise CommandError("DEBUG is off: is this production? Add --in-production if you mean it.")
        try:
            made = self._make(options)
        except (demo.DemoError, DomainError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(made, indent=2))
            return
        for name, value in made.items():
            self.stdout.write(f"{name.replace('_', ' ').upper():14} {value}")

    def _make(self, options: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if options["owner"]:
            owner = demo_usage.owner_named(options["owner"])
            made = {"email": owner.email}
        else:
            made = demo.run(dict(options["provider_key"]), email=options["email"], folder=demo.FOLDER)
            owner = demo_usage.owner_named(made["email"])
        if options["usage"] is None:
            return made
        organization = demo.organization_of(owner)
        names = ("calls", "seed", "replace")
        new = demo_usage.add_usage(
            organization, owner, days=options["usage"], **{name: options[name] for name in names}
        )
        return made | {
            "organization": organization.name,
            "new_calls": new,
            "usage_url": f"{settings.SITE_URL}/o/{organization.id}/usage/",
        }
