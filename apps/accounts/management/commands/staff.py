"""`manage.py staff …`: who runs this installation. They decide on list prices (docs/pricing.md)."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.accounts.models import User, canonical_email


class Command(BaseCommand):
    help = "Shows who is staff, and makes somebody staff or no longer."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("list", help="Shows who is staff.")
        for name, what in (("add", "Makes the person with this account staff."), ("remove", "Takes it back.")):
            verbs.add_parser(name, help=what).add_argument("email")

    def handle(self, *_: Any, **options: Any) -> None:
        if options["verb"] == "list":
            for user in User.objects.filter(is_staff=True).order_by("email"):
                self.stdout.write(user.email if user.is_active else f"{user.email} (account disabled)")
            return
        email, is_staff = canonical_email(options["email"]), options["verb"] == "add"
        if not User.objects.filter(email=email).update(is_staff=is_staff):
            raise CommandError(f"There is no account of {email}: they sign up first.")
        self.stdout.write(f"{email} is {'staff' if is_staff else 'no longer staff'}.")
