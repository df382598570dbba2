"""`manage.py demo --json [--provider-key openai=sk-… …]`: an organization to try things with."""

import argparse
import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from devstack import demo
from web.errors import DomainError


def provider_key(text: str) -> tuple[str, str]:
    provider, separator, value = text.partition("=")
    if not separator or not provider:
        raise argparse.ArgumentTypeError("write it as provider=key, such as openai=sk-…")
    return provider, value


class Command(BaseCommand):
    help = (
        "Plays the browser's part: an organization, its owner, the project 'Assistant' and sealed provider keys. "
        "What a browser or its user would keep stands in var/demo/. Running it again gives the same project."
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

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            made = demo.run(dict(options["provider_key"]), email=options["email"], folder=demo.FOLDER)
        except (demo.DemoError, DomainError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(made, indent=2))
            return
        for name, value in made.items():
            self.stdout.write(f"{name.replace('_', ' ').upper():14} {value}")
