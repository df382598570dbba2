"""What calls cost: the page's numbers. Amounts of different currencies are never added: each comes by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from urllib.parse import urlencode

import msgspec

from apps.analytics.asking import Calls, amount, local, together
from apps.analytics.charts import Chart, stacked
from apps.analytics.distributions import Distribution
from apps.analytics.insights import HISTORY, Forecast, Spent, Why, decompose, forecast
from apps.analytics.periods import DAY
from apps.analytics.selectors import Dimension, Granularity, Key, distributions, grouped, spent, summed
from apps.ledger.calls import Ending
from apps.ledger.selectors import Totals

MOST_LISTED = 8


@dataclass(frozen=True, slots=True)
class Figures:
    """What a stretch of time comes to. `slowest` is the duration (ms) that 95 % of the calls stay below."""

    totals: Totals
    errors: int
    slowest: float | None

    @property
    def error_share(self) -> Decimal:
        return Decimal(self.errors) / self.totals.calls if self.totals.calls else Decimal(0)


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a top list. `share` is the part, 0 to 1, of all that its list is ordered by."""

    label: str
    totals: Totals
    share: float
    page_query: str
    rows_query: str


@dataclass(frozen=True, slots=True)
class Top:
    title: str
    items: Sequence[Item]
    others: int


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the cost in a currency changed, and which models changed it most: (name, change)."""

    currency: str
    before: Decimal
    after: Decimal
    why: Why
    models: Sequence[tuple[str, Decimal]]


@dataclass(frozen=True, slots=True)
class Overview:
    now: Figures
    before: Figures | None
    today: Totals
    month: Totals
    forecasts: Mapping[str, Forecast | None]
    charts: Sequence[Chart]
    tops: Sequence[Top]
    reasons: Sequence[Reason]
    # Addresses of the ledger, by what is behind them.
    links: Mapping[str, str]


TOPS = {
    Dimension.PROJECT: "Projects",
    Dimension.PROVIDER: "Providers",
    Dimension.MODEL: "Models",
    Dimension.CLIENT: "Clients",
    Dimension.PROVIDER_KEY: "Provider keys",
    Dimension.OPERATION: "Operations",
}


def overview(calls: Calls, *, by: Dimension, measure: str) -> Overview:
    statuses, *tops = grouped(calls.question(), [(Dimension.STATUS,), *((each,) for each in TOPS)])
    now = _figures(statuses, distributions(calls.question(), ("durations",))["durations"].whole)
    before = None
    if calls.before:
        before = _figures(
            calls.before_grouped(Dimension.STATUS), calls.before_distributions(("durations",))["durations"]
        )
        # What came from nothing has not changed by any share.
        before = before if before.totals.calls else None
    today, month, forecasts = _month(calls)
    return Overview(
        now=now,
        before=before,
        today=today,
        month=month,
        forecasts=forecasts,
        charts=stacked(calls, by, measure),
        tops=[_top(calls, *top, found, now.totals) for top, found in zip(TOPS.items(), tops, strict=True)],
        reasons=_reasons(calls) if before is not None and now.totals.calls else [],
        links={
            "calls": calls.rows_query(),
            "errors": calls.rows_query({"ending": Ending.ERROR.value}),
            "unpriced": calls.rows_query({"status": "unpriced"}),
            "today": urlencode({"period": "today", **calls.form.asked}),
            "month": urlencode({"period": "month", **calls.form.asked}),
        },
    )


def _figures(statuses: Mapping[Key, Totals], whole: Distribution) -> Figures:
    errors = statuses.get((Ending.ERROR.value,))
    return Figures(together(statuses.values()), errors.calls if errors else 0, whole.quantile(0.95))


def _month(calls: Calls) -> tuple[Totals, Totals, dict[str, Forecast | None]]:
    """Today, this month until now, and what that may become; of the same calls, whatever the period is."""
    today = calls.now.date()
    first = min(today.replace(day=1), today - timedelta(days=HISTORY))
    bounds = {"start": calls.period.begin(first), "end": calls.period.begin(today + DAY)}
    rows = summed(calls.question(Granularity.DAY, of=msgspec.structs.replace(calls.wanted, **bounds)))
    days = {local(row, calls).date(): row.totals for row in rows}
    month = together(totals for day, totals in days.items() if day >= today.replace(day=1))
    forecasts = {
        currency: forecast({day: totals.costs.get(currency, Decimal(0)) for day, totals in days.items()}, calls.now)
        for currency in sorted(month.costs)
    }
    return days.get(today, together([])), month, forecasts


def _top(calls: Calls, dimension: Dimension, title: str, every: Mapping[Key, Totals], whole: Totals) -> Top:
    # What duplicates alone name is nobody's call.
    found = {key: totals for key, totals in every.items() if totals.calls}
    # Of several currencies the one that most calls' costs are in can't be known: the first by name.
    unit = min(whole.costs, default="calls")
    if not whole.costs.get(unit):
        unit = "calls"
    ranked = sorted(found.items(), key=lambda one: (-amount(one[1], unit), -one[1].calls, str(one[0])))
    most = max(amount(whole, unit), 1) if unit == "calls" else amount(whole, unit)
    items = []
    for (value,), totals in ranked[:MOST_LISTED]:
        named = calls.named(dimension, value)
        items.append(
            Item(
                named.label,
                totals,
                float(amount(totals, unit)) / float(most),
                "" if named.narrow is None else calls.page_query(named.narrow),
                "" if named.narrow is None else calls.rows_query(named.narrow),
            )
        )
    return Top(title, items, max(0, len(ranked) - MOST_LISTED))


def _reasons(calls: Calls) -> list[Reason]:
    by = (Dimension.PROVIDER, Dimension.MODEL)
    now, before = spent(calls.question(by=by)), calls.before_spent(*by)
    found = []
    for currency in sorted(now.keys() | before.keys()):
        after_groups, before_groups = now.get(currency, {}), before.get(currency, {})
        changes = {
            key: _cost_of(after_groups, key) - _cost_of(before_groups, key)
            for key in after_groups.keys() | before_groups.keys()
        }
        most = sorted(changes, key=lambda key: (-abs(changes[key]), str(key)))[:3]
        found.append(
            Reason(
                currency,
                sum((one.cost for one in before_groups.values()), Decimal(0)),
                sum((one.cost for one in after_groups.values()), Decimal(0)),
                decompose(before_groups, after_groups),
                [(calls.named(Dimension.MODEL, key[1]).label, changes[key]) for key in most if changes[key]],
            )
        )
    return found


def _cost_of(groups: Mapping[Key, Spent], key: Key) -> Decimal:
    return groups[key].cost if key in groups else Decimal(0)
