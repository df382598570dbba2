"""What an organization agreed on with its providers: own prices (overrides) and discounts on list prices.

Rows are closed and opened, never edited. Changes of one organization happen one after the other; its row in
OrganizationTerms is the lock, and its version tells other processes' books (they know within 30 seconds).
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial

from django.db import connection, transaction
from django.utils import timezone

from apps.pricing.dated import (
    AgreementError,
    NoAgreementError,
    check_aware,
    check_meter,
    check_model,
    check_note,
    check_per,
    check_period,
    check_provider,
    check_unit_price,
    end_rows,
    make_room,
)
from apps.pricing.feeds.base import Rate
from apps.pricing.meters import Meter
from apps.pricing.models import Discount, OrganizationTerms, Price
from apps.pricing.providers import canonical
from apps.pricing.selectors import forget_terms
from apps.pricing.terms import EVERY_MODEL

MULTIPLIER_PLACES = Decimal("1e-8")  # numeric(10,8)
HIGHEST_MULTIPLIER = Decimal(10)


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
    provider, model = check_provider(provider), check_model(model)
    note = check_note(note)
    now = timezone.now()
    period = check_period(start or now, end)
    if not prices:
        raise AgreementError("Give a price for at least one meter.")
    rows = [
        Price(
            organization_id=organization_id,
            provider=provider,
            canonical_model=model,
            meter=check_meter(meter).value,
            per=check_per(rate),
            effective=period,
            unit_price=check_unit_price(rate),
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
    continued = make_room(standing.filter(effective__overlap=period), period)
    return Price.objects.bulk_create([*rows, *continued])[: len(rows)]


@transaction.atomic
def end_override(*, organization_id: uuid.UUID, provider: str, model: str, at: datetime | None = None) -> list[Price]:
    """Ends the model's own prices from `at` on (now), those to come too; the rows changed.

    Raises NoAgreementError where none holds then or later.
    """
    moment = at or timezone.now()
    check_aware(moment)
    _change(organization_id)
    standing = Price.objects.filter(
        organization_id=organization_id, provider=canonical(provider), canonical_model=check_model(model)
    )
    if ended := end_rows(standing, moment):
        return ended
    raise NoAgreementError("There is no own price for this model to end.")


@transaction.atomic
def withdraw_override(*, organization_id: uuid.UUID, provider: str, model: str, start: datetime) -> list[Price]:
    """Has the model's own prices that begin at `start` hold at no time, the past included; the rows changed.

    What they took the place of does not come back, and what they priced stays until it is re-priced. Raises
    NoAgreementError where none begins then.
    """
    check_aware(start)
    _change(organization_id)
    standing = Price.objects.filter(
        organization_id=organization_id, provider=canonical(provider), canonical_model=check_model(model)
    )
    if withdrawn := end_rows(standing.filter(effective__startswith=start), start):
        return withdrawn
    raise NoAgreementError("There is no own price for this model that begins then.")


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
    provider, model = check_provider(provider), _discounted(model)
    note = check_note(note)
    if not multiplier.is_finite() or not 0 < multiplier <= HIGHEST_MULTIPLIER:
        raise AgreementError("The multiplier must be more than 0 and at most 10: 0.85 is 15 percent off.")
    if multiplier != multiplier.quantize(MULTIPLIER_PLACES):
        raise AgreementError("The multiplier can have 8 decimal places.")
    now = timezone.now()
    period = check_period(start or now, end)
    _change(organization_id)
    standing = Discount.objects.filter(organization_id=organization_id, provider=provider, model=model)
    continued = make_room(standing.filter(effective__overlap=period), period)
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
    check_aware(moment)
    _change(organization_id)
    standing = Discount.objects.filter(
        organization_id=organization_id, provider=canonical(provider), model=_discounted(model)
    )
    if ended := end_rows(standing, moment):
        return ended
    raise NoAgreementError("There is no discount for this model to end.")


@transaction.atomic
def withdraw_discount(*, organization_id: uuid.UUID, provider: str, start: datetime, model: str = "") -> list[Discount]:
    """As `withdraw_override`, of a discount."""
    check_aware(start)
    _change(organization_id)
    standing = Discount.objects.filter(
        organization_id=organization_id, provider=canonical(provider), model=_discounted(model)
    )
    if withdrawn := end_rows(standing.filter(effective__startswith=start), start):
        return withdrawn
    raise NoAgreementError("There is no discount for this model that begins then.")


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


def _discounted(model: str) -> str:
    """Discounts say "all of them" with an empty name."""
    return "" if model.strip() in ("", EVERY_MODEL) else check_model(model)
