"""What is asked for with an export."""

from datetime import timedelta
from enum import StrEnum
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from apps.analytics.selectors import Dimension, Granularity, Question
from apps.ledger.selectors import EventFilter
from web.errors import DomainError


class UnreadableError(DomainError):
    """An older or newer release asked for what this one does not know."""

    status = 409
    code = "export_unreadable"

    def __init__(self) -> None:
        super().__init__("This export was asked for in another release, which had other choices.")


class Content(StrEnum):
    """What a file's rows are."""

    ROWS = "rows"
    SUMS = "sums"
    FOCUS = "focus"


class Format(StrEnum):
    """How they are written."""

    CSV = "csv"
    JSONL = "jsonl"


class Wanted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Which calls, as what. `zone` is what days, weeks and months are of; granularity and dimensions are for sums."""

    content: Content
    format: Format
    filter: EventFilter
    zone: str
    granularity: Granularity | None = None
    by: tuple[Dimension, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For a JSON column; `from_json` reads it."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Raises UnreadableError."""
        try:
            found = msgspec.convert(data, cls, strict=False)
            ZoneInfo(found.zone)
        except (msgspec.ValidationError, ZoneInfoNotFoundError) as error:
            raise UnreadableError from error
        return found

    @property
    def question(self) -> Question:
        return Question(self.filter, ZoneInfo(self.zone), self.granularity, self.by)

    @property
    def file_name(self) -> str:
        """usage-sums-2026-05-01-to-2026-05-31.csv"""
        zone, first, last = ZoneInfo(self.zone), self.filter.start, self.filter.end
        days = [] if first is None else [first.astimezone(zone).date()]
        if last is not None:
            days.append((last.astimezone(zone) - timedelta(microseconds=1)).date())
        period = "-to-".join(dict.fromkeys(map(str, days))) or "all"
        return f"usage-{self.content}-{period}.{self.format}"
