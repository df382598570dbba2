"""What a reported call costs: the rules that lie between a report and apps/pricing."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from apps.ledger.calls import Ending
from apps.ledger.models import PriceStatus
from apps.pricing.meters import Meter
from apps.pricing.rating import Rating, rate
from tenancy.scope import require_scope

# These answer with no tokens of their own.
INPUT_ONLY = frozenset(("embeddings", "rerank"))


class Price(NamedTuple):
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
    """The price of a call that used `meters` at `at`, by what is known now, for the organization in scope."""
    billed = _billed(call, meters)
    if not any(billed.values()) and call.ending == Ending.ERROR:
        return Price(PriceStatus.FAILED)
    variant = {"service_tier": call.service_tier} if call.service_tier else {}
    if call.is_batch:
        variant["processing"] = "batch"
    rating = rate(
        call.provider,
        call.model,
        billed,
        at,
        request_model=call.request_model or None,
        variant=variant,
        organization_id=require_scope().tenant_id,
    )
    return from_rating(rating)


def from_rating(rating: Rating) -> Price:
    return Price(
        PriceStatus(rating.status.value),
        rating.reason.value,
        rating.rule,
        rating.snapshot_id,
        rating.lines,
        rating.cost,
        rating.currency,
        tuple(rating.flags),
    )


def _billed(call: Priceable, meters: Mapping[Meter, int]) -> dict[Meter, int]:
    """What to rate; nothing where a whole is missing: half a cost would pass for the whole."""
    if Meter.INPUT not in meters or (Meter.OUTPUT not in meters and call.operation not in INPUT_ONLY):
        return {}
    billed = dict(meters)
    if call.total_duration_ms is not None:
        billed[Meter.DURATION] = round(call.total_duration_ms)
    return billed
