"""The price table: shared by all organizations, append-mostly.

Rows are opened and closed (apps/pricing/services.py, apps/pricing/agreements.py) and never edited: a usage event's
breakdown names the rows that it was priced from.
"""

from decimal import Decimal

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeOperators
from django.db import models
from django.db.models.functions import Cast, Coalesce

from apps.pricing.feeds.base import EVERY_DAY


class PriceSnapshot(models.Model):
    """One state of a source of list prices, as it was read. Its rows count from `approved_at`."""

    class Status(models.TextChoices):
        # Read, and waiting for somebody's word: no row of it is in the table.
        PENDING = "pending"
        APPROVED = "approved"
        REJECTED = "rejected"
        # A newer state came before anybody had decided.
        SUPERSEDED = "superseded"

    source = models.CharField(max_length=64)
    source_version = models.CharField(max_length=64)
    # Of the document. Only a snapshot that restores an earlier one has a document that is there already.
    sha256 = models.CharField(max_length=64)
    restores = models.ForeignKey("self", on_delete=models.PROTECT, related_name="+", null=True, db_index=False)
    fetched_at = models.DateTimeField()
    approved_at = models.DateTimeField(null=True)
    # The document, zlib-compressed: what the rows were made from, to make them again.
    document = models.BinaryField()
    status = models.CharField(max_length=16, choices=Status, default=Status.APPROVED)
    # Who approved or rejected it: an address, or what did in their place ("release", "rule").
    decided_by = models.CharField(max_length=254, blank=True)
    # When it was rejected or superseded.
    closed_at = models.DateTimeField(null=True)
    # What it changes, as it was when the snapshot was read (apps/pricing/diffs.py).
    diff = models.JSONField(null=True)
    note = models.CharField(max_length=200, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status="approved", approved_at__isnull=False)
                | (~models.Q(status="approved") & models.Q(approved_at=None)),
                name="pricing_snapshot_approved_at",
            ),
            models.UniqueConstraint(
                fields=["source"], condition=models.Q(status="pending"), name="pricing_snapshot_one_pending"
            ),
            models.UniqueConstraint(
                fields=["sha256"], condition=models.Q(restores=None), name="pricing_snapshot_read_once"
            ),
        ]

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
                fields=["organization_id", "source", "provider", "canonical_provider", "canonical_model"],
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

    # Null: a list price.
    organization_id = models.UUIDField(null=True, editable=False)
    # Whose list it stands in, the snapshot's source; "" for an organization's own price.
    source = models.CharField(max_length=64, blank=True)
    provider = models.CharField(max_length=64)
    # Of an own price: a name as calls have it, lower case, or "*" for all models of the provider.
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
    # Null for an organization's own price.
    snapshot = models.ForeignKey(
        PriceSnapshot, on_delete=models.PROTECT, related_name="prices", null=True, db_index=False
    )
    # The snapshot whose import set the end of `effective`.
    closed_by = models.ForeignKey(
        PriceSnapshot, on_delete=models.PROTECT, related_name="closed_prices", null=True, db_index=False
    )
    note = models.CharField(max_length=200, blank=True)
    # Of an own price: who set it, when; `note` says why.
    author_id = models.UUIDField(null=True, editable=False)
    created_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            models.Index(
                fields=["organization_id"], condition=models.Q(organization_id__isnull=False), name="pricing_price_own"
            ),
        ]
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
                    ("source", RangeOperators.EQUAL),
                    ("effective", RangeOperators.OVERLAPS),
                ],
            ),
            # A list price comes from a snapshot; an own price from somebody, for a reason.
            models.CheckConstraint(
                condition=(
                    models.Q(organization_id=None, snapshot__isnull=False, author_id=None, created_at=None)
                    & ~models.Q(source="")
                )
                | (
                    models.Q(organization_id__isnull=False, snapshot=None, source="", closed_by=None)
                    & models.Q(author_id__isnull=False, created_at__isnull=False)
                    & ~models.Q(note="")
                ),
                name="pricing_price_origin",
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


class Discount(models.Model):
    """A factor on an organization's list prices, for a time. Closed, never edited."""

    organization_id = models.UUIDField(editable=False)
    provider = models.CharField(max_length=64)
    # Lower case; "" for all models of the provider.
    model = models.CharField(max_length=256, blank=True)
    # 0.85 is 15 percent off; more than 1 is a surcharge.
    multiplier = models.DecimalField(max_digits=10, decimal_places=8)
    effective = DateTimeRangeField()
    note = models.CharField(max_length=200)
    author_id = models.UUIDField(editable=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = [
            ExclusionConstraint(
                name="pricing_discount_one_at_a_time",
                expressions=[
                    ("organization_id", RangeOperators.EQUAL),
                    ("provider", RangeOperators.EQUAL),
                    ("model", RangeOperators.EQUAL),
                    ("effective", RangeOperators.OVERLAPS),
                ],
            ),
            models.CheckConstraint(
                condition=models.Q(multiplier__gt=0, multiplier__lte=Decimal(10)), name="pricing_discount_multiplier"
            ),
            models.CheckConstraint(condition=models.Q(effective__upper_inc=False), name="pricing_discount_half_open"),
        ]

    def __str__(self) -> str:
        return f"{self.provider}:{self.model or '*'} by {self.multiplier}"


class OrganizationTerms(models.Model):
    """That an organization has own prices or discounts, and how often they have changed: what books ask for."""

    organization_id = models.UUIDField(primary_key=True)
    version = models.PositiveBigIntegerField(default=1)

    def __str__(self) -> str:
        return f"{self.organization_id} at {self.version}"


class UnpricedModel(models.Model):
    """A model that was called and has no price: the staff's queue. Whose calls they were is not kept."""

    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=256)
    # apps.pricing.rating.Reason of the last call.
    reason = models.CharField(max_length=32)
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "model"], name="pricing_unpriced_once")]

    def __str__(self) -> str:
        return f"{self.provider}:{self.model} ({self.reason})"
