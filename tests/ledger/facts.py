"""Rows of the ledger as tests want them, stored without a report: what is read is tested apart from what stores."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from unittest import mock

import msgspec
from django.db import connection

from apps.ledger import prices
from apps.ledger.models import METER_COLUMNS, Adjustment, PriceStatus, UsageEvent
from apps.ledger.prices import Price, from_rating
from apps.ledger.standing import Standing, adjust, duplicate_price, standings, store
from apps.pricing.agreements import delete_terms, set_discount, set_override
from apps.pricing.feeds.base import Rate
from apps.pricing.meters import Meter
from apps.pricing.models import Discount
from apps.pricing.rating import rate
from apps.pricing.selectors import forget_terms
from tests.cast import Workspace

MAY = datetime(2026, 5, 1, tzinfo=UTC)
MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-of-tomorrow")


def event(project_id: uuid.UUID, *, meters: Mapping[Meter, int] | None = None, **changes: Any) -> UsageEvent:
    """An event of 123 input and 45 output tokens, priced by what is known, unless `changes` say otherwise."""
    quantities = {Meter.INPUT: 123, Meter.OUTPUT: 45} if meters is None else meters
    row = UsageEvent(
        event_id=uuid.uuid4(),
        project_id=project_id,
        source="json",
        occurred_at=MAY,
        provider="openai",
        model="gpt-4o-mini",
        **{METER_COLUMNS[meter]: quantity for meter, quantity in quantities.items()},
    )
    for name in changes.keys() & {"occurred_at", "provider", "model"}:
        setattr(row, name, changes[name])
    if "price_status" not in changes:
        set_price(row, from_rating(rate(row.provider, row.model, quantities, row.occurred_at)))
    for name, value in changes.items():
        setattr(row, name, value)
    row.save(force_insert=True)
    return UsageEvent.objects.get(pk=row.pk)


def set_price(row: UsageEvent, price: Price) -> None:
    row.price_status, row.price_reason, row.price_rule = price.status, price.reason, price.rule
    row.price_snapshot_id, row.price_lines = price.snapshot_id, msgspec.to_builtins(price.lines)
    row.cost, row.currency, row.flags = price.cost, price.currency, list(price.flags)


def discounted(acme: Workspace, model: str, meters: Mapping[Meter, int]) -> tuple[Discount, Price]:
    """Acme's discount of 15 % on OpenAI's prices since May, and what a call of then costs with it."""
    made = set_discount(
        organization_id=acme.organization.id,
        provider="openai",
        multiplier=Decimal("0.85"),
        author_id=acme.owner.user.id,
        note="Contract 8.",
        start=MAY,
    )
    forget_terms()
    rated = rate("openai", model, meters, MAY, organization_id=acme.organization.id)
    forget_terms()
    return made, from_rating(rated)


@contextmanager
def a_dollar_a_token(organization_id: uuid.UUID) -> Iterator[None]:
    """The organization's own price for gpt-4o-mini meanwhile, and nobody minds what a call costs: a million million tokens
    are more than the column holds, so the database refuses them."""
    set_override(
        organization_id=organization_id,
        provider="openai",
        model="gpt-4o-mini",
        prices={meter: Rate(Decimal(1), 1) for meter in (Meter.INPUT, Meter.OUTPUT)},
        author_id=uuid.uuid4(),
        note="a slip",
        start=MAY - timedelta(days=90),
    )
    forget_terms()
    with mock.patch.object(prices, "COST_LIMIT", Decimal("Infinity")):
        yield
    delete_terms(organization_id=organization_id)
    forget_terms()


def standing(row: UsageEvent) -> Standing:
    return standings([row])[0]


def price(cost: str, like: Price, **changes: Any) -> Price:
    """A price of this cost, with lines that come to it."""
    line = {"price_id": 1, "meter": "input", "quantity": 1, "unit_price": cost, "per": 1, "amount": cost}
    return msgspec.structs.replace(
        like,
        status=PriceStatus.PRICED,
        reason="",
        cost=Decimal(cost),
        currency="USD",
        lines=[line],
        **changes,
    )


def reprice(
    row: UsageEvent, cost: str, reason: str = "A better price.", flags: tuple[str, ...] = (), **changes: Any
) -> Standing:
    """The event at another cost."""
    now = standing(row)
    return _adjusted(
        row,
        price=price(cost, now.price, flags=flags),
        meters=now.meters,
        kind=Adjustment.Kind.REPRICE,
        reason=reason,
        **changes,
    )


def make_duplicate(row: UsageEvent, of: uuid.UUID) -> Standing:
    return _adjusted(
        row,
        price=duplicate_price("within_call"),
        meters={},
        kind=Adjustment.Kind.SAME_CALL,
        reason="A call further out is the same call.",
        same_call_as=of,
    )


def detail(row: UsageEvent, **quantities: int) -> Standing:
    """The event with other quantities, at the price that they have."""
    now = standing(row)
    meters = {**now.meters, **{Meter(name): quantity for name, quantity in quantities.items()}}
    rated = from_rating(rate(row.provider, row.model, meters, row.occurred_at))
    return _adjusted(row, price=rated, meters=meters, kind=Adjustment.Kind.DETAIL, reason="Another report said more.")


def _adjusted(row: UsageEvent, **choices: Any) -> Standing:
    assert store([adjust(standing(row), **choices)]) == 1
    return standing(row)


def a_mix(project_id: uuid.UUID, *, count: int, seed: int = 1, since: datetime = MAY) -> list[UsageEvent]:
    """Events of all statuses an hour apart, a third of them adjusted, some more than once."""
    random, rows = Random(seed), list[UsageEvent]()
    for number in range(count):
        at = since + timedelta(hours=number)
        tokens = {Meter.INPUT: random.randrange(10**6), Meter.OUTPUT: random.randrange(10**5)}
        if random.random() < 0.3:
            tokens[Meter.CACHE_READ] = random.randrange(tokens[Meter.INPUT] + 1)
        match random.randrange(8):
            case 0:
                row = event(
                    project_id, meters={}, occurred_at=at, price_status="failed", ending="error", error_type="Timeout"
                )
            case 1 if rows:
                first = rows[-1].event_id
                duplicate = {"price_status": "duplicate", "price_reason": "same_response", "same_call_as": first}
                row = event(project_id, meters=tokens, occurred_at=at, **duplicate)
            case _:
                row = event(project_id, meters=tokens, occurred_at=at, model=random.choice(MODELS))
        rows.append(row)
        match random.randrange(12):
            case 0 if row.price_status != "duplicate":
                make_duplicate(row, uuid.uuid4())
            case 1:
                detail(row, input=random.randrange(10**6), output=7)
                reprice(row, "0.000000000001")
            case 2 if row.price_status != "failed":
                reprice(row, str(Decimal(random.randrange(10**15)).scaleb(-12)))
    return rows


def plan_as_for_a_large_table() -> None:
    """Until the end of the test's transaction: the table may be known to be empty, and then reading all of it is
    best."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; DISCARD PLANS")
