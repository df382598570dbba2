"""What an organization agreed on with its providers: own prices (overrides) and discounts on list prices.

Rows are closed and opened, never edited. Changes of one organization happen one after the other; its row in
OrganizationTerms is the lock, and its version tells other processes' books (they know within 30 seconds).
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import TypeVar

from django.db import connection, transaction
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import QuerySet
from django.utils import timezone

from apps.pricing.feeds.base import Rate
from apps.pricing.meters import Meter
from apps.pricing.models import Discount, OrganizationTerms, Price
from apps.pricing.providers import canonical
from apps.pricing.selectors import forget_terms
from apps.pricing.terms import EVERY_MODEL
from web.errors import DomainError

# numeric(18,10) and numeric(10,8).
PRICE_PLACES = Decimal("1e-10")
MOST_EXPENSIVE = Decimal(10) ** 8
MULTIPLIER_PLACES = Decimal("1e-8")
HIGHEST_MULTIPLIER = Decimal(10)
MOST_UNITS = 1_000_000_000


Dated = TypeVar("Dated", Price, Discount)


class AgreementError(DomainError):
    status = 422
    code = "invalid_price"


class NoAgreementError(DomainError):
    status = 404
    code = "no_such_price"


@transaction.atomic
def set_override(
    *,
    organization_id: uuid.UUID,
    provider: str,
    model: str,
    prices: Mapping[Meter, Rate],
    author_id: uuid.UUID,
    note: str,
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[Price]:
    """Sets what the organization pays for a model, or for all of a provider's ("*"), from `start` (now) until before
    `end` (for good); the new rows.

    It takes the place of the model's own prices of that time, all of them: those in force are closed, and go on
    after `end`. Meters without a price cost what their parent does (apps/pricing/meters.py); where there is none
    either the call is unpriced, or free if self-hosted. `note` says why. Raises AgreementError.
    """
    provider, model = _provider(provider), _model(model)
    note = _note(note)
    now = timezone.now()
    period = _period(start or now, end)
    if not prices:
        raise AgreementError("Give a price for at least one meter.")
    rows = [
        Price(
            organization_id=organization_id,
            provider=provider,
            canonical_model=model,
            meter=_meter(meter).value,
            per=_per(rate),
            effective=period,
            unit_price=_unit_price(rate),
            minimum=rate.minimum,
            note=note,
            author_id=author_id,
            created_at=now,
        )
        for meter, rate in prices.items()
    ]
    _change(organization_id)
    standing = Price.objects.filter(organization_id=organization_id, provider=provider, canonical_model=model)
    # Closed first: the new rows may start where the old ones end.
    continued = _make_room(standing.filter(effective__overlap=period), period)
    return Price.objects.bulk_create([*rows, *continued])[: len(rows)]


@transaction.atomic
def end_override(*, organization_id: uuid.UUID, provider: str, model: str, at: datetime | None = None) -> list[Price]:
    """Ends the model's own prices from `at` on (now), those to come too; the rows changed.

    Raises NoAgreementError where none holds then or later.
    """
    moment = at or timezone.now()
    _check_aware(moment)
    _change(organization_id)
    standing = Price.objects.filter(
        organization_id=organization_id, provider=canonical(provider), canonical_model=_model(model)
    )
    if ended := _end(standing, moment):
        return ended
    raise NoAgreementError("There is no own price for this model to end.")


@transaction.atomic
def set_discount(
    *,
    organization_id: uuid.UUID,
    provider: str,
    multiplier: Decimal,
    author_id: uuid.UUID,
    note: str,
    model: str = "",
    start: datetime | None = None,
    end: datetime | None = None,
) -> Discount:
    """Sets a factor on the list prices of a model, or of all of a provider's (""), from `start` (now) until before
    `end` (for good); the new row. 0.85 is 15 percent off.

    It takes the place of the same provider's and model's discount of that time. A discount for the model goes before
    one for all; they never add up. Raises AgreementError.
    """
    provider, model = _provider(provider), _discounted(model)
    note = _note(note)
    if not multiplier.is_finite() or not 0 < multiplier <= HIGHEST_MULTIPLIER:
        raise AgreementError("The multiplier must be more than 0 and at most 10: 0.85 is 15 percent off.")
    if multiplier != multiplier.quantize(MULTIPLIER_PLACES):
        raise AgreementError("The multiplier can have 8 decimal places.")
    now = timezone.now()
    period = _period(start or now, end)
    _change(organization_id)
    standing = Discount.objects.filter(organization_id=organization_id, provider=provider, model=model)
    continued = _make_room(standing.filter(effective__overlap=period), period)
    discount = Discount(
        organization_id=organization_id,
        provider=provider,
        model=model,
        multiplier=multiplier,
        effective=period,
        note=note,
        author_id=author_id,
        created_at=now,
    )
    return Discount.objects.bulk_create([discount, *continued])[0]


@transaction.atomic
def end_discount(
    *, organization_id: uuid.UUID, provider: str, model: str = "", at: datetime | None = None
) -> list[Discount]:
    """Ends the discounts of this provider and model from `at` on (now), those to come too; the rows changed.

    Raises NoAgreementError where none holds then or later.
    """
    moment = at or timezone.now()
    _check_aware(moment)
    _change(organization_id)
    standing = Discount.objects.filter(
        organization_id=organization_id, provider=canonical(provider), model=_discounted(model)
    )
    if ended := _end(standing, moment):
        return ended
    raise NoAgreementError("There is no discount for this model to end.")


@transaction.atomic
def delete_terms(*, organization_id: uuid.UUID) -> None:
    """Deletes all own prices and discounts, for an organization that is deleted itself."""
    Price.objects.filter(organization_id=organization_id).delete()
    Discount.objects.filter(organization_id=organization_id).delete()
    OrganizationTerms.objects.filter(organization_id=organization_id).delete()
    transaction.on_commit(partial(forget_terms, organization_id))


def _change(organization_id: uuid.UUID) -> None:
    """Locks the organization's terms until the transaction ends, and gives them a new version."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO pricing_organizationterms AS terms (organization_id, version) VALUES (%s, 1)"
            " ON CONFLICT (organization_id) DO UPDATE SET version = terms.version + 1",
            [organization_id],
        )
    transaction.on_commit(partial(forget_terms, organization_id))


def _make_room(standing: "QuerySet[Dated]", period: DateTimeTZRange) -> list[Dated]:
    """Closes the rows that hold in `period`; what is left of them after it, as new rows that are yet to be stored."""
    continued = [
        _continued(row, period.upper)
        for row in standing
        if period.upper is not None and (row.effective.upper is None or row.effective.upper > period.upper)
    ]
    _end(standing, period.lower)
    return continued


def _end(standing: "QuerySet[Dated]", moment: datetime) -> list[Dated]:
    """Ends the rows that hold at the moment or later; a row that was to begin later never holds."""
    rows = list(standing.filter(effective__overlap=DateTimeTZRange(moment, None, "[)")))
    for row in rows:
        lower = row.effective.lower
        begins_later = lower is not None and lower >= moment
        row.effective = DateTimeTZRange(lower, lower if begins_later else moment, "[)")
    standing.model._default_manager.bulk_update(rows, ["effective"])
    return rows


def _continued(row: Dated, start: datetime) -> Dated:
    values = {
        field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if not field.primary_key
    }
    return type(row)(**{**values, "effective": DateTimeTZRange(start, row.effective.upper, "[)")})


# --- What is sent ---


def _provider(provider: str) -> str:
    name = canonical(provider)
    if not name or len(name) > 64 or "\0" in name:
        raise AgreementError("Name a provider, such as openai or bedrock.")
    return name


def _model(model: str) -> str:
    name = model.strip().lower()
    if not name or len(name) > 256 or "\0" in name:
        raise AgreementError('Name a model as calls name it, or "*" for all of the provider\'s.')
    return name


def _discounted(model: str) -> str:
    """Discounts say "all of them" with an empty name."""
    return "" if model.strip() in ("", EVERY_MODEL) else _model(model)


def _note(note: str) -> str:
    text = note.strip()
    if not text or len(text) > 200 or "\0" in text:
        raise AgreementError("Say why, in at most 200 characters: the contract's number, say.")
    return text


def _period(start: datetime, end: datetime | None) -> DateTimeTZRange:
    _check_aware(start)
    if end is not None:
        _check_aware(end)
        if end <= start:
            raise AgreementError("The end must come after the start.")
    return DateTimeTZRange(start, end, "[)")


def _check_aware(moment: datetime) -> None:
    if moment.tzinfo is None:
        raise AgreementError("A price holds from a moment: its time needs a time zone.")


def _meter(meter: str) -> Meter:
    try:
        return Meter(meter)
    except ValueError:
        raise AgreementError(f"{meter!r} is nothing that can be priced. There are: {', '.join(Meter)}.") from None


def _per(rate: Rate) -> int:
    if rate.currency != "USD":
        raise AgreementError("Prices are in US dollars, like all list prices.")
    if not 0 < rate.per <= MOST_UNITS:
        raise AgreementError(f"A price is for at least 1 and at most {MOST_UNITS} units.")
    return rate.per


def _unit_price(rate: Rate) -> Decimal:
    price = rate.unit_price
    if not price.is_finite() or not 0 <= price < MOST_EXPENSIVE:
        raise AgreementError(f"A price is 0 or more, and below {MOST_EXPENSIVE}.")
    if price != price.quantize(PRICE_PLACES):
        raise AgreementError("A price can have 10 decimal places.")
    return price
