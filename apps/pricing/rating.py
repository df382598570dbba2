"""What a call costs.

    rating = rate("openai", "gpt-5-2025-08-07", {Meter.INPUT: 1200, Meter.CACHE_READ: 1000, Meter.OUTPUT: 300}, at)

In this order: what the organization itself pays (an override), the lists by their precedence, unpriced. From the
database through a book of its rows in memory (apps/pricing/selectors.py): no query a call. Unknown is unpriced, never
zero, and no provider is guessed from a model's name.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from enum import StrEnum
from types import MappingProxyType

import msgspec

from apps.pricing.book import ORDINARY, Book, Found, Match, Miss, Sheet
from apps.pricing.meters import INPUT_TOKENS, OF_EVERY_CALL, Meter, exclusive
from apps.pricing.providers import SELF_HOSTED, canonical
from apps.pricing.selectors import current_book, current_terms
from apps.pricing.terms import Override, Terms

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


class Rule(StrEnum):
    """What priced a call. A list is named by its source: "list:genai-prices"."""

    NONE = ""
    OVERRIDE = "override"
    SELF_HOSTED = "self_hosted"


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


class Line(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One price used: amount = quantity * unit_price * multiplier / per, exact.

    Encodes as a JSON object, decimals as text, without what is None.
    """

    price_id: int
    meter: Meter
    quantity: int
    unit_price: Decimal
    per: int
    amount: Decimal
    # The meter counted, where it has no price of its own and costs what `meter` does.
    fallback_from: Meter | None = None
    # The organization's discount on the list price, and which one: its pricing_discount.
    multiplier: Decimal | None = None
    discount_id: int | None = None


class Rating(msgspec.Struct, frozen=True, gc=False):
    """`cost`: numeric(24,12), rounded half up once; None when unpriced. `provider` and `model` name the prices.

    Lines of an unpriced call are those that do have a price. `rule` says whose prices: a Rule or "list:<source>", ""
    for a call of no known model. `discount_id` is the pricing_discount applied, if one was.
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
    rule: str
    discount_id: int | None = None


_NO_VARIANT: Mapping[str, str] = MappingProxyType({})


def rate(
    provider: str,
    model: str,
    meters: Mapping[Meter, int],
    at: datetime,
    *,
    request_model: str | None = None,
    variant: Mapping[str, str] = _NO_VARIANT,
    organization_id: uuid.UUID | None = None,
) -> Rating:
    """The cost of one call at the moment `at` (aware) of the call: to this organization, or at list price.

    `provider` in any spelling of apps/pricing/providers.py; `model` as the response named it, "" if it did not.
    `meters` inclusive (apps/pricing/meters.py); none at all is missing usage, zeros are a call that cost
    nothing. `Meter.REQUEST` is 1 unless given. `variant` such as {"service_tier": "flex"} or
    {"processing": "batch"}. Raises ValueError for a naive time or a negative quantity.
    """
    return rate_by(
        current_book(),
        provider,
        model,
        meters,
        at,
        request_model=request_model,
        variant=variant,
        terms=None if organization_id is None else current_terms(organization_id),
    )


def rate_by(
    book: Book,
    provider: str,
    model: str,
    meters: Mapping[Meter, int],
    at: datetime,
    *,
    request_model: str | None = None,
    variant: Mapping[str, str] = _NO_VARIANT,
    organization_id: uuid.UUID | None = None,
    terms: Terms | None = None,
) -> Rating:
    """`rate` with the list prices of `book`. `terms` are used instead of those the organization has now."""
    if at.tzinfo is None:
        raise ValueError("A price holds at a moment: the time needs a time zone.")
    if organization_id is not None and terms is None:
        terms = current_terms(organization_id)
    match = book.find(provider, model, request_model)
    override = discount = None
    if terms is not None:
        override = terms.override(match, provider, model, request_model, at, variant)
    found = match.found
    if override is not None:
        sheet, missed = override.sheet, override.missed
        priced_as = (override.provider, override.model)
        rule: str = Rule.OVERRIDE
        # 0 by rule but for what the organization set a rate for.
        free = override.provider in SELF_HOSTED
    else:
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
                Rule.SELF_HOSTED,
            )
        if isinstance(found, Miss):
            reason = Reason(found) if _has_usage(meters) else Reason.MISSING_USAGE
            return _unpriced(book, reason, canonical(provider))
        sheet, missed = _list_sheet(found, at, variant)
        if not sheet.charges and match.others:
            match, found, sheet, missed = _other_list(match, found, sheet, missed, at, variant)
        priced_as = (found.provider, found.model)
        rule = found.rule
        free = False
        if terms is not None:
            discount = terms.discount(match, provider, model, request_model, at)

    charges = sheet.charges
    if not _has_usage(meters) and not (charges and OF_EVERY_CALL.issuperset(charges)):
        return _unpriced(book, Reason.MISSING_USAGE, canonical(provider))
    quantities, beside = exclusive(meters)
    if sheet.ambiguous:
        return _unpriced(book, Reason.AMBIGUOUS_VARIANT, *priced_as, rule=rule)
    tier_total = 0
    for meter, quantity in quantities.items():
        if meter in INPUT_TOKENS:
            tier_total += quantity
    if Meter.REQUEST in charges:
        quantities.setdefault(Meter.REQUEST, 1)
    else:
        quantities.pop(Meter.REQUEST, None)
    if Meter.DURATION not in charges:
        quantities.pop(Meter.DURATION, None)
    elif Meter.DURATION not in quantities:
        return _unpriced(book, Reason.MISSING_USAGE, *priced_as, rule=rule)

    multiplier = discount_id = None
    if discount is not None:
        multiplier, discount_id = discount.multiplier, discount.discount_id
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
            complete = free and complete
            continue
        if quantity < rung.minimum:
            quantity = rung.minimum
        product = _EXACT.multiply(rung.unit_price, quantity)
        if multiplier is not None:
            product = _EXACT.multiply(product, multiplier)
        amount = _EXACT.divide(product, rung.per)
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
                multiplier,
                discount_id,
            )
        )
    return Rating(
        total.quantize(PLACES, ROUND_HALF_UP, _EXACT) if complete else None,
        sheet.currency,
        Status.PRICED if complete else Status.UNPRICED,
        Reason.NONE if complete else Reason.NO_METER_PRICE,
        book.snapshot_id,
        *priced_as,
        tuple(lines),
        _flags(override or match, missed=missed, beside=beside),
        rule,
        discount_id,
    )


def _has_usage(meters: Mapping[Meter, int]) -> bool:
    """Whether anything was used beside the call itself."""
    return len(meters) > len(OF_EVERY_CALL) or not OF_EVERY_CALL.issuperset(meters)


def _list_sheet(found: Found, at: datetime, variant: Mapping[str, str]) -> tuple[Sheet, bool]:
    if found.has_variants:
        return found.prices.sheet(at, variant)
    return found.prices.sheet(at, _NO_VARIANT)[0], not ORDINARY.issuperset(variant.items())


def _other_list(
    match: Match, found: Found, sheet: Sheet, missed: bool, at: datetime, variant: Mapping[str, str]
) -> tuple[Match, Found, Sheet, bool]:
    """What the lists after the first have at a moment when that has no price for the model; else the first's."""
    for other in match.others:
        other_sheet, other_missed = _list_sheet(other.found, at, variant)
        if other_sheet.charges:
            instead = Match(other.found, match.by_request, other.routed)
            return instead, other.found, other_sheet, other_missed
    return match, found, sheet, missed


def _flags(match: Match | Override, *, missed: bool, beside: bool) -> tuple[Flag, ...]:
    if not (missed or beside or match.by_request or match.routed):
        return ()
    holds = {
        Flag.VARIANT_UNKNOWN: missed,
        Flag.COUNTED_BESIDE: beside,
        Flag.BY_REQUEST_MODEL: match.by_request,
        Flag.BY_ROUTED_MODEL: match.routed,
    }
    return tuple(flag for flag in holds if holds[flag])


def _unpriced(book: Book, reason: Reason, provider: str = "", model: str = "", *, rule: str = Rule.NONE) -> Rating:
    return Rating(None, "", Status.UNPRICED, reason, book.snapshot_id, provider, model, (), (), rule)
