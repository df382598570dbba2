"""What every price feed comes down to: match rules and price rows.

A feed is a module with a `FEED`, listed in apps/pricing/feeds/__init__.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from apps.pricing.meters import Meter

EVERY_DAY = 0b111_1111  # bit 0 is Monday
Variant = tuple[tuple[str, str], ...]
"""Sorted (name, value) pairs that a call must have; () for every call."""


class FeedError(Exception):
    """The feed's data has a shape that this code doesn't know. Nothing of it is imported."""


class Alias(NamedTuple):
    """Calls to `provider` for a model that `rule` matches (apps/pricing/matching.py) are priced as a model."""

    provider: str
    rule: Mapping[str, Any]
    canonical_provider: str
    canonical_model: str


class PriceKey(NamedTuple):
    """What a price is for. Of one key there is one price at a time."""

    provider: str
    model: str
    meter: Meter
    # Applies to all tokens of a call whose input tokens exceed this many.
    tier_above: int = 0
    variant: Variant = ()
    # Within this window only, UTC; None for the whole day. A window may run past midnight.
    tod_start: time | None = None
    tod_end: time | None = None
    weekday_mask: int = EVERY_DAY


class Rate(NamedTuple):
    """`unit_price` for `per` units; a call that uses any is billed for `minimum` units at least."""

    unit_price: Decimal
    per: int
    minimum: int = 0
    currency: str = "USD"


class Segment(NamedTuple):
    """A rate in force from `start` until before `end`; None is without bound."""

    start: datetime | None
    end: datetime | None
    rate: Rate
    note: str = ""

    def until(self, end: datetime | None) -> "Segment":
        return Segment(self.start, end, self.rate, self.note)


@dataclass(frozen=True, slots=True)
class Listing:
    """A feed's content. Aliases in order of precedence; segments by time, without overlap."""

    aliases: Sequence[Alias]
    prices: Mapping[PriceKey, Sequence[Segment]]


class Feed(Protocol):
    source: str

    def read(self) -> tuple[str, bytes]:
        """The feed's version and its document, which has the same bytes as long as it says the same."""

    def parse(self, document: bytes) -> Listing:
        """The document's rules and rows. Raises FeedError."""
