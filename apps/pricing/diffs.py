"""What a snapshot would change in the price table, in words for a person and numbers for a rule.

A diff is a JSON object: {"changes": [change, …], "models_new": [name, …], "models_gone": [name, …],
"rules": [name, …]}, names as "provider:model". A change is {"model", "meter", "tier_above", "variant", "hours", "from",
"kind": "opened" | "changed" | "closed", "old", "new", "percent"}; prices are text, of one unit the meter is priced
in, `percent` is text with one decimal place, and null stands for what is not known. `from` is null where the change
counts from its approval. Models that are gone upstream keep their prices.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from apps.pricing.feeds.base import Alias, PriceKey, Rate, Segment
from apps.pricing.meters import ANCESTORS
from apps.pricing.timeline import Revision, Standing

Diff = dict[str, Any]
Table = Mapping[PriceKey, Sequence[Standing]]


def diff_of(table: Table, listed: Mapping[PriceKey, Sequence[Segment]], revision: Revision, at: datetime) -> Diff:
    """The prices' part of a diff. `revision` is what the listing makes of the table when approved `at`."""
    known = {(key.provider, key.model) for key in table}
    listed_models = {(key.provider, key.model) for key in listed}
    changes = []
    reopened: set[tuple[PriceKey, datetime | None]] = set()
    keys = {row.price_id: key for key, rows in table.items() for row in rows}
    ends = {(keys[closing.price_id], closing.end) for closing in revision.closings}
    for key, segment in revision.openings:
        if (key.provider, key.model) not in known:
            continue
        reopened.add((key, segment.start))
        old = _before(table, key, segment.start)
        kind = "changed" if (key, segment.start) in ends else "opened"
        changes.append(_change(key, kind, segment.start, at, old, segment.rate))
    rates = {row.price_id: row.rate for rows in table.values() for row in rows}
    for closing in revision.closings:
        key = keys[closing.price_id]
        if (key, closing.end) not in reopened:
            changes.append(_change(key, "closed", closing.end, at, rates[closing.price_id], None))
    changes.sort(key=lambda change: (change["model"], change["meter"], change["tier_above"], str(change)))
    return {
        "changes": changes,
        "models_new": _names(listed_models - known),
        "models_gone": _names(known - listed_models),
    }


def changed_rules(standing: Iterable[Alias], listed: Iterable[Alias]) -> list[str]:
    """Models that are in force with another rule than the listed one; new models have none."""
    rules = {_whose(alias): alias.rule for alias in standing}
    return sorted(
        f"{alias.provider}: {alias.canonical_provider}:{alias.canonical_model}"
        for alias in listed
        if rules.get(_whose(alias), alias.rule) != alias.rule
    )


def _whose(alias: Alias) -> tuple[str, str, str]:
    return alias.provider, alias.canonical_provider, alias.canonical_model


def is_small(diff: Diff, *, percent: int, changes: int) -> bool:
    """Whether the rule lets a snapshot approve itself: nothing ends, at most so many changes, none by more percent.

    A model that is gone upstream keeps its prices, but somebody should know: it counts as something that ends.
    """
    if diff["models_gone"] or len(diff["changes"]) + len(diff["rules"]) > changes:
        return False
    return all(
        change["kind"] != "closed" and change["percent"] is not None and abs(Decimal(change["percent"])) <= percent
        for change in diff["changes"]
    )


def _names(models: Iterable[tuple[str, str]]) -> list[str]:
    return sorted(f"{provider}:{model}" for provider, model in models)


def _change(
    key: PriceKey, kind: str, start: datetime | None, at: datetime, old: Rate | None, new: Rate | None
) -> dict[str, Any]:
    hours = "" if key.tod_start is None else f"{key.tod_start:%H:%M}-{key.tod_end:%H:%M}"
    return {
        "model": f"{key.provider}:{key.model}",
        "meter": key.meter.value,
        "tier_above": key.tier_above,
        "variant": dict(key.variant),
        "hours": hours,
        "from": None if start is None or start == at else start.isoformat(),
        "kind": kind,
        "old": _text(old),
        "new": _text(new),
        "percent": _percent(old, new),
    }


def _text(rate: Rate | None) -> str | None:
    return None if rate is None else f"{rate.unit_price.normalize():f} {rate.currency}/{rate.per}"


def _percent(old: Rate | None, new: Rate | None) -> str | None:
    if old is None or new is None or old.currency != new.currency:
        return None
    before, after = old.unit_price / old.per, new.unit_price / new.per
    if not before:
        return "0.0" if not after else None
    return str(((after - before) / before * 100).quantize(Decimal("0.1")))


def _before(table: Table, key: PriceKey, moment: datetime | None) -> Rate | None:
    """What the same usage cost until then: at its own price, or as standard, below the tier, or as its parent."""
    for meter in (key.meter, *ANCESTORS[key.meter]):
        for tier_above in dict.fromkeys((key.tier_above, 0)):
            for variant in dict.fromkeys((key.variant, ())):
                for hours in dict.fromkeys((key[5:], PriceKey("", "", key.meter)[5:])):
                    kin = PriceKey(key.provider, key.model, meter, tier_above, variant, *hours)
                    for row in table.get(kin, ()):
                        if _just_before(row, moment):
                            return row.rate
    return None


def _just_before(row: Standing, moment: datetime | None) -> bool:
    """Whether the row was in force right before the moment, as a row that ends there was."""
    if moment is None:
        return row.start is None
    return (row.start is None or row.start < moment) and (row.end is None or moment <= row.end)
