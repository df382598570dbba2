from django.db import models
from django.db.models.functions import Now

from tenancy.rows import TenantModel


class UsageEvent(TenantModel):
    """One call to a provider, as its client reported it, and what it cost by the prices of that moment.

    Counts are tokens, durations milliseconds. `cost` is exact, in `currency`, and empty where no price was known:
    never 0 for "unknown". Ids of projects and keys are plain, so that facts outlive what they name.
    """

    class Source(models.TextChoices):
        JSON = "json"

    class PriceStatus(models.TextChoices):
        PRICED = "priced"
        UNPRICED = "unpriced"

    # The id the client chose; what makes sending twice harmless.
    event_id = models.UUIDField()
    project_id = models.UUIDField()
    key_generation = models.PositiveIntegerField()
    provider_key_id = models.UUIDField(null=True)
    source = models.CharField(max_length=16, choices=Source)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField(db_default=Now())

    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=256)
    client_name = models.CharField(max_length=255, blank=True)

    input_tokens = models.BigIntegerField(null=True)
    output_tokens = models.BigIntegerField(null=True)

    time_to_first_token_ms = models.FloatField(null=True)
    time_to_last_token_ms = models.FloatField(null=True)
    total_duration_ms = models.FloatField(null=True)
    tokens_per_second = models.FloatField(null=True)
    chunks_received = models.BigIntegerField(null=True)
    avg_chunk_size = models.FloatField(null=True)
    inter_chunk_latency_variance_ms = models.FloatField(null=True)

    price_status = models.CharField(max_length=16, choices=PriceStatus)
    # Why there is no price, or what is special about the one there is.
    price_reason = models.CharField(max_length=32, blank=True)
    price_snapshot_id = models.BigIntegerField(null=True)
    # How the cost came about: [price id, meter, quantity, unit price, per, amount, fallback] for each meter.
    price_lines = models.JSONField(default=list)
    cost = models.DecimalField(max_digits=24, decimal_places=12, null=True)
    currency = models.CharField(max_length=3)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project_id", "event_id"], name="usage_event_once"),
            models.CheckConstraint(
                condition=models.Q(price_status="priced", cost__isnull=False)
                | models.Q(price_status="unpriced", cost__isnull=True),
                name="usage_event_unpriced_has_no_cost",
            ),
        ]
        indexes = [models.Index(fields=["project_id", "-occurred_at"], name="usage_event_by_time")]

    def __str__(self) -> str:
        return f"{self.provider}:{self.model} {self.event_id}"
