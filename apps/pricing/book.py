"""The price table compiled for rating: which model a call is, and what each of its meters costs at a moment.

Pure data in, no database: apps/pricing/selectors.py fills a book and keeps it current. A book never changes; what
it works out on the way (model names, price sheets) it remembers, within bounds.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from apps.pricing.feeds.base import EVERY_DAY, Alias, PriceKey, Rate
from apps.pricing.matching import Matcher, compile_rule
from apps.pricing.meters import ANCESTORS, Meter
from apps.pricing.providers import SELF_HOSTED, canonical, router_provider


class Row(NamedTuple):
    """One row of the price table, in force from `start` until before `end`."""

    price_id: int
    key: PriceKey
    start: datetime | None
    end: datetime | None
    rate: Rate


class Rung(NamedTuple):
    """A price for calls with more than `above` input tokens. The fields of the row, ready to multiply."""

    above: int
    price_id: int
    unit_price: Decimal
    per: int
    minimum: int


class Charge(NamedTuple):
    """What a meter is charged as: its own price, or its nearest priced ancestor's. Highest tier first."""

    meter: Meter
    rungs: tuple[Rung, ...]


class Sheet(NamedTuple):
    """All prices of a model for one moment and variant."""

    charges: Mapping[Meter, Charge]
    currency: str
    # Asked-for variant names and values that no price is for.
    missed: bool
    # Two variants of the call name different prices for one meter, or the meters are priced in different
    # currencies: no vendor sells such a call, and there is no one sum.
    ambiguous: bool


class PriceList(NamedTuple):
    """What one source says. Its aliases in order of precedence."""

    source: str
    aliases: Sequence[Alias]
    rows: Sequence[Row]


class Found(NamedTuple):
    """A model of the book."""

    prices: "ModelPrices"
    provider: str
    model: str
    # Which list it stands in: "list:genai-prices".
    rule: str
    # Whether the provider asked is the one whose prices these are: another's discounts for batches and the like
    # are not its own.
    has_variants: bool


class Miss(StrEnum):
    """Why a call has no model in the book."""

    SELF_HOSTED = "self_hosted"
    UNKNOWN_PROVIDER = "unknown_provider"
    UNKNOWN_MODEL = "unknown_model"


class Hit(NamedTuple):
    """A model of one list. `routed`: the name said who serves it."""

    found: Found
    routed: bool


class Match(NamedTuple):
    """What a call's model is. `by_request`: found by the name asked for; `routed`: the name said who serves it.

    `others` are the same call's models in the lists that come after, for times when the first has no price.
    """

    found: Found | Miss
    by_request: bool
    routed: bool
    others: tuple[Hit, ...] = ()


class _Window(NamedTuple):
    """Hours of the day, UTC, on some weekdays (bit 0: Monday)."""

    start: time | None
    end: time | None
    weekdays: int

    def is_open(self, moment: datetime) -> bool:
        if not self.weekdays >> moment.weekday() & 1:
            return False
        if self.start is None or self.end is None:
            return True
        now = moment.time()
        if self.start <= self.end:
            return self.start <= now < self.end
        return now >= self.start or now < self.end


Items = frozenset[tuple[str, str]]
_NO_ITEMS: Items = frozenset()

# A call's ordinary form, as vendors' responses name it: priced without a variant, and nothing is missed.
ORDINARY: Items = frozenset(
    (
        ("processing", "standard"),
        ("service_tier", "auto"),
        ("service_tier", "default"),
        ("service_tier", "on_demand"),
        ("service_tier", "standard"),
        ("speed", "standard"),
    )
)
# Anthropic's responses name batches among the service tiers.
_SPELLINGS = {("service_tier", "batch"): ("processing", "batch")}


class ModelPrices:
    """One model's rows, and the sheets worked out from them so far."""

    __slots__ = ("_bounds", "_items", "_sheets", "_windows", "rows")

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._bounds = sorted({bound for row in rows for bound in (row.start, row.end) if bound is not None})
        self._items: Items = frozenset(item for row in rows for item in row.key.variant)
        self._windows = tuple({window for row in rows if (window := _window(row.key))})
        # At most: periods by combinations of known variants by states of the windows. A handful.
        self._sheets: dict[tuple[int, Items, tuple[bool, ...]], Sheet] = {}

    def sheet(self, at: datetime, variant: Mapping[str, str]) -> tuple[Sheet, bool]:
        """The prices at an aware moment, and whether part of the variant has none."""
        if self._windows:
            moment = at.astimezone(UTC)
            open_windows = tuple(window.is_open(moment) for window in self._windows)
        else:
            open_windows = ()
        known, missed = _NO_ITEMS, False
        if variant:
            items = {_SPELLINGS.get(item, item) for item in variant.items()}
            known = self._items & items
            missed = not known | ORDINARY >= items
        period = bisect_right(self._bounds, at) if self._bounds else 0
        key = (period, known, open_windows)
        sheet = self._sheets.get(key)
        if sheet is None:
            sheet = self._sheets[key] = self._work_out(*key)
        return sheet, missed or sheet.missed

    def _work_out(self, period: int, items: Items, open_windows: tuple[bool, ...]) -> Sheet:
        moment = self._bounds[period - 1] if period else None
        windows = {window for window, is_open in zip(self._windows, open_windows, strict=True) if is_open}
        ladders: dict[Meter, dict[tuple[int, bool, tuple[tuple[str, str], ...]], list[Row]]] = {}
        for row in self.rows:
            window = _window(row.key)
            if _covers(row, moment) and items.issuperset(row.key.variant) and (not window or window in windows):
                rank = (len(row.key.variant), window is not None, row.key.variant)
                ladders.setdefault(row.key.meter, {}).setdefault(rank, []).append(row)
        own: dict[Meter, tuple[Rung, ...]] = {}
        used: set[tuple[str, str]] = set()
        currencies: set[str] = set()
        ambiguous = False
        for meter, ranked in ladders.items():
            # The most specific variant wins, then hours over the whole day.
            best = max(ranked)
            used.update(item for rank in ranked for item in rank[2])
            rivals = [_rungs(rows) for rank, rows in ranked.items() if rank[:2] == best[:2]]
            ambiguous = ambiguous or any(_amounts(rival) != _amounts(rivals[0]) for rival in rivals)
            currencies.update(row.rate.currency for row in ranked[best])
            own[meter] = _rungs(ranked[best])
        charges = {
            meter: Charge(source, own[source])
            for meter in Meter
            if (source := next((kin for kin in (meter, *ANCESTORS[meter]) if kin in own), None)) is not None
        }
        missed = not used | ORDINARY >= items
        return Sheet(charges, min(currencies, default=""), missed, ambiguous or len(currencies) > 1)


def _window(key: PriceKey) -> _Window | None:
    if key.tod_start is None and key.weekday_mask == EVERY_DAY:
        return None
    return _Window(key.tod_start, key.tod_end, key.weekday_mask)


def _covers(row: Row, moment: datetime | None) -> bool:
    """Whether the row is in force at a bound of its model's rows; None stands for before the first."""
    if moment is None:
        return row.start is None
    return (row.start is None or row.start <= moment) and (row.end is None or moment < row.end)


def _rungs(rows: Iterable[Row]) -> tuple[Rung, ...]:
    rungs = [
        Rung(row.key.tier_above, row.price_id, _short(row.rate.unit_price), row.rate.per, row.rate.minimum)
        for row in rows
    ]
    return tuple(sorted(rungs, key=lambda rung: rung.above, reverse=True))


def _amounts(rungs: tuple[Rung, ...]) -> list[tuple[int, Decimal, int]]:
    return [(rung.above, rung.unit_price, rung.per) for rung in rungs]


def _short(price: Decimal) -> Decimal:
    """Without the zeros of the column's scale: 2.5000000000 → 2.5, and 600.0000000000 → 600, not 6E+2."""
    short = price.normalize()
    return short if short.as_tuple().exponent <= 0 else short.quantize(Decimal(1))  # type: ignore[operator]


class _Rule(NamedTuple):
    matches: Matcher
    found: Found


class Book:
    """Every model of the table, by the names that calls use.

    Safe to share between threads: its memories are single dictionary writes of values that any thread would
    work out alike.
    """

    # Distinct (provider, model) pairs remembered. A platform sees some hundreds; who sends more than this many
    # made-up names gets slower answers, not a bigger process.
    MEMORY = 8_192
    LONGEST_NAME = 256

    __slots__ = ("_found", "_lists", "_providers", "snapshot_id")

    def __init__(self, snapshot_id: int | None, lists: Iterable[PriceList]) -> None:
        """`snapshot_id` is the snapshot approved last. Lists in order of precedence: one that has a model's price
        hides it in all that come after."""
        self.snapshot_id = snapshot_id
        self._lists = [_compiled(prices) for prices in lists]
        self._providers = {provider for rules in self._lists for provider in rules}
        self._found: dict[tuple[str, str], Match] = {}

    def find(self, provider: str, model: str, request_model: str | None) -> Match:
        """The model that answered, or else the one asked for."""
        match = self._lookup(provider, model)
        if not isinstance(match.found, Miss) or not request_model or request_model == model:
            return match
        asked = self._lookup(provider, request_model)
        if isinstance(asked.found, Found) or match.found is Miss.UNKNOWN_PROVIDER:
            # Of two misses the one that knows more: a router's request names a vendor, its response may not.
            return Match(asked.found, by_request=True, routed=asked.routed, others=asked.others)
        return Match(match.found, by_request=False, routed=False)

    def _lookup(self, provider: str, model: str) -> Match:
        remembered = self._found.get((provider, model))
        if remembered is not None:
            return remembered
        found, routed, others = self._search(canonical(provider), model.strip().lower())
        match = Match(found, by_request=False, routed=routed, others=others)
        if len(provider) + len(model) <= self.LONGEST_NAME:
            if len(self._found) >= self.MEMORY:
                self._found.clear()
            self._found[provider, model] = match
        return match

    def _search(self, provider: str, model: str) -> "_Answer":
        """Canonical provider and lower-case model → what it is in the first list that has it, and in the others."""
        if provider in SELF_HOSTED:
            return Miss.SELF_HOSTED, False, ()
        if len(provider) + len(model) > self.LONGEST_NAME:
            return self._miss(provider), False, ()
        target = router_provider(provider, model)
        hits = tuple(hit for rules in self._lists if (hit := _hit(rules, provider, model, target)))
        if hits:
            return hits[0].found, hits[0].routed, hits[1:]
        if target and (target[0] in SELF_HOSTED or target[0] in self._providers):
            return self._miss(target[0]), True, ()
        return self._miss(provider), False, ()

    def _miss(self, provider: str) -> Miss:
        if provider in SELF_HOSTED:
            return Miss.SELF_HOSTED
        return Miss.UNKNOWN_MODEL if provider in self._providers else Miss.UNKNOWN_PROVIDER


_Rules = Mapping[str, Sequence[_Rule]]
_Answer = tuple[Found | Miss, bool, tuple[Hit, ...]]


def _compiled(prices: PriceList) -> _Rules:
    """A list's rules by provider, each with its model's prices."""
    models: dict[tuple[str, str], list[Row]] = {}
    for row in prices.rows:
        models.setdefault((row.key.provider, row.key.model), []).append(row)
    sheets = {model: ModelPrices(rows) for model, rows in models.items()}
    rules: dict[str, list[_Rule]] = {}
    for alias in prices.aliases:
        model = (alias.canonical_provider, alias.canonical_model)
        if model in sheets:
            own = alias.provider == alias.canonical_provider
            found = Found(sheets[model], *model, rule=f"list:{prices.source}", has_variants=own)
            rules.setdefault(alias.provider, []).append(_Rule(compile_rule(alias.rule), found))
    return rules


def _hit(rules: _Rules, provider: str, model: str, target: tuple[str, str] | None) -> Hit | None:
    """By the provider's own name of the model, or else by who serves it according to that name."""
    if found := _match(rules, provider, model):
        return Hit(found, routed=False)
    if target and (found := _match(rules, *target)):
        return Hit(found, routed=True)
    return None


def _match(rules: _Rules, provider: str, model: str) -> Found | None:
    own = rules.get(provider)
    if not own or not model:
        return None
    for name in spellings(provider, model):
        for rule in own:
            if rule.matches(name):
                return rule.found
    return None


_COMPACT_DATE = re.compile(r"-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


def spellings(provider: str, model: str) -> Iterable[str]:
    """The name, then other ways to write it that are as exact."""
    yield model
    # LiteLLM and OpenRouter write gpt-5.2-20251211 for gpt-5.2-2025-12-11.
    dashed = _COMPACT_DATE.sub(_dashed_date, model)
    if dashed != model:
        yield dashed
    # Google's resource names: models/{model}, projects/…/publishers/google/models/{model}.
    if provider == "google" and "/" in model:
        yield model.rpartition("/")[2]


def _dashed_date(match: re.Match[str]) -> str:
    try:
        return "-" + date(*map(int, match.groups())).isoformat()
    except ValueError:
        return match.group()
