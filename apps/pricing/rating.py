"""What a call costs.

    rating = rate("openai", "gpt-5-2025-08-07", {Meter.INPUT: 1200, Meter.CACHE_READ: 1000, Meter.OUTPUT: 300}, at)

From list prices in the database, through a book of them in memory (apps/pricing/selectors.py): no query a call.
Unknown is unpriced, never zero, and no provider is guessed from a model's name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from types import MappingProxyType

import msgspec

from apps.pricing.book import ORDINARY, Book, Match, Miss
from apps.pricing.meters import INPUT_TOKENS, Meter, exclusive
from apps.pricing.providers import canonical
from apps.pricing.selectors import current_book

# Wide enough that no product or sum here is rounded. Divisors are powers of ten but for hours (3,600), whose
# repeating decimals stay 40 places below the cost's last one.
_EXACT = Context(prec=60)
# numeric(24,12): four tokens of an embedding cost 0.00000008.
PLACES = Decimal("1e-12")
NOTHING = Decimal(0).quantize(PLACES)
_ZERO = Decimal(0)


class Status(StrEnum):
    PRICED = "priced"
    UNPRICED = "unpriced"


class Reason(StrEnum):
    """Why a call is unpriced, or, SELF_HOSTED, why it is priced without a price."""

    NONE = ""
    SELF_HOSTED = "self_hosted"
    UNKNOWN_PROVIDER = "unknown_provider"
    UNKNOWN_MODEL = "unknown_model"
    NO_METER_PRICE = "no_meter_price"
    MISSING_USAGE = "missing_usage"
    AMBIGUOUS_VARIANT = "ambiguous_variant"


class Flag(StrEnum):
    """What to know about a priced call."""

    # Part of the variant (a service tier, say) has no price at that time: priced as standard.
    VARIANT_UNKNOWN = "variant_unknown"
    # Parts exceeded their whole (cached > input) and were taken as counted beside it.
    COUNTED_BESIDE = "counted_beside"
    # No response model was known; the one asked for was priced.
    BY_REQUEST_MODEL = "by_request_model"
    # A router's model name said which vendor's price this is.
    BY_ROUTED_MODEL = "by_routed_model"


class Line(msgspec.Struct, frozen=True):
    """One price used: amount = quantity * unit_price / per, exact. Encodes as a JSON object, decimals as text."""

    price_id: int
    meter: Meter
    quantity: int
    unit_price: Decimal
    per: int
    amount: Decimal
    # The meter counted, where it has no price of its own and costs what `meter` does.
    fallback_from: Meter | None


@dataclass(frozen=True, slots=True)
class Rating:
    """`cost`: numeric(24,12), rounded half up once; None when unpriced. `provider` and `model` name the prices.

    Lines of an unpriced call are those that do have a price.
    """

    cost: Decimal | None
    currency: str
    status: Status
    reason: Reason
    snapshot_id: int | None
    provider: str
    model: str
    lines: tuple[Line, ...]
    flags: tuple[Flag, ...]


_NO_VARIANT: Mapping[str, str] = MappingProxyType({})


def rate(
    provider: str,
    model: str,
    meters: Mapping[Meter, int],
    at: datetime,
    *,
    request_model: str | None = None,
    variant: Mapping[str, str] = _NO_VARIANT,
) -> Rating:
    """The cost of one call at list price, at the moment `at` (aware) of the call.

    `provider` in any spelling of apps/pricing/providers.py; `model` as the response named it, "" if it did not.
    `meters` inclusive (apps/pricing/meters.py); none at all is missing usage, zeros are a call that cost
    nothing. `Meter.REQUEST` is 1 unless given. `variant` such as {"service_tier": "flex"} or
    {"processing": "batch"}. Raises ValueError for a naive time or a negative quantity.
    """
    return rate_by(current_book(), provider, model, meters, at, request_model=request_model, variant=variant)


def rate_by(
    book: Book,
    provider: str,
    model: str,
    meters: Mapping[Meter, int],
    at: datetime,
    *,
    request_model: str | None = None,
    variant: Mapping[str, str] = _NO_VARIANT,
) -> Rating:
    """`rate` with the prices of `book`."""
    if at.tzinfo is None:
        raise ValueError("A price holds at a moment: the time needs a time zone.")
    match = book.find(provider, model, request_model)
    found = match.found
    if found is Miss.SELF_HOSTED:
        return Rating(
            NOTHING,
            "USD",
            Status.PRICED,
            Reason.SELF_HOSTED,
            book.snapshot_id,
            canonical(provider),
            "",
            (),
            _flags(match, missed=False, beside=False),
        )
    if not meters:
        return _unpriced(book, Reason.MISSING_USAGE, canonical(provider))
    if isinstance(found, Miss):
        return _unpriced(book, Reason(found), canonical(provider))

    if found.has_variants:
        sheet, missed = found.prices.sheet(at, variant)
    else:
        sheet, missed = found.prices.sheet(at, _NO_VARIANT)
        missed = not ORDINARY.issuperset(variant.items())
    quantities, beside = exclusive(meters)
    if sheet.ambiguous:
        return _unpriced(book, Reason.AMBIGUOUS_VARIANT, found.provider, found.model)
    tier_total = 0
    for meter, quantity in quantities.items():
        if meter in INPUT_TOKENS:
            tier_total += quantity
    charges = sheet.charges
    if Meter.REQUEST in charges:
        quantities.setdefault(Meter.REQUEST, 1)
    else:
        # Hardly any vendor bills by the call: no price for it is no gap.
        quantities.pop(Meter.REQUEST, None)

    lines = []
    total = _ZERO
    complete = True
    for meter, quantity in quantities.items():
        if not quantity:
            continue
        charge = charges.get(meter)
        rung = None
        if charge is not None:
            for rung in charge.rungs:
                if tier_total > rung.above or not rung.above:
                    break
            else:
                rung = None
        if charge is None or rung is None:
            complete = False
            continue
        if quantity < rung.minimum:
            quantity = rung.minimum
        amount = _EXACT.divide(_EXACT.multiply(rung.unit_price, quantity), rung.per)
        total = _EXACT.add(total, amount)
        lines.append(
            Line(
                rung.price_id,
                charge.meter,
                quantity,
                rung.unit_price,
                rung.per,
                amount,
                None if charge.meter is meter else meter,
            )
        )
    return Rating(
        total.quantize(PLACES, ROUND_HALF_UP, _EXACT) if complete else None,
        sheet.currency,
        Status.PRICED if complete else Status.UNPRICED,
        Reason.NONE if complete else Reason.NO_METER_PRICE,
        book.snapshot_id,
        found.provider,
        found.model,
        tuple(lines),
        _flags(match, missed=missed, beside=beside),
    )


def _flags(match: Match, *, missed: bool, beside: bool) -> tuple[Flag, ...]:
    if not (missed or beside or match.by_request or match.routed):
        return ()
    holds = {
        Flag.VARIANT_UNKNOWN: missed,
        Flag.COUNTED_BESIDE: beside,
        Flag.BY_REQUEST_MODEL: match.by_request,
        Flag.BY_ROUTED_MODEL: match.routed,
    }
    return tuple(flag for flag in holds if holds[flag])


def _unpriced(book: Book, reason: Reason, provider: str = "", model: str = "") -> Rating:
    return Rating(None, "", Status.UNPRICED, reason, book.snapshot_id, provider, model, (), ())
