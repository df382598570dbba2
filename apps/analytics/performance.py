"""How long calls take and how they fail: the page's numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec

from apps.analytics.asking import Calls
from apps.analytics.charts import MEASURES, Chart, lines, quantiles
from apps.analytics.distributions import Distribution
from apps.analytics.selectors import Dimension, Key, distributions, grouped, summed
from apps.ledger.calls import Ending

MOST_MODELS = 20
Quantiles = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Model:
    """`quantiles` by measure: of half, 95 % and 99 % of the calls."""

    label: str
    provider: str
    calls: int
    errors: int
    quantiles: Mapping[str, Quantiles]
    page_query: str = ""
    rows_query: str = ""
    errors_query: str = ""

    @property
    def error_share(self) -> Decimal:
        return Decimal(self.errors) / self.calls if self.calls else Decimal(0)


@dataclass(frozen=True, slots=True)
class Failure:
    label: str
    calls: int
    share: Decimal
    rows_query: str


@dataclass(frozen=True, slots=True)
class Performance:
    whole: Model
    before: Mapping[str, Quantiles]
    models: Sequence[Model]
    other_models: int
    charts: Sequence[Chart]
    failures: Sequence[Failure]
    # How many calls reported each measure.
    measured: Mapping[str, int]
    errors_query: str


def performance(calls: Calls) -> Performance:
    by = (Dimension.PROVIDER, Dimension.MODEL)
    numbers: dict[Key, list[int]] = {}
    for (provider, model, ending), totals in grouped(calls.question(), [(*by, Dimension.STATUS)])[0].items():
        own = numbers.setdefault((provider, model), [0, 0])
        own[0] += totals.calls
        own[1] += totals.calls if ending == Ending.ERROR.value else 0
    ranked = sorted(numbers, key=lambda key: (-numbers[key][0], key))
    shown = ranked[:MOST_MODELS]
    measured = distributions(calls.question(calls.period.granularity, by), tuple(MEASURES), keys=frozenset(shown))
    before = calls.before_distributions(tuple(MEASURES)) if calls.before else {}
    wholes = {measure: each.whole for measure, each in measured.items()}
    nothing = Distribution()
    models = []
    for key in shown:
        provider, model = (calls.named(each, value) for each, value in zip(by, key, strict=True))
        narrow = {**(provider.narrow or {}), **(model.narrow or {})}
        models.append(
            Model(
                model.label,
                provider.label,
                numbers[key][0],
                numbers[key][1],
                {measure: quantiles(measure, each.by_key.get(key, nothing)) for measure, each in measured.items()},
                calls.page_query(narrow),
                calls.rows_query(narrow),
                calls.rows_query({**narrow, "ending": Ending.ERROR.value}),
            )
        )
    whole = Model(
        "All models",
        "",
        sum(each[0] for each in numbers.values()),
        sum(each[1] for each in numbers.values()),
        {measure: quantiles(measure, each) for measure, each in wholes.items()},
    )
    return Performance(
        whole,
        {measure: quantiles(measure, each) for measure, each in before.items()},
        models,
        max(0, len(ranked) - MOST_MODELS),
        [lines(calls, measure, each.over_time) for measure, each in measured.items()],
        _failures(calls, whole.calls),
        {measure: each.count for measure, each in wholes.items()},
        calls.rows_query({"ending": Ending.ERROR.value}),
    )


def _failures(calls: Calls, whole: int) -> list[Failure]:
    found = summed(calls.question(by=(Dimension.ERROR,), of=msgspec.structs.replace(calls.wanted, ending=Ending.ERROR)))
    failures = []
    for row in sorted((row for row in found if row.totals.calls), key=lambda row: (-row.totals.calls, row.key)):
        named = calls.named(Dimension.ERROR, row.key[0])
        narrow = {"ending": Ending.ERROR.value, **(named.narrow or {})}
        share = Decimal(row.totals.calls) / whole if whole else Decimal(0)
        failures.append(Failure(named.label, row.totals.calls, share, calls.rows_query(narrow)))
    return failures
