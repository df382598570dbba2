"""Sums over the ledger and exports of it, which can be made again at any time; and views that people save."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from tenancy.rows import TenantModel


class Rollup(TenantModel):
    """What the calls of one stretch of time that agree in all dimensions come to, adjustments included.

    `id` follows from the time and the dimensions (counting.py), so that adding to a row finds it. Sums are those of
    apps.ledger.selectors.totals, and like them exact; durations are milliseconds, throughputs tokens a second.
    """

    starts_at = models.DateTimeField()

    project_id = models.UUIDField()
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=256)
    client_name = models.CharField(max_length=255, blank=True)
    provider_key_id = models.UUIDField(null=True)
    operation = models.CharField(max_length=32, blank=True)
    # How the calls ended (apps.ledger.calls.Ending), and of errors the type.
    ending = models.CharField(max_length=16)
    error_type = models.CharField(max_length=128, blank=True)
    # Empty for what was reported without a price; what an adjustment brought stands under its own.
    currency = models.CharField(max_length=3, blank=True)

    events = models.BigIntegerField()
    calls = models.BigIntegerField()
    failed = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    unpriced_tokens = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cache_read_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField()
    cache_write_1h_tokens = models.BigIntegerField()
    reasoning_tokens = models.BigIntegerField()
    audio_input_tokens = models.BigIntegerField()
    audio_output_tokens = models.BigIntegerField()
    requests = models.BigIntegerField()
    cost = models.DecimalField(max_digits=32, decimal_places=12)
    adjustments = models.BigIntegerField()
    adjusted_cost = models.DecimalField(max_digits=32, decimal_places=12)

    # Of the calls that count (distributions.py).
    durations = ArrayField(models.BigIntegerField())
    first_tokens = ArrayField(models.BigIntegerField())
    throughputs = ArrayField(models.BigIntegerField())

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.starts_at}: {self.provider}:{self.model}"


class QuarterRollup(Rollup):
    """Of fifteen minutes of UTC: hours of any time zone, and so its days, are made of these."""

    class Meta(Rollup.Meta):
        abstract = False
        indexes = [models.Index(fields=["starts_at", "project_id"], name="quarter_rollup_by_time")]


class DayRollup(Rollup):
    """Of a day of the organization's time zone. In a table of its own: among a hundred times as many quarters each
    would lie on another page of it."""

    class Meta(Rollup.Meta):
        abstract = False
        indexes = [models.Index(fields=["starts_at", "project_id"], name="day_rollup_by_time")]


class RollupState(TenantModel):
    """One row: which state the sums are in. Without it they have never been made."""

    # What the days are days of.
    time_zone = models.CharField(max_length=64)
    # All that was committed before is in the sums.
    as_of = models.DateTimeField()

    def __str__(self) -> str:
        return f"as of {self.as_of}"


class Export(TenantModel):
    """A file of usage that a worker makes, and that stays until it expires (exports/making.py)."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        # Its file was deleted.
        EXPIRED = "expired"

    # What is in it: exports.wanted.Wanted as JSON.
    wanted = models.JSONField()
    status = models.CharField(max_length=16, choices=Status, default=Status.QUEUED)
    author_id = models.UUIDField()
    created_at = models.DateTimeField(db_default=Now())
    # About how many rows it will have: what progress is measured by.
    expected_rows = models.PositiveBigIntegerField()
    # How often a worker began.
    attempts = models.PositiveSmallIntegerField(default=0)
    # Of one that failed: why, for people.
    problem = models.CharField(max_length=200, blank=True, default="", db_default="")

    # Of one that is done. The file is stored packed; its size and hash (hexadecimal) are those of what is in it.
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    snapshot_at = models.DateTimeField(null=True)
    file = models.CharField(max_length=200, blank=True, default="", db_default="")
    rows = models.PositiveBigIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True, default="", db_default="")
    # What the same calls come to in the same state, as GET /usage-events/ has totals.
    totals = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.status}: {self.expected_rows} rows"


class SavedView(TenantModel):
    """What a page of usage was asked for, under a name: its owner's alone, or everybody's in the organization."""

    class Page(models.TextChoices):
        OVERVIEW = "overview"
        PERFORMANCE = "performance"
        SESSIONS = "sessions"
        LEDGER = "ledger"

    page = models.CharField(max_length=16, choices=Page)
    name = models.CharField(max_length=80)
    # Fields of the page's form as an address has them (apps.analytics.filters.CallsForm.address): no path, no other
    # parameter. A period like "this month" stays one.
    query = models.JSONField(default=dict)
    owner_id = models.UUIDField()
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner_id", "name"], condition=models.Q(is_shared=False), name="saved_view_once_a_person"
            ),
            models.UniqueConstraint(fields=["name"], condition=models.Q(is_shared=True), name="saved_view_once_shared"),
        ]

    def __str__(self) -> str:
        return self.name
