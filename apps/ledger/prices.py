"""What a reported call costs: the rules that lie between a report and apps/pricing."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from apps.ledger.calls import Ending
from apps.ledger.models import PriceStatus
from apps.pricing.meters import OF_EVERY_CALL, Meter
from apps.pricing.rating import Rating, rate
from tenancy.scope import require_tenant_id

# What the cost of one call stays below: as the column has it, numeric(24,12).
COST_LIMIT = Decimal(10) ** 12
# These answer with no tokens of their own.
INPUT_ONLY = frozenset(("embeddings", "rerank"))


class Price(msgspec.Struct, frozen=True, gc=False):
    """The columns of a row that say what it costs. `lines` are `Line`s, or as they are read back from a row."""

    status: PriceStatus
    reason: str = ""
    rule: str = ""
    snapshot_id: int | None = None
    lines: Sequence[Any] = ()
    cost: Decimal | None = None
    currency: str = ""
    flags: tuple[str, ...] = ()


class Priceable(Protocol):
    """What a price depends on beside the meters."""

    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def request_model(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def service_tier(self) -> str: ...
    @property
    def is_batch(self) -> bool: ...
    @property
    def ending(self) -> str: ...
    @property
    def total_duration_ms(self) -> float | None: ...


def price_of(call: Priceable, meters: Mapping[Meter, int], at: datetime) -> Price:
    """The price of a call that used `meters` at `at`, by what is known now, for the organization in scope.

    Of a call that ended with an error and used no tokens there is nothing to price, whatever the price is for.
    """
    used_tokens = any(map(meters.__getitem__, meters.keys() - OF_EVERY_CALL))
    if not used_tokens and call.ending == Ending.ERROR:
        return Price(PriceStatus.FAILED)
    variant = {"service_tier": call.service_tier} if call.service_tier else {}
    if call.is_batch:
        variant["processing"] = "batch"
    rating = rate(
        call.provider,
        call.model,
        _billed(call, meters, used_tokens=used_tokens),
        at,
        request_model=call.request_model or None,
        variant=variant,
        organization_id=require_tenant_id(),
    )
    return from_rating(rating)


def from_rating(rating: Rating) -> Price:
    """A cost that no column holds, of a price that can't be meant, is none."""
    if rating.cost is not None and rating.cost >= COST_LIMIT:
        return Price(PriceStatus.UNPRICED, "out_of_bounds", rating.rule)
    return Price(
        PriceStatus.UNPRICED if rating.cost is None else PriceStatus.PRICED,
        rating.reason,
        rating.rule,
        rating.snapshot_id,
        rating.lines,
        rating.cost,
        rating.currency,
        rating.flags,
    )


def _billed(call: Priceable, meters: Mapping[Meter, int], *, used_tokens: bool) -> dict[Meter, int]:
    """What to rate. No tokens where a whole is missing, since half a cost would pass for the whole, or where all are 0:
    a reporter that was told nothing says so, too. What every call has is left: some prices are for that alone."""
    is_told = Meter.INPUT in meters and (Meter.OUTPUT in meters or call.operation in INPUT_ONLY)
    if used_tokens and is_told:
        billed = dict(meters)
    else:
        billed = {meter: meters[meter] for meter in meters if meter in OF_EVERY_CALL}
    if call.total_duration_ms is not None:
        billed[Meter.DURATION] = round(call.total_duration_ms)
    return billed
