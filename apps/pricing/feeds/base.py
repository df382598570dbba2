"""What every price feed comes down to: match rules and price rows.

A feed is a module with a `FEED`, listed in apps/pricing/feeds/__init__.py.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NamedTuple, Protocol

from apps.pricing.meters import Meter

logger = logging.getLogger(__name__)

# The table's numeric(18,10). A few aggregators' prices carry binary fractions (0.13999999999999999) or
# repeating decimals (0.08333333333333334).
PLACES = Decimal("1e-10")
EVERY_DAY = 0b111_1111  # bit 0 is Monday
Variant = tuple[tuple[str, str], ...]
"""Sorted (name, value) pairs that a call must have; () for every call."""


class FeedError(Exception):
    """The feed's data has a shape that this code doesn't know. Nothing of it is imported."""


class FeedMissingError(FeedError):
    """The feed's file is not on this machine."""


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
        """The installed version and its document, which has the same bytes as long as it says the same.

        Raises FeedMissingError where nothing is installed.
        """

    def newest(self) -> tuple[str, bytes]:
        """The same of the newest version that the package index has. Raises FeedError."""

    def parse(self, document: bytes) -> Listing:
        """The document's rules and rows. Raises FeedError."""


def unit_price(text: str, what: str) -> tuple[Decimal, str]:
    """The amount as the table holds it, and a note where that is not what the feed says."""
    listed = Decimal(text)
    if not listed.is_finite() or listed < 0:
        raise FeedError(f"{what} is {text}, which is no price.")
    price = listed.quantize(PLACES, ROUND_HALF_EVEN)
    if price == listed:
        return price, ""
    logger.info("Rounded the price of %s from %s to %s.", what, text, price)
    return price, f"listed as {text}"
