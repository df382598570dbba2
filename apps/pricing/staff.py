"""List prices that staff set by hand: for models no feed has, or has wrong. They go before the feeds.

Each setting is a snapshot of the source "staff", approved by who made it, so that books renew and rows explain
themselves as any list price does.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from apps.pricing.book import Found
from apps.pricing.dated import (
    AgreementError,
    NoAgreementError,
    check_aware,
    check_meter,
    check_model,
    check_note,
    check_per,
    check_provider,
    check_unit_price,
    end_rows,
)
from apps.pricing.feeds import STAFF
from apps.pricing.feeds.base import PriceKey, Rate, Segment
from apps.pricing.meters import Meter
from apps.pricing.models import ModelAlias, Price, PriceSnapshot
from apps.pricing.providers import SELF_HOSTED
from apps.pricing.selectors import forget_book, load_book
from apps.pricing.services import approval_time, lock_prices, open_prices
from apps.pricing.staff_users import check_staff
from apps.pricing.terms import EVERY_MODEL
from apps.pricing.unpriced import take_off_queue


def set_list_price(
    *,
    provider: str,
    model: str,
    prices: Mapping[Meter, Rate],
    by: str,
    note: str,
    start: datetime | None = None,
) -> PriceSnapshot:
    """Sets the list price of one model for everybody; the snapshot made for it.

    From `start` on; without it from now where some list has a price already, and for all time where none has: so
    calls that came before the model was priced can be. It takes the place of staff's earlier price for the model.
    `by` is the address of one of staff, `note` says why. Raises AgreementError, NotStaffError.
    """
    provider, model = check_provider(provider), check_model(model)
    if model == EVERY_MODEL:
        raise AgreementError("A list price is for one model: name it.")
    if provider in SELF_HOSTED:
        raise AgreementError(
            f"Models at {provider} run on somebody's own hardware: they cost nothing by rule, whatever a list says. An"
            " organization that wants a rate sets its own price, on its page Prices."
        )
    if start is not None:
        check_aware(start)
    if not prices:
        raise AgreementError("Give a price for at least one meter.")
    rates = {
        check_meter(meter): Rate(check_unit_price(rate), check_per(rate), rate.minimum)
        for meter, rate in prices.items()
    }
    with transaction.atomic():
        lock_prices()
        now = approval_time()
        standing = _standing(provider, model)
        if start is None and isinstance(load_book().find(provider, model, None).found, Found):
            start = now
        texts = {meter.value: [str(rate.unit_price), rate.per, rate.minimum] for meter, rate in rates.items()}
        snapshot = _snapshot(
            now, by, note, {"provider": provider, "model": model, "prices": texts, "start": str(start)}
        )
        if start is not None:
            end_rows(standing, start, closed_by=snapshot)
        ModelAlias.objects.get_or_create(
            organization_id=None,
            source=STAFF,
            provider=provider,
            canonical_provider=provider,
            canonical_model=model,
            closed_by=None,
            defaults={"rule": {"equals": model}, "priority": 0, "snapshot": snapshot},
        )
        openings = [
            (PriceKey(provider, model, meter), Segment(start, None, rate, check_note(note)))
            for meter, rate in rates.items()
        ]
        open_prices(snapshot, openings)
        take_off_queue(snapshot)
        transaction.on_commit(forget_book)
        return snapshot


def end_list_price(*, provider: str, model: str, by: str, note: str, start: datetime | None = None) -> PriceSnapshot:
    """Ends staff's price for a model from `start` on (now): the feeds' counts again.

    Raises NoAgreementError, NotStaffError.
    """
    provider, model = check_provider(provider), check_model(model)
    if start is not None:
        check_aware(start)
    with transaction.atomic():
        lock_prices()
        now = approval_time()
        snapshot = _snapshot(now, by, note, {"provider": provider, "model": model, "end": str(start or now)})
        if not end_rows(_standing(provider, model), start or now, closed_by=snapshot):
            raise NoAgreementError("Staff set no price for this model that could end.")
        transaction.on_commit(forget_book)
        return snapshot


def _standing(provider: str, model: str) -> "QuerySet[Price]":
    return Price.objects.filter(organization_id=None, source=STAFF, provider=provider, canonical_model=model)


def _snapshot(now: datetime, by: str, note: str, content: Mapping[str, object]) -> PriceSnapshot:
    author = check_staff(by)
    document = json.dumps({**content, "at": now.isoformat(), "by": author}, sort_keys=True).encode()
    return PriceSnapshot.objects.create(
        source=STAFF,
        source_version=now.strftime("%Y-%m-%d"),
        sha256=hashlib.sha256(document).hexdigest(),
        fetched_at=now,
        approved_at=now,
        decided_by=author,
        document=zlib.compress(document),
        note=check_note(note),
    )
