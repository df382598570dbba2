"""FOCUS 1.2 (https://focus.finops.org/focus-specification/v1-2/): a charge for each hour or day of each project,
provider, provider key, model, operation and client. docs/analytics.md says what each column has, and why.

FOCUS knows no charge without a cost, and an unknown cost is not 0: what has no price makes no charge.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from apps.analytics.exports.sources.base import Source, Table, summed_at
from apps.analytics.exports.wanted import Wanted
from apps.analytics.names import project_names, projects, provider_key_label
from apps.analytics.periods import bucket, following
from apps.analytics.selectors import Dimension, Granularity, Question, Sums, count_sums, stream_sums, whole
from apps.ledger.columns import Value
from apps.ledger.models import METER_COLUMNS
from apps.ledger.selectors import Totals
from apps.organizations.models import Organization
from apps.pricing.meters import Meter
from apps.projects.models import Project
from apps.vault.models import ProviderKey
from apps.vault.providers import label_of
from tenancy.scope import require_tenant_id

BY = (
    Dimension.PROJECT,
    Dimension.PROVIDER,
    Dimension.PROVIDER_KEY,
    Dimension.MODEL,
    Dimension.OPERATION,
    Dimension.CLIENT,
)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is the same for all charges."""

    organization: Organization
    projects: Mapping[Any, Project]
    names: Mapping[Any, str]
    keys: Mapping[Any, ProviderKey]
    snapshot_at: datetime


@dataclass(frozen=True, slots=True)
class _Charge:
    """One currency's part of a row of sums. What is not told apart by currency stands in the first of them."""

    known: _Known
    sums: Totals
    values: Mapping[Dimension, Any]
    start: datetime
    end: datetime
    currency: str
    cost: Decimal
    is_first: bool

    @property
    def month(self) -> datetime:
        return bucket(self.start, Granularity.MONTH)

    @property
    def quantity(self) -> tuple[int | None, str | None]:
        """What was charged for: tokens, or requests where a price is for those."""
        if not self.is_first:
            return None, None
        tokens = self.sums.tokens - self.sums.unpriced_tokens
        return (tokens, "Tokens") if tokens else (_priced(self.sums), "Requests")

    @property
    def key_name(self) -> str | None:
        key = self.known.keys.get(self.values[Dimension.PROVIDER_KEY])
        return provider_key_label(key) if key else None

    @property
    def tags(self) -> str:
        project = self.known.projects.get(self.values[Dimension.PROJECT])
        tags = {
            "client": self.values[Dimension.CLIENT],
            "environment": project.environment if project else None,
            "operation": self.values[Dimension.OPERATION],
        }
        return json.dumps({name: value for name, value in tags.items() if value}, ensure_ascii=False)


def _priced(sums: Totals) -> int:
    return sums.calls - sums.failed - sums.unpriced


def _nothing(_: _Charge) -> None:
    return None


def _cost(charge: _Charge) -> Value:
    return charge.cost


def _of(dimension: Dimension) -> Callable[[_Charge], Value]:
    return lambda charge: charge.values[dimension] or None


def _provider(charge: _Charge) -> Value:
    return label_of(charge.values[Dimension.PROVIDER]) or None


def _of_first(count: Callable[[Totals], int]) -> Callable[[_Charge], Value]:
    return lambda charge: count(charge.sums) if charge.is_first else None


def _meter(meter: Meter) -> Callable[[_Charge], Value]:
    return _of_first(lambda sums: sums.meters.get(meter, 0))


COLUMNS: Mapping[str, Callable[[_Charge], Value]] = {
    "BilledCost": _cost,
    "BillingAccountId": lambda charge: charge.known.organization.id,
    "BillingAccountName": lambda charge: charge.known.organization.name,
    "BillingCurrency": lambda charge: charge.currency,
    "BillingPeriodEnd": lambda charge: _utc(following(charge.month, Granularity.MONTH)),
    "BillingPeriodStart": lambda charge: _utc(charge.month),
    "ChargeCategory": lambda _: "Usage",
    "ChargeClass": _nothing,
    "ChargeDescription": lambda charge: (
        " ".join(filter(None, (charge.values[Dimension.OPERATION], charge.values[Dimension.MODEL]))) or None
    ),
    "ChargeFrequency": lambda _: "Usage-Based",
    "ChargePeriodEnd": lambda charge: _utc(charge.end),
    "ChargePeriodStart": lambda charge: _utc(charge.start),
    "ConsumedQuantity": lambda charge: charge.quantity[0],
    "ConsumedUnit": lambda charge: charge.quantity[1],
    "ContractedCost": _cost,
    "ContractedUnitPrice": _nothing,
    "EffectiveCost": _cost,
    "InvoiceId": _nothing,
    "InvoiceIssuerName": _provider,
    "ListCost": _cost,
    "ListUnitPrice": _nothing,
    "PricingCategory": lambda _: "Standard",
    "PricingQuantity": lambda charge: charge.quantity[0],
    "PricingUnit": lambda charge: charge.quantity[1],
    "ProviderName": _provider,
    "PublisherName": _provider,
    "RegionId": _nothing,
    "RegionName": _nothing,
    "ResourceId": _of(Dimension.PROVIDER_KEY),
    "ResourceName": lambda charge: charge.key_name,
    "ResourceType": lambda charge: "API key" if charge.values[Dimension.PROVIDER_KEY] else None,
    "ServiceCategory": lambda _: "AI and Machine Learning",
    "ServiceName": _provider,
    "ServiceSubcategory": lambda _: "Generative AI",
    "SkuId": _of(Dimension.MODEL),
    "SkuMeter": lambda _: "Model Usage",
    "SkuPriceDetails": _nothing,
    "SkuPriceId": _nothing,
    "SubAccountId": _of(Dimension.PROJECT),
    "SubAccountName": lambda charge: charge.known.names.get(charge.values[Dimension.PROJECT]),
    "Tags": lambda charge: charge.tags,
    "x_PricedCalls": _of_first(_priced),
    "x_UnpricedCalls": _of_first(lambda sums: sums.unpriced),
    "x_FailedCalls": _of_first(lambda sums: sums.failed),
    **{f"x_{name.title().replace('_', '')}": _meter(meter) for meter, name in METER_COLUMNS.items()},
    "x_SnapshotAt": lambda charge: _utc(charge.known.snapshot_at),
}


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _table(wanted: Wanted) -> Table:
    moment, found = summed_at(), projects()
    known = _Known(
        Organization.objects.get(pk=require_tenant_id()),
        {each.id: each for each in found},
        project_names(found),
        {each.id: each for each in ProviderKey.objects.all()},
        moment,
    )
    return Table(list(COLUMNS), _rows(wanted, known), moment)


def _rows(wanted: Wanted, known: _Known) -> Iterator[Sequence[Value]]:
    columns = list(COLUMNS.values())
    for row in stream_sums(_question(wanted)):
        for charge in _charges(row, wanted, known):
            yield [column(charge) for column in columns]


def _charges(row: Sums, wanted: Wanted, known: _Known) -> Iterator[_Charge]:
    """What has a cost. Where nothing has a price, a cost of 0 is what was taken back, not what was charged."""
    assert row.starts_at is not None
    start = row.starts_at.astimezone(ZoneInfo(wanted.zone))
    end, values = following(start, _granularity(wanted)), dict(zip(BY, row.key, strict=True))
    found = [(currency, cost) for currency, cost in row.totals.costs.items() if cost or _priced(row.totals)]
    for place, (currency, cost) in enumerate(found):
        yield _Charge(known, row.totals, values, start, end, currency, cost, place == 0)


def _granularity(wanted: Wanted) -> Granularity:
    return Granularity.HOUR if wanted.granularity is Granularity.HOUR else Granularity.DAY


def _question(wanted: Wanted) -> Question:
    return Question(wanted.filter, ZoneInfo(wanted.zone), _granularity(wanted), BY)


def _totals(wanted: Wanted) -> Totals:
    return whole(_question(wanted))


def _count(wanted: Wanted) -> int:
    summed_at()
    return count_sums(_question(wanted))


FOCUS = Source(
    "FOCUS 1.2",
    "Charges in the columns that tools for cloud costs read. Calls without a price make no charge.",
    _table,
    _totals,
    _count,
)
