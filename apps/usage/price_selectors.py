"""What prices an organization has, which it lacks, and what is on the lists. Callers are in its scope."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from django.db import connection
from django.utils import timezone

from apps.ledger.selectors.explanations import REASONS
from apps.pricing.book import Found, Match
from apps.pricing.meters import Meter
from apps.pricing.models import Discount, Price
from apps.pricing.selectors import current_book, discounts, load_terms, overrides, terms_version
from apps.pricing.terms import EVERY_MODEL, DiscountRow


@dataclass(frozen=True, slots=True)
class Agreed:
    """An own price, with a row for each meter, or a discount: from when until before when it holds."""

    provider: str
    # "" for all of the provider's.
    model: str
    prices: list[Price]
    percent: Decimal | None
    start: datetime | None
    end: datetime | None
    note: str
    author_id: uuid.UUID | None
    created_at: datetime | None

    @property
    def state(self) -> str:
        """coming, in force, or ended."""
        now = timezone.now()
        if self.end is not None and self.end <= now:
            return "ended"
        return "coming" if self.start is not None and self.start > now else "in force"

    @property
    def is_ended(self) -> bool:
        return self.state == "ended"


def own_prices(organization_id: uuid.UUID) -> list[Agreed]:
    """By provider and model, the newest first."""

    def period(price: Price) -> tuple[str, str, datetime | None, datetime | None]:
        return price.provider, price.canonical_model, price.effective.lower, price.effective.upper

    found = []
    for (provider, model, start, end), rows in groupby(overrides(organization_id), period):
        prices = list(rows)
        first = prices[0]
        name = "" if model == EVERY_MODEL else model
        found.append(Agreed(provider, name, prices, None, start, end, first.note, first.author_id, first.created_at))
    return _newest_first(found)


def own_discounts(organization_id: uuid.UUID) -> list[Agreed]:
    """By provider and model, the newest first."""

    def agreed(row: Discount) -> Agreed:
        percent, held = (1 - row.multiplier) * 100, row.effective
        return Agreed(
            row.provider, row.model, [], percent, held.lower, held.upper, row.note, row.author_id, row.created_at
        )

    return _newest_first(agreed(row) for row in discounts(organization_id))


def _newest_first(found: Iterable[Agreed]) -> list[Agreed]:
    by_time = sorted(found, key=lambda each: (each.start is not None, each.start), reverse=True)
    return sorted(by_time, key=lambda each: (each.provider, each.model))


class Unpriced(NamedTuple):
    """Calls of a model that have no cost, because no price is known."""

    provider: str
    model: str
    reasons: list[str]
    calls: int
    tokens: int
    first_seen: datetime
    last_seen: datetime

    @property
    def can_be_priced(self) -> bool:
        """Whether a price would help: a call needs a provider, a model, and quantities."""
        return bool(self.provider and self.model) and self.reasons != ["missing_usage"]

    @property
    def why(self) -> str:
        return " ".join(REASONS.get(reason, reason) for reason in self.reasons)


# Many models can be made up by a program; the queue shows those that matter most.
MOST_UNPRICED = 200

# Calls that stand without a price now, {of} which model.
_UNPRICED = """
    -- Unpriced on arrival, and as the last adjustment says. The index holds these.
    SELECT e.id, e.provider, e.model, e.occurred_at, COALESCE(last.price_reason, e.price_reason) AS reason,
           COALESCE(e.input_tokens, 0) + COALESCE(e.output_tokens, 0) AS tokens
      FROM ledger_usageevent e
      LEFT JOIN LATERAL (SELECT a.price_status, a.price_reason FROM ledger_adjustment a
                          WHERE a.event_id = e.id ORDER BY a.revision DESC LIMIT 1) AS last ON true
     WHERE e.price_status = 'unpriced' AND COALESCE(last.price_status, 'unpriced') = 'unpriced' AND {of}
    UNION ALL
    -- Priced or counted elsewhere on arrival, unpriced since.
    SELECT e.id, e.provider, e.model, e.occurred_at, a.price_reason,
           CASE WHEN e.price_status = 'duplicate' THEN 0
                ELSE COALESCE(e.input_tokens, 0) + COALESCE(e.output_tokens, 0) END
      FROM ledger_adjustment a JOIN ledger_usageevent e ON e.id = a.event_id
     WHERE a.price_status = 'unpriced' AND e.price_status <> 'unpriced' AND {of}
       AND NOT EXISTS (SELECT FROM ledger_adjustment later
                        WHERE later.event_id = a.event_id AND later.revision > a.revision)
"""


def unpriced() -> list[Unpriced]:
    """Models whose calls stand without a price now, those with most calls first. It reads every such call, so it is for
    the one page that lists them."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH now AS ({_UNPRICED.format(of="true")})
            SELECT now.provider, now.model, array_agg(DISTINCT now.reason ORDER BY now.reason), count(*),
                   sum(now.tokens + COALESCE(changed.tokens, 0))::bigint, min(now.occurred_at), max(now.occurred_at)
              FROM now
              LEFT JOIN LATERAL (SELECT sum(COALESCE(a.input_tokens, 0) + COALESCE(a.output_tokens, 0)) AS tokens
                                   FROM ledger_adjustment a WHERE a.event_id = now.id) AS changed ON true
             GROUP BY now.provider, now.model
             ORDER BY count(*) DESC, now.provider, now.model
             LIMIT %s
            """,
            [MOST_UNPRICED],
        )
        return [Unpriced(*row) for row in cursor.fetchall()]


def first_unpriced(provider: str, model: str) -> datetime | None:
    """When the first call of a model that stands without a price began. It reads those of this model."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT min(now.occurred_at)
              FROM ({_UNPRICED.format(of="e.provider = %(provider)s AND e.model = %(model)s")}) AS now
            """,
            {"provider": provider, "model": model},
        )
        found: list[tuple[datetime | None]] = cursor.fetchall()
    return found[0][0]


# What a number beside a tab may cost: so many models are looked at, and so many calls of each from either end.
MOST_COUNTED = 500
LOOKED_AT = 20


def count_unpriced() -> int:
    """How many models have calls without a price now: for a number beside a tab, at a bounded cost.

    A price with a start or an end leaves calls before or after it without one, so a model's first and last LOOKED_AT
    calls are looked at; one whose calls wait only between those is missed, as are models after MOST_COUNTED.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH RECURSIVE model AS (
                -- From one model to the next through the index of calls that were unpriced on arrival.
                (SELECT e.provider, e.model FROM ledger_usageevent e WHERE e.price_status = 'unpriced'
                  ORDER BY e.provider, e.model LIMIT 1)
                UNION ALL
                SELECT next.provider, next.model
                  FROM model CROSS JOIN LATERAL (
                       SELECT e.provider, e.model FROM ledger_usageevent e
                        WHERE e.price_status = 'unpriced' AND (e.provider, e.model) > (model.provider, model.model)
                        ORDER BY e.provider, e.model LIMIT 1) AS next)
            SELECT count(*) FROM (
                SELECT provider, model FROM (TABLE model LIMIT %(models)s) AS model
                 WHERE {_waits("ASC")} OR {_waits("DESC")}
                UNION
                -- Priced or counted elsewhere on arrival, unpriced since: among the latest.
                SELECT e.provider, e.model
                  FROM (SELECT a.event_id, a.revision FROM ledger_adjustment a WHERE a.price_status = 'unpriced'
                         ORDER BY a.event_id DESC LIMIT %(calls)s) AS a
                  JOIN ledger_usageevent e ON e.id = a.event_id
                 WHERE NOT EXISTS (SELECT FROM ledger_adjustment later
                                    WHERE later.event_id = a.event_id AND later.revision > a.revision)) AS found
            """,
            {"models": MOST_COUNTED, "calls": LOOKED_AT},
        )
        [(found,)] = cursor.fetchall()
    return int(found)


def _waits(order: str) -> str:
    """Whether one of a model's first calls in the order, of those unpriced on arrival, still is."""
    return f"""
        EXISTS (SELECT FROM (SELECT e.id FROM ledger_usageevent e
                              WHERE e.price_status = 'unpriced' AND e.provider = model.provider
                                AND e.model = model.model
                              ORDER BY e.id {order} LIMIT %(calls)s) AS e
                 WHERE COALESCE((SELECT a.price_status FROM ledger_adjustment a WHERE a.event_id = e.id
                                  ORDER BY a.revision DESC LIMIT 1), 'unpriced') = 'unpriced')
    """


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a call of a model would be priced by now. `found` is None where the lists have none; `reason` says why."""

    found: Found | None
    source: str
    prices: list[Price]
    reason: str
    is_routed: bool
    has_own_price: bool
    discount: DiscountRow | None

    @property
    def percent(self) -> Decimal:
        return Decimal(0) if self.discount is None else (1 - self.discount.multiplier) * 100


def look_up(organization_id: uuid.UUID, provider: str, model: str) -> Lookup:
    match, now = current_book().find(provider, model, None), timezone.now()
    # Not those at hand, which may be half a minute old: a price that was set a moment ago is looked for.
    terms = load_terms(organization_id, terms_version(organization_id))
    override = terms.override(match, provider, model, None, now, {})
    discount = terms.discount(match, provider, model, None, now) if isinstance(match.found, Found) else None
    if not isinstance(match.found, Found):
        reason = REASONS.get(match.found.value, match.found.value)
        return Lookup(None, "", [], reason, match.routed, override is not None, discount)
    found, routed, rows = _in_force(match, now)
    source = found.rule.removeprefix("list:")
    return Lookup(found, source, rows, "", routed, override is not None, discount)


def _in_force(match: Match, now: datetime) -> tuple[Found, bool, list[Price]]:
    """In the first list that has prices at the moment."""
    assert isinstance(match.found, Found)
    candidates = [(match.found, match.routed), *match.others]
    for found, routed in candidates:
        rows = Price.objects.filter(
            organization_id=None,
            source=found.rule.removeprefix("list:"),
            provider=found.provider,
            canonical_model=found.model,
            effective__contains=now,
        )
        if not found.has_variants:
            rows = rows.filter(variant={})
        prices = list(rows.select_related("snapshot").defer("snapshot__document"))
        if prices:
            return found, routed, sorted(prices, key=_order)
    return match.found, match.routed, []


_PLACES = {meter.value: place for place, meter in enumerate((Meter.INPUT, Meter.OUTPUT, *Meter))}


def _order(price: Price) -> tuple[bool, list[tuple[str, str]], bool, int, int]:
    """Ordinary prices first; those of variants and of hours after them."""
    return (
        bool(price.variant),
        sorted(price.variant.items()),
        price.tod_start is not None,
        _PLACES.get(price.meter, 0),
        price.tier_above,
    )
