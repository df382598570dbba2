"""Prices and discounts that people set: what they may be, and how rows with dates make room for one another."""

from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import QuerySet

from apps.pricing.feeds.base import Rate
from apps.pricing.meters import Meter
from apps.pricing.models import Discount, Price
from apps.pricing.providers import canonical
from web.errors import DomainError

# numeric(18,10)
PRICE_PLACES = Decimal("1e-10")
MOST_EXPENSIVE = Decimal(10) ** 8
MOST_UNITS = 1_000_000_000

Dated = TypeVar("Dated", Price, Discount)


class AgreementError(DomainError):
    status = 422
    code = "invalid_price"


class NoAgreementError(DomainError):
    status = 404
    code = "no_such_price"


# --- Rows ---


def make_room(standing: "QuerySet[Dated]", period: DateTimeTZRange, **changes: Any) -> list[Dated]:
    """Closes the rows that hold in `period`; what is left of them after it, as new rows that are yet to be stored."""
    continued = [
        _continued(row, period.upper)
        for row in standing
        if period.upper is not None and (row.effective.upper is None or row.effective.upper > period.upper)
    ]
    end_rows(standing, period.lower, **changes)
    return continued


def end_rows(standing: "QuerySet[Dated]", moment: datetime, **changes: Any) -> list[Dated]:
    """Ends the rows that hold at the moment or later, and sets `changes` on them; a row that was to begin later never
    holds."""
    rows = list(standing.filter(effective__overlap=DateTimeTZRange(moment, None, "[)")))
    for row in rows:
        lower = row.effective.lower
        begins_later = lower is not None and lower >= moment
        row.effective = DateTimeTZRange(lower, lower if begins_later else moment, "[)")
        for field, value in changes.items():
            setattr(row, field, value)
    standing.model._default_manager.bulk_update(rows, ["effective", *changes])
    return rows


def _continued(row: Dated, start: datetime) -> Dated:
    values = {
        field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if not field.primary_key
    }
    return type(row)(**{**values, "effective": DateTimeTZRange(start, row.effective.upper, "[)")})


# --- What is sent ---


def check_provider(provider: str) -> str:
    name = canonical(provider)
    if not name or len(name) > 64 or "\0" in name:
        raise AgreementError("Name a provider, such as openai or bedrock.")
    return name


def check_model(model: str) -> str:
    name = model.strip().lower()
    if not name or len(name) > 256 or "\0" in name:
        raise AgreementError('Name a model as calls name it, or "*" for all of the provider\'s.')
    return name


def check_note(note: str) -> str:
    text = note.strip()
    if not text or len(text) > 200 or "\0" in text:
        raise AgreementError("Say why, in at most 200 characters: the contract's number, say.")
    return text


def check_period(start: datetime, end: datetime | None) -> DateTimeTZRange:
    check_aware(start)
    if end is not None:
        check_aware(end)
        if end <= start:
            raise AgreementError("The end must come after the start.")
    return DateTimeTZRange(start, end, "[)")


def check_aware(moment: datetime) -> None:
    if moment.tzinfo is None:
        raise AgreementError("A price holds from a moment: its time needs a time zone.")


def check_meter(meter: str) -> Meter:
    try:
        return Meter(meter)
    except ValueError:
        raise AgreementError(f"{meter!r} is nothing that can be priced. There are: {', '.join(Meter)}.") from None


def check_per(rate: Rate) -> int:
    if rate.currency != "USD":
        raise AgreementError("Prices are in US dollars, like all list prices.")
    if not 0 < rate.per <= MOST_UNITS:
        raise AgreementError(f"A price is for at least 1 and at most {MOST_UNITS} units.")
    if not 0 <= rate.minimum <= MOST_UNITS:
        raise AgreementError(f"The least that is billed is 0 or more units, and at most {MOST_UNITS}.")
    return rate.per


def check_unit_price(rate: Rate) -> Decimal:
    price = rate.unit_price
    if not price.is_finite() or not 0 <= price < MOST_EXPENSIVE:
        raise AgreementError(f"A price is 0 or more, and below {MOST_EXPENSIVE}.")
    if price != price.quantize(PRICE_PLACES):
        raise AgreementError("A price can have 10 decimal places.")
    return price
