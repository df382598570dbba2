"""Which model a name is, before and after a snapshot. Rules and their order decide that: a new model whose rule comes
first can take over names that others had, and what calls cost changes without a price that does.

Pure data in, no database.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from apps.pricing.book import Book, Found, PriceList, Row
from apps.pricing.feeds.base import PriceKey, Segment
from apps.pricing.timeline import Standing

# A provider and a name of a model, as calls have them: canonical, lower case.
Name = tuple[str, str]


class Resolution(NamedTuple):
    """What a name is, before and after; None: no model, so that calls are unpriced."""

    name: Name
    old: Found | None
    new: Found | None


def changed_names(
    before: Sequence[PriceList], after: Sequence[PriceList], queued: Iterable[Name], at: datetime
) -> list[Resolution]:
    """The known names that are another model after than before, by what holds `at` that moment.

    Known are the names that rules of both states list or look for, the models' own, and those that were `queued`:
    called without a price. A name that no call could be priced by is a change only if it was called.
    """
    queue = {(provider, name.lower()) for provider, name in queued}
    old, new = Book(None, before), Book(None, after)
    changes = []
    for name in sorted({*_listed(before), *_listed(after), *queue}):
        was, becomes = _model(old, name, at), _model(new, name, at)
        if _identity(was) != _identity(becomes) and (was or name in queue):
            changes.append(Resolution(name, was, becomes))
    return changes


def prices_by_name(change: Resolution) -> tuple[dict[PriceKey, list[Standing]], dict[PriceKey, list[Segment]]]:
    """The prices that calls by this name had, and those they get, as if the name were one model."""
    old: dict[PriceKey, list[Standing]] = {}
    for key, row in _rows(change.name, change.old):
        old.setdefault(key, []).append(Standing(row.price_id, row.start, row.end, row.rate))
    new: dict[PriceKey, list[Segment]] = {}
    for key, row in _rows(change.name, change.new):
        new.setdefault(key, []).append(Segment(row.start, row.end, row.rate))
    return old, new


def _rows(name: Name, found: Found | None) -> Iterator[tuple[PriceKey, Row]]:
    for row in found.prices.rows if found else ():
        # Another provider's batches and the like are none that this one sells.
        if found and (found.has_variants or not row.key.variant):
            key = row.key
            named = PriceKey(
                *name, key.meter, key.tier_above, key.variant, key.tod_start, key.tod_end, key.weekday_mask
            )
            yield named, row


def _listed(lists: Iterable[PriceList]) -> Iterator[Name]:
    for prices in lists:
        for alias in prices.aliases:
            yield alias.provider, alias.canonical_model.lower()
            for text in _texts(alias.rule):
                yield alias.provider, text.lower()


def _texts(rule: Mapping[str, Any]) -> Iterator[str]:
    """What a rule compares names with. The part of a name that it looks for is the likeliest name it finds."""
    for clause, value in rule.items():
        if clause in ("or", "and"):
            for part in value:
                yield from _texts(part)
        elif clause != "regex":
            yield value


def _model(book: Book, name: Name, at: datetime) -> Found | None:
    """As rating does: the first list that has the model, or the first that has a price for it at that moment."""
    match = book.find(*name, None)
    if not isinstance(match.found, Found):
        return None
    models = (match.found, *(other.found for other in match.others))
    return next((model for model in models if model.prices.sheet(at, {})[0].charges), match.found)


def _identity(found: Found | None) -> tuple[str, str, str] | None:
    return found and (found.rule, found.provider, found.model)
