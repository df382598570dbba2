"""What a snapshot would change in the price table, in words for a person and numbers for a rule.

A diff is a JSON object, names in it as "provider:model":

- "changes": [change, …], of models that have a price, and of names that become another model;
- "names": [{"name", "old", "new"}, …], known names that become another model, each with its list: "provider:model
  (genai-prices)"; "new" is null where they lose theirs;
- "rules": [name, …], models that get another rule or another place among the rules;
- "models_new": [name, …], with their prices in "prices_new": [change, …];
- "names_priced": [{"name", "old": null, "new"}, …], names that were called without a price, and get one;
- "models_gone": [name, …], gone upstream; they keep their prices.

A change is {"model", "meter", "tier_above", "variant", "hours", "from", "kind": "opened" | "changed" | "closed" |
"new", "old", "new", "percent"}; prices are text, of one unit the meter is priced in, `percent` is text with one decimal
place, and null stands for what is not known. `from` is null where the change counts from its approval.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from difflib import SequenceMatcher
from typing import Any

from apps.pricing.book import PriceList, Row
from apps.pricing.feeds.base import Alias, Listing, PriceKey, Rate, Segment
from apps.pricing.meters import ANCESTORS
from apps.pricing.names import Name, Resolution, changed_names, prices_by_name
from apps.pricing.timeline import Revision, Standing, revise

Diff = dict[str, Any]
Table = Mapping[PriceKey, Sequence[Standing]]

# What the rule counts.
COUNTED = ("changes", "names", "rules", "names_priced")
NOTHING: Diff = {
    "changes": [],
    "names": [],
    "rules": [],
    "models_new": [],
    "prices_new": [],
    "names_priced": [],
    "models_gone": [],
}


def diff_of(lists: Sequence[PriceList], place: int, listing: Listing, queued: Iterable[Name], at: datetime) -> Diff:
    """What `listing` would change if it were approved `at`: it renews the list at this place among all of them, which
    come in order of precedence. `queued` are names that were called and have no price."""
    current = lists[place]
    table: dict[PriceKey, list[Standing]] = {}
    for row in current.rows:
        table.setdefault(row.key, []).append(Standing(row.price_id, row.start, row.end, row.rate))
    revision = revise(table, listing.prices, at)
    renewed = [*lists[:place], _renewed(current, listing, revision), *lists[place + 1 :]]
    names = changed_names(lists, renewed, queued, at)
    changes = _price_changes(table, listing.prices, revision, at)
    for change in names:
        if change.old and change.new:
            old, new = prices_by_name(change)
            changes += _price_changes(old, new, revise(old, new, at), at)
    known = {(key.provider, key.model) for key in table}
    listed = {(key.provider, key.model) for key in listing.prices}
    return {
        "changes": _sorted(changes),
        "names": [_renamed(change) for change in names if change.old],
        "rules": _changed_rules(current.aliases, listing.aliases),
        "models_new": _names(listed - known),
        "prices_new": _sorted(
            _change(key, "new", segment.start, at, None, segment.rate)
            for key, segment in revision.openings
            if (key.provider, key.model) not in known
        ),
        "names_priced": [_renamed(change) for change in names if not change.old],
        "models_gone": _names(known - listed),
    }


def _renewed(current: PriceList, listing: Listing, revision: Revision) -> PriceList:
    """The list with the listing in force, as apps/pricing/services.py writes it."""
    listed = {_whose(alias) for alias in listing.aliases}
    aliases = [*listing.aliases, *(alias for alias in current.aliases if _whose(alias) not in listed)]
    ends = {closing.price_id: closing.end for closing in revision.closings}
    rows = [Row(*row[:3], ends.get(row.price_id, row.end), row.rate) for row in current.rows]
    rows = [row for row in rows if row.start is None or row.start != row.end]
    rows += [Row(0, key, segment.start, segment.end, segment.rate) for key, segment in revision.openings]
    return PriceList(current.source, aliases, rows)


def _price_changes(
    table: Table, listed: Mapping[PriceKey, Sequence[Segment]], revision: Revision, at: datetime
) -> list[dict[str, Any]]:
    """Of models that the table has. `revision` is what the listing makes of the table when approved `at`."""
    known = {(key.provider, key.model) for key in table}
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
    return changes


def _sorted(changes: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(changes, key=lambda change: (change["model"], change["meter"], change["tier_above"], str(change)))


def _changed_rules(standing: Sequence[Alias], listed: Sequence[Alias]) -> list[str]:
    """Models that are in force with another rule than the listed one, or out of the listed order; new models are
    neither."""
    rules = {_whose(alias): alias.rule for alias in standing}
    both = [alias for alias in listed if _whose(alias) in rules]
    changed = {_whose(alias) for alias in both if rules[_whose(alias)] != alias.rule} | _moved(standing, both)
    return sorted(f"{provider}: {owner}:{model}" for provider, owner, model in changed)


def _moved(standing: Sequence[Alias], listed: Sequence[Alias]) -> set[tuple[str, str, str]]:
    """The fewest models without which each provider's rules are in the order they were."""
    old: dict[str, list[tuple[str, str, str]]] = {}
    new: dict[str, list[tuple[str, str, str]]] = {}
    listed_models = {_whose(alias) for alias in listed}
    for order, aliases in ((old, standing), (new, listed)):
        for alias in aliases:
            if (whose := _whose(alias)) in listed_models:
                order.setdefault(alias.provider, []).append(whose)
    moved = set()
    for provider, models in new.items():
        matcher = SequenceMatcher(None, old[provider], models, autojunk=False)
        stayed = {place for block in matcher.get_matching_blocks() for place in range(block.b, block.b + block.size)}
        moved |= {model for place, model in enumerate(models) if place not in stayed}
    return moved


def _whose(alias: Alias) -> tuple[str, str, str]:
    return alias.provider, alias.canonical_provider, alias.canonical_model


def is_small(diff: Diff, *, percent: int, changes: int) -> bool:
    """Whether the rule lets a snapshot approve itself: nothing ends, at most so many changes, none by more percent.

    A model that is gone upstream keeps its prices, but somebody should know: it counts as something that ends.
    """
    ends = [change for change in diff["changes"] if change["kind"] == "closed"]
    ends += [name for name in diff["names"] if name["new"] is None]
    if ends or diff["models_gone"] or sum(len(diff[part]) for part in COUNTED) > changes:
        return False
    return all(
        change["percent"] is not None and abs(Decimal(change["percent"])) <= percent for change in diff["changes"]
    )


def is_same(one: Diff, other: Diff) -> bool:
    """Whether what has a price changes alike in both. Which names were called without one may differ: calls come in."""
    return all(one.get(part) == other[part] for part in NOTHING if part != "names_priced")


def size_of(diff: Diff) -> str:
    """How many of each, in one line."""
    words = {
        "changes": "prices",
        "names": "names of another model",
        "rules": "with other rules",
        "models_new": "models new",
        "names_priced": "names no longer without a price",
        "models_gone": "gone upstream",
    }
    return ", ".join(f"{len(diff.get(part, ()))} {what}" for part, what in words.items())


def lines_of(diff: Diff) -> Iterator[str]:
    """A line for each thing that changes, what matters most first: what ends or can't be compared, then by per cent."""
    yield from (f"without a price: {name['name']}, was {name['old']}" for name in diff["names"] if not name["new"])
    yield from (_line(change) for change in sorted(diff["changes"], key=_weight, reverse=True))
    for name in diff["names"]:
        if name["new"]:
            yield f"another model for {name['name']}: {name['old']} -> {name['new']}"
    yield from (f"gone upstream: {model}" for model in diff["models_gone"])
    yield from (f"other rule: {model}" for model in diff["rules"])
    yield from (f"no longer without a price: {name['name']}, as {name['new']}" for name in diff["names_priced"])
    yield from (f"new: {model}" for model in diff["models_new"])
    yield from (_line(change) for change in diff["prices_new"])


def _weight(change: Mapping[str, Any]) -> Decimal:
    return Decimal("Infinity") if change["percent"] is None else abs(Decimal(change["percent"]))


def _line(change: Mapping[str, Any]) -> str:
    details = [change["meter"], *(f"{name}={value}" for name, value in change["variant"].items())]
    details += [f"above {change['tier_above']}"] if change["tier_above"] else []
    details += [change["hours"]] if change["hours"] else []
    percent = "" if change["percent"] is None else f" ({Decimal(change['percent']):+} %)"
    since = f" from {change['from'][:10]}" if change["from"] else ""
    prices = f"{change['old'] or 'none'} -> {change['new'] or 'none'}"
    return f"{change['kind']} {change['model']} {', '.join(details)}: {prices}{percent}{since}"


def _renamed(change: Resolution) -> dict[str, str | None]:
    old, new = (
        found and f"{found.provider}:{found.model} ({found.rule.removeprefix('list:')})"
        for found in (change.old, change.new)
    )
    return {"name": ":".join(change.name), "old": old, "new": new}


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
