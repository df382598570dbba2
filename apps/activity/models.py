from django.db import models

from apps.organizations.models import Organization


class Activity(models.Model):
    """When an organization's ledger last changed, to the second, and until when its changes have been summed up.

    Plain ids: rows come from the hot path, which must not wait for an organization's row.
    """

    organization_id = models.UUIDField(primary_key=True)
    changed_at = models.DateTimeField()
    summed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.organization_id} changed at {self.changed_at}"


class DailyUsage(models.Model):
    """One day of an organization in one currency, for support and billing. The day is the organization's own."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    day = models.DateField()
    # Empty: calls without a price.
    currency = models.CharField(max_length=3, blank=True)
    calls = models.BigIntegerField()
    failed = models.BigIntegerField()
    unpriced = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cost = models.DecimalField(max_digits=32, decimal_places=12)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "day", "currency"], name="daily_usage_once"),
        ]
        indexes = [models.Index(fields=["day"], name="daily_usage_by_day")]

    def __str__(self) -> str:
        return f"{self.organization_id} {self.day}: {self.cost} {self.currency}"
