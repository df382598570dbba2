"""The price table: shared by all organizations, append-mostly.

Rows are opened and closed by imports (apps/pricing/services.py) and never edited: a usage event's breakdown names
the rows that it was priced from.
"""

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeOperators
from django.db import models
from django.db.models.functions import Cast, Coalesce

from apps.pricing.feeds.base import EVERY_DAY


class PriceSnapshot(models.Model):
    """One state of a feed, as it was read. Its rows count from `approved_at`."""

    source = models.CharField(max_length=64)
    source_version = models.CharField(max_length=64)
    sha256 = models.CharField(max_length=64, unique=True)
    fetched_at = models.DateTimeField()
    approved_at = models.DateTimeField(null=True)
    # The document, zlib-compressed: what the rows were made from, to make them again.
    document = models.BinaryField()

    def __str__(self) -> str:
        return f"{self.source} {self.source_version} ({self.sha256[:12]})"


class ModelAlias(models.Model):
    """A rule that says which model's prices a call has. Of a provider's rules the first that matches wins."""

    # Null: for everybody.
    organization_id = models.UUIDField(null=True, editable=False)
    provider = models.CharField(max_length=64)
    # apps/pricing/matching.py
    rule = models.JSONField()
    canonical_provider = models.CharField(max_length=64)
    canonical_model = models.CharField(max_length=256)
    # The rule's place among its provider's, 0 first. The one column that imports change: it is order, not fact.
    priority = models.PositiveIntegerField()
    source = models.CharField(max_length=64)
    snapshot = models.ForeignKey(PriceSnapshot, on_delete=models.PROTECT, related_name="aliases", db_index=False)
    # The snapshot that has another rule for this model. Null: in force.
    closed_by = models.ForeignKey(
        PriceSnapshot, on_delete=models.PROTECT, related_name="closed_aliases", null=True, db_index=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization_id", "provider", "canonical_provider", "canonical_model"],
                condition=models.Q(closed_by=None),
                nulls_distinct=False,
                name="pricing_alias_one_in_force",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}: {self.canonical_provider}:{self.canonical_model}"


# What stands for "no organization" in a constraint: there, null would never equal null.
NO_ORGANIZATION = models.Value("00000000-0000-0000-0000-000000000000", output_field=models.UUIDField())
MIDNIGHT = models.Value("00:00", output_field=models.TimeField())


class Price(models.Model):
    """The price of one meter of one model, for a time."""

    # Null: the list price.
    organization_id = models.UUIDField(null=True, editable=False)
    provider = models.CharField(max_length=64)
    canonical_model = models.CharField(max_length=256)
    # A Meter's value; no list of choices, so that a new meter is no migration.
    meter = models.CharField(max_length=32)
    # How many units `unit_price` buys: 1,000,000 tokens, 3,600 seconds, 1,000 searches.
    per = models.PositiveBigIntegerField()
    # For all tokens of calls with more input tokens than this.
    tier_above = models.PositiveBigIntegerField(default=0)
    # What a call must be to have this price: {} or, say, {"processing": "batch"}, {"service_tier": "flex"}.
    variant = models.JSONField(default=dict)
    # Hours of the day, UTC, past midnight where the end is before the start. Null: all day.
    tod_start = models.TimeField(null=True)
    tod_end = models.TimeField(null=True)
    # Bit 0 is Monday (UTC).
    weekday_mask = models.PositiveSmallIntegerField(default=EVERY_DAY)
    # [from, to). Empty: withdrawn before it came into force.
    effective = DateTimeRangeField()
    unit_price = models.DecimalField(max_digits=18, decimal_places=10)
    # The least a call is billed for that uses any.
    minimum = models.PositiveBigIntegerField(default=0)
    currency = models.CharField(max_length=3, default="USD")
    snapshot = models.ForeignKey(PriceSnapshot, on_delete=models.PROTECT, related_name="prices", db_index=False)
    # The snapshot whose import set the end of `effective`.
    closed_by = models.ForeignKey(
        PriceSnapshot, on_delete=models.PROTECT, related_name="closed_prices", null=True, db_index=False
    )
    note = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            ExclusionConstraint(
                name="pricing_price_one_at_a_time",
                expressions=[
                    # The most telling columns first: the index is searched by them.
                    ("canonical_model", RangeOperators.EQUAL),
                    ("provider", RangeOperators.EQUAL),
                    ("meter", RangeOperators.EQUAL),
                    ("tier_above", RangeOperators.EQUAL),
                    (Cast("variant", models.TextField()), RangeOperators.EQUAL),
                    (Coalesce("tod_start", MIDNIGHT), RangeOperators.EQUAL),
                    (Coalesce("tod_end", MIDNIGHT), RangeOperators.EQUAL),
                    ("weekday_mask", RangeOperators.EQUAL),
                    (Coalesce("organization_id", NO_ORGANIZATION), RangeOperators.EQUAL),
                    ("effective", RangeOperators.OVERLAPS),
                ],
            ),
            models.CheckConstraint(condition=models.Q(unit_price__gte=0), name="pricing_price_not_negative"),
            models.CheckConstraint(condition=models.Q(per__gt=0), name="pricing_price_per_positive"),
            models.CheckConstraint(
                condition=models.Q(weekday_mask__gt=0, weekday_mask__lte=EVERY_DAY), name="pricing_price_weekdays"
            ),
            # Both or neither, and hours that are some of the day's: midnight to midnight is written as null.
            models.CheckConstraint(
                condition=models.Q(tod_start=None, tod_end=None)
                | (models.Q(tod_start__isnull=False, tod_end__isnull=False) & ~models.Q(tod_start=models.F("tod_end"))),
                name="pricing_price_hours",
            ),
            models.CheckConstraint(condition=models.Q(effective__upper_inc=False), name="pricing_price_half_open"),
        ]

    def __str__(self) -> str:
        return f"{self.provider}:{self.canonical_model} {self.meter} {self.unit_price} {self.currency}/{self.per}"
