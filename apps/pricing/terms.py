"""An organization's own prices and discounts, laid over the book of list prices.

Pure data in, no database, like the book. Own prices come first: one that holds at the moment of a call is used alone.
A discount changes the list price that was found, never an own price.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from apps.pricing.book import Found, Match, ModelPrices, Row, Sheet, spellings
from apps.pricing.providers import canonical, router_provider

# Stands for all models of a provider, in own prices and in discounts.
EVERY_MODEL = "*"


class DiscountRow(NamedTuple):
    """A factor on list prices, in force from `start` until before `end`. `model` lower case, or EVERY_MODEL."""

    discount_id: int
    provider: str
    model: str
    start: datetime | None
    end: datetime | None
    multiplier: Decimal

    def holds(self, at: datetime) -> bool:
        return (self.start is None or self.start <= at) and (self.end is None or at < self.end)


class Override(NamedTuple):
    """An own price that holds. `by_request`, `routed`: as in the book's Match."""

    sheet: Sheet
    missed: bool
    provider: str
    model: str
    by_request: bool
    routed: bool


class _Name(NamedTuple):
    """A way to name a call's model, lower case."""

    provider: str
    model: str
    by_request: bool
    routed: bool


class Terms:
    """What one organization agreed on with its providers. Safe to share between threads, like a Book."""

    # Names remembered, in the place of which a customer may send any.
    MEMORY = 1_024

    __slots__ = ("_discounts", "_names", "_overrides", "version")

    def __init__(self, version: int, rows: Iterable[Row], discounts: Iterable[DiscountRow]) -> None:
        """`rows` are own prices, with EVERY_MODEL or a lower-case name as their model."""
        self.version = version
        models: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            models.setdefault((row.key.provider, row.key.model), []).append(row)
        self._overrides = {model: ModelPrices(rows) for model, rows in models.items()}
        self._discounts: dict[tuple[str, str], list[DiscountRow]] = {}
        for discount in discounts:
            self._discounts.setdefault((discount.provider, discount.model), []).append(discount)
        self._names: dict[tuple[str, str, str | None, str], tuple[_Name, ...]] = {}

    def override(
        self,
        match: Match,
        provider: str,
        model: str,
        request_model: str | None,
        at: datetime,
        variant: Mapping[str, str],
    ) -> Override | None:
        """The own prices that hold for a call, `match` being what the book has for it."""
        if not self._overrides:
            return None
        for name in self._names_of(match, provider, model, request_model):
            prices = self._overrides.get((name.provider, name.model))
            if prices is not None:
                sheet, missed = prices.sheet(at, variant)
                if sheet.charges:
                    return Override(sheet, missed, *name)
        return None

    def discount(
        self, match: Match, provider: str, model: str, request_model: str | None, at: datetime
    ) -> DiscountRow | None:
        """The discount that holds for a call: one for the model before one for all of the provider's."""
        if not self._discounts:
            return None
        for name in self._names_of(match, provider, model, request_model):
            for discount in self._discounts.get((name.provider, name.model), ()):
                if discount.holds(at):
                    return discount
        return None

    def _names_of(self, match: Match, provider: str, model: str, request_model: str | None) -> tuple[_Name, ...]:
        listed = match.found.model if isinstance(match.found, Found) else ""
        key = (provider, model, request_model, listed)
        names = self._names.get(key)
        if names is None:
            names = tuple(dict.fromkeys(_names(match, provider, model, request_model)))
            if len(self._names) >= self.MEMORY:
                self._names.clear()
            self._names[key] = names
        return names


def _names(match: Match, provider: str, model: str, request_model: str | None) -> Iterable[_Name]:
    """The names under which an organization may have put a call's model, the most exact first.

    As the response named it, as the price list does, and, where the response's name leads nowhere, as it was asked
    for; then all models of the provider. Of a router's model, what it says of who serves it counts likewise.
    """
    billed = canonical(provider)
    called = [(model.strip().lower(), False)]
    if request_model and (match.by_request or not isinstance(match.found, Found)):
        called.append((request_model.strip().lower(), True))
    listed = match.found.model.lower() if isinstance(match.found, Found) else ""
    routes = [target for name, _ in called if (target := router_provider(billed, name))]
    for name, by_request in called:
        if name:
            for spelling in spellings(billed, name):
                yield _Name(billed, spelling, by_request, routed=False)
    if listed:
        yield _Name(billed, listed, match.by_request, routed=False)
    for name, by_request in called:
        if target := router_provider(billed, name):
            for spelling in spellings(*target):
                yield _Name(target[0], spelling, by_request, routed=True)
    if listed:
        for target in routes:
            yield _Name(target[0], listed, match.by_request, routed=True)
    yield _Name(billed, EVERY_MODEL, match.by_request, routed=False)
    for target in routes:
        yield _Name(target[0], EVERY_MODEL, match.by_request, routed=True)
