"""What a page asks the sums about the calls of its filter, what the answers are called, and where to look them up.

Callers are in the organization's scope and, for all of a page to agree, in one snapshot.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import msgspec

from apps.analytics.distributions import Distribution
from apps.analytics.filters import NO_KEY_CHOICE, NOTHING, PERIODS, DashboardForm
from apps.analytics.insights import Spent
from apps.analytics.names import Suggestions, provider_key_label
from apps.analytics.periods import DAY, Period, Stretch, bucket, following
from apps.analytics.selectors import (
    Dimension,
    Granularity,
    Key,
    Question,
    Sums,
    distributions,
    spent,
    summed,
    summed_days_of,
)
from apps.ledger.selectors import EventFilter, Totals
from apps.vault.models import ProviderKey
from apps.vault.providers import label_of

# Which field of the form, and of the ledger's, narrows by a dimension.
FIELDS: Mapping[Dimension, str] = {
    Dimension.PROJECT: "project",
    Dimension.PROVIDER: "provider",
    Dimension.MODEL: "model",
    Dimension.CLIENT: "client",
    Dimension.PROVIDER_KEY: "key",
    Dimension.OPERATION: "operation",
    Dimension.STATUS: "ending",
    Dimension.ERROR: "error",
}
_NOTHING: Mapping[Dimension, str] = {
    Dimension.PROVIDER: "no provider named",
    Dimension.MODEL: "no model named",
    Dimension.CLIENT: "no client named",
    Dimension.PROVIDER_KEY: "no key named",
    Dimension.OPERATION: "no operation named",
    Dimension.ERROR: "no type named",
}


@dataclass(frozen=True, slots=True)
class Named:
    """What people call a value of a dimension, and the form's field and value that mean it; None where none does."""

    label: str
    narrow: Mapping[str, str] | None


class Calls:
    """The calls that a page is about, and what is asked of them."""

    def __init__(self, form: DashboardForm, known: Suggestions, now: datetime) -> None:
        self.form, self.known, self.now = form, known, now
        self.wanted, self.zone = form.wanted(), form.zone
        self._days_of = summed_days_of()
        first, last = form.days
        self.is_bounded = first is not None
        if first is None:
            first = self._first_day() or now.date()
        self.period = Period(first, last or max(first, now.date()), now)
        self.before = self.period.before() if self.is_bounded and form.compares else []
        self._keys: dict[Any, str] | None = None

    def _first_day(self) -> date | None:
        """Of all time, the first with calls; by months, which are few."""
        months = summed(self.question(Granularity.MONTH))
        if not months or months[0].starts_at is None:
            return None
        end = following(months[0].starts_at.astimezone(self.zone), Granularity.MONTH)
        days = summed(self.question(Granularity.DAY, of=msgspec.structs.replace(self.wanted, end=end)))
        return days[0].starts_at.astimezone(self.zone).date() if days and days[0].starts_at else None

    def question(
        self, granularity: Granularity | None = None, by: tuple[Dimension, ...] = (), *, of: EventFilter | None = None
    ) -> Question:
        """About the page's calls, or those `of` another filter."""
        return Question(self.wanted if of is None else of, self.zone, granularity, by, self._days_of)

    def before_grouped(self, *by: Dimension) -> dict[Key, Totals]:
        found: dict[Key, list[Totals]] = {}
        for row in self._of_before(lambda wanted: summed(self.question(by=by, of=wanted))):
            found.setdefault(row.key, []).append(row.totals)
        return {key: together(parts) for key, parts in found.items()}

    def before_spent(self, *by: Dimension) -> dict[str, dict[Key, Spent]]:
        found: dict[str, dict[Key, Spent]] = {}
        for stretch in self.before:
            for currency, groups in spent(self.question(by=by, of=self._within(stretch))).items():
                into = found.setdefault(currency, {})
                for key, more in groups.items():
                    old = into.get(key, Spent(Decimal(0), 0))
                    into[key] = Spent(old.cost + more.cost, old.tokens + more.tokens)
        return found

    def before_distributions(self, measures: Sequence[str]) -> dict[str, Distribution]:
        wholes = dict.fromkeys(measures, Distribution())
        for stretch in self.before:
            for measure, part in distributions(self.question(of=self._within(stretch)), measures).items():
                wholes[measure] += part.whole
        return wholes

    def before_over_time(self) -> list[Sums]:
        granularity = self.period.granularity
        return self._of_before(lambda wanted: summed(self.question(granularity, of=wanted)))

    def _of_before(self, ask: Callable[[EventFilter], list[Sums]]) -> list[Sums]:
        return [row for stretch in self.before for row in ask(self._within(stretch))]

    def _within(self, stretch: Stretch) -> EventFilter:
        return msgspec.structs.replace(self.wanted, start=stretch.start, end=stretch.end)

    # --- Names and addresses ---

    @property
    def period_label(self) -> str:
        """Last 30 days; 1 May to 4 May 2026."""
        chosen = self.form.cleaned_data["period"]
        if chosen != "custom":
            return dict(PERIODS)[chosen]
        first, last = self.form.days
        return in_words(first, last)

    @property
    def before_label(self) -> str:
        """The days before, and until which time of the last one."""
        first, last = self.before[0].start, self.before[-1].end
        is_whole = bucket(last, Granularity.DAY) == last
        days = in_words(first.date(), last.date() - DAY if is_whole else last.date())
        return days if is_whole else f"{days}, {last:%H:%M}"

    @property
    def measure_label(self) -> str:
        return self.form.measure.capitalize()

    def named(self, dimension: Dimension, value: Any) -> Named:
        """How a value is called, and what narrows by it."""
        name = FIELDS[dimension]
        match dimension:
            case Dimension.PROJECT:
                label = self.form.projects.get(value)
                return Named(label, {name: str(value)}) if label else Named("a project that is gone", None)
            case Dimension.PROVIDER_KEY if value is None:
                return Named(_NOTHING[dimension], {name: NO_KEY_CHOICE})
            case Dimension.PROVIDER_KEY:
                label = self._provider_keys().get(value)
                return Named(label, {name: str(value)}) if label else Named("a key that is gone", None)
            case Dimension.STATUS:
                return Named({"ok": "as it should", "error": "with an error"}.get(value, value), {name: value})
        if not value:
            return Named(_NOTHING[dimension], {name: NOTHING})
        return Named(label_of(value) if dimension is Dimension.PROVIDER else value, {name: value})

    def _provider_keys(self) -> dict[Any, str]:
        if self._keys is None:
            self._keys = {
                key.id: f"{provider_key_label(key)} of {self.form.projects.get(key.project_id, '…')}"
                for key in ProviderKey.objects.all()
            }
        return self._keys

    def all_labels(self, dimension: Dimension) -> list[str]:
        """What values there are, whatever is filtered: colours go by their order."""
        match dimension:
            case Dimension.PROJECT:
                return list(self.form.projects.values())
            case Dimension.PROVIDER:
                return [label_of(name) for name in self.known.providers]
            case Dimension.MODEL:
                return self.known.models
            case _:
                return self.known.clients

    def rows_query(self, narrow: Mapping[str, str] | None = None, start: datetime | None = None) -> str:
        """The ledger's address, without its path, of the calls of the period or of a stretch of it."""
        return joined(self._stretch_query(start), urlencode({**self.form.asked, **(narrow or {})}))

    def rows_queries(
        self, narrowings: Sequence[Mapping[str, str] | None], starts: Sequence[datetime]
    ) -> list[list[str]]:
        """`rows_query` of each stretch by each narrowing; "" for one that nothing narrows by."""
        chosen = [None if narrow is None else urlencode({**self.form.asked, **narrow}) for narrow in narrowings]
        return [
            ["" if each is None else joined(stretch, each) for each in chosen]
            for stretch in map(self._stretch_query, starts)
        ]

    def _stretch_query(self, start: datetime | None) -> str:
        if start is None:
            return urlencode(self.form.asked_period)
        if self.period.granularity is Granularity.HOUR:
            return urlencode({"hour": f"{start.astimezone(UTC):%Y-%m-%dT%H:%MZ}"})
        last = following(start, self.period.granularity).date() - DAY
        return urlencode({"from": max(start.date(), self.period.first), "to": min(last, self.period.last)})

    def page_query(self, narrow: Mapping[str, str]) -> str:
        """This page's address, narrowed."""
        return urlencode({**self.form.asked_period, **self.form.asked_view, **self.form.asked, **narrow})


def joined(*queries: str) -> str:
    return "&".join(filter(None, queries))


def local(row: Sums, calls: Calls) -> datetime:
    assert row.starts_at is not None
    return row.starts_at.astimezone(calls.zone)


def in_words(first: date | None, last: date | None) -> str:
    """1 May to 4 May 2026."""
    if first is None or last is None:
        return f"Since {_day(first)}" if first else f"Until {_day(last)}" if last else "All time"
    if first == last:
        return _day(last)
    return f"{_day(first) if first.year != last.year else f'{first.day} {first:%B}'} to {_day(last)}"


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def together(parts: Iterable[Totals]) -> Totals:
    """Sums of stretches that do not overlap, added."""
    meters: dict[Any, Any] = {}
    costs: dict[Any, Any] = {}
    adjusted: dict[Any, Any] = {}
    counts = dict.fromkeys(
        ("events", "calls", "failed", "unpriced", "duplicates", "tokens", "unpriced_tokens", "adjustments"), 0
    )
    for part in parts:
        for name in counts:
            counts[name] += getattr(part, name)
        for into, amounts in ((meters, part.meters), (costs, part.costs), (adjusted, part.adjusted_costs)):
            for key, amount in amounts.items():
                into[key] = into.get(key, 0) + amount
    return Totals(**counts, meters=meters, costs=costs, adjusted_costs=adjusted)


def amount(totals: Totals, unit: str) -> Decimal | int:
    if unit == "calls":
        return totals.calls
    return totals.tokens if unit == "tokens" else totals.costs.get(unit, Decimal(0))
