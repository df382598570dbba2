"""`manage.py prices …`: list prices between releases. docs/pricing.md says when to use what."""

import json
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.dateparse import parse_date, parse_datetime

from apps.pricing.diffs import NOTHING, lines_of, size_of
from apps.pricing.feeds.base import FeedError, Rate
from apps.pricing.meters import Meter
from apps.pricing.models import PriceSnapshot
from apps.pricing.refresh import NoSnapshotError, Refreshed, approve, refresh_all, reject, restore
from apps.pricing.staff import end_list_price, set_list_price
from apps.pricing.unpriced import unpriced_models
from web.errors import DomainError

NEWEST = 30


class Command(BaseCommand):
    help = "Refreshes, shows, approves and sets list prices."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)

        def verb(name: str, help: str, *arguments: str) -> ArgumentParser:  # noqa: A002  # argparse's own name
            made: ArgumentParser = verbs.add_parser(name, help=help)
            for argument in arguments:
                made.add_argument(argument)
            return made

        verb("refresh", "Reads the newest feeds from the package index.")
        verb("list", f"Shows the newest {NEWEST} snapshots.")
        verb("unpriced", "Shows models that were called and have no price.")
        shown = verb("diff", "Shows what a snapshot changes.")
        shown.add_argument("id", type=int)
        shown.add_argument("--json", action="store_true", help="As stored, with every new model.")
        for name, help in (  # noqa: A001
            ("approve", "Puts a snapshot in force."),
            ("reject", "Sets a snapshot aside."),
            ("restore", "Puts an earlier snapshot's document in force again, from now on."),
        ):
            decided = verb(name, help)
            decided.add_argument("id", type=int)
            decided.add_argument("--by", required=True, metavar="EMAIL", help="One of staff.")
            if name != "approve":
                decided.add_argument("--note", required=name == "restore", default="")
        for name, help in (("set", "Sets the list price of a model."), ("end", "Ends a price that was set.")):  # noqa: A001
            changed = verb(name, help, "provider", "model")
            changed.add_argument("--from", dest="start", metavar="DATE", help="Date or time, UTC where it says none.")
            changed.add_argument("--by", required=True, metavar="EMAIL", help="One of staff.")
            changed.add_argument("--note", required=True)
            if name == "set":
                changed.add_argument("--per", type=int, default=1_000_000, metavar="UNITS")
                for meter in Meter:
                    changed.add_argument(f"--{meter.value.replace('_', '-')}", dest=meter.value, metavar="PRICE")

    def handle(self, *_: Any, **options: Any) -> None:
        verbs: dict[str, Callable[[dict[str, Any]], None]] = {
            "refresh": self._refresh,
            "list": self._list,
            "diff": self._diff,
            "approve": self._approve,
            "reject": self._reject,
            "restore": self._restore,
            "unpriced": self._unpriced,
            "set": self._set,
            "end": self._end,
        }
        try:
            verbs[options["verb"]](options)
        except DomainError as error:
            raise CommandError(error.detail) from error
        except FeedError as error:
            raise CommandError(str(error)) from error

    def _refresh(self, _: dict[str, Any]) -> None:
        results = refresh_all()
        for source, found in results.items():
            if isinstance(found, Refreshed):
                self.stdout.write(f"{source}: {found.news.value}, {found.snapshot.pk}: {found.snapshot}")
            else:
                self.stderr.write(f"{source}: {found}")
        if any(isinstance(found, FeedError) for found in results.values()):
            raise CommandError("Not every feed could be read; prices of those stay as they are.")

    def _list(self, _: dict[str, Any]) -> None:
        for snapshot in PriceSnapshot.objects.defer("document").order_by("-id")[:NEWEST]:
            by = f" by {snapshot.decided_by}" if snapshot.decided_by else ""
            by += f", restores {snapshot.restores_id}" if snapshot.restores_id else ""
            size = f": {size_of(snapshot.diff)}" if snapshot.diff else ""
            self.stdout.write(
                f"{snapshot.pk:>5}  {snapshot.fetched_at:%Y-%m-%d}  {snapshot.status}{by}  {snapshot}{size}"
            )

    def _diff(self, options: dict[str, Any]) -> None:
        snapshot = PriceSnapshot.objects.filter(pk=options["id"]).first()
        if snapshot is None:
            raise NoSnapshotError(f"There is no snapshot {options['id']}.")
        diff = {**NOTHING, **(snapshot.diff or {})}
        if options["json"]:
            self.stdout.write(json.dumps(diff, indent=1))
            return
        self.stdout.write(f"{snapshot}, {snapshot.status}: {size_of(diff)}")
        for line in lines_of(diff):
            self.stdout.write(f"  {line}")

    def _approve(self, options: dict[str, Any]) -> None:
        done = approve(snapshot_id=options["id"], by=options["by"])
        self.stdout.write(f"{done.snapshot}: prices {done.prices_opened} opened, {done.prices_closed} closed.")

    def _reject(self, options: dict[str, Any]) -> None:
        snapshot = reject(snapshot_id=options["id"], by=options["by"], note=options["note"])
        self.stdout.write(f"{snapshot}: rejected.")

    def _restore(self, options: dict[str, Any]) -> None:
        done = restore(snapshot_id=options["id"], by=options["by"], note=options["note"])
        prices = f"prices {done.prices_opened} opened, {done.prices_closed} closed"
        self.stdout.write(f"{done.snapshot.pk}: {done.snapshot} again, {prices}.")

    def _unpriced(self, _: dict[str, Any]) -> None:
        for row in unpriced_models():
            self.stdout.write(f"{row.last_seen:%Y-%m-%d %H:%M}  since {row.first_seen:%Y-%m-%d}  {row}")

    def _set(self, options: dict[str, Any]) -> None:
        given = {meter: options[meter.value] for meter in Meter if options[meter.value] is not None}
        prices = {meter: Rate(_decimal(meter, price), options["per"]) for meter, price in given.items()}
        snapshot = set_list_price(
            provider=options["provider"],
            model=options["model"],
            prices=prices,
            by=options["by"],
            note=options["note"],
            start=_moment(options["start"]),
        )
        self.stdout.write(f"{snapshot}: {options['provider']}:{options['model']} has {len(prices)} prices.")

    def _end(self, options: dict[str, Any]) -> None:
        snapshot = end_list_price(
            provider=options["provider"],
            model=options["model"],
            by=options["by"],
            note=options["note"],
            start=_moment(options["start"]),
        )
        self.stdout.write(f"{snapshot}: the price of {options['provider']}:{options['model']} ends.")


def _decimal(meter: Meter, text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise CommandError(f"The price for {meter} is {text!r}, which is no number.") from None


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        day = parse_date(text)
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC) if day else parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(f"{text!r} is no date, such as 2026-11-24.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
