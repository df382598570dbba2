from django.db import models
from django.db.models.functions import Now

from apps.organizations.models import Organization


class ProjectKeyEntry(models.Model):
    """One generation of a project's key pair. Rows are never deleted: a retired key can't be used again."""

    class Status(models.TextChoices):
        UNPROVEN = "unproven"
        ACTIVE = "active"
        RETIRING = "retiring"
        RETIRED = "retired"

    # With any of these the key opens the SDK endpoints.
    LIVE = (Status.UNPROVEN, Status.ACTIVE, Status.RETIRING)

    public_key = models.BinaryField(primary_key=True, max_length=32)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    project_id = models.UUIDField()
    generation = models.PositiveIntegerField()
    status = models.CharField(max_length=16, choices=Status)
    created_at = models.DateTimeField(db_default=Now())
    # When a retiring key stops counting; without it, when somebody says so.
    retire_at = models.DateTimeField(null=True)
    # The project is archived: its keys don't count until it is restored. Their status goes on meanwhile.
    is_suspended = models.BooleanField(default=False, db_default=False)

    class Meta:
        indexes = [
            models.Index(fields=["retire_at"], condition=models.Q(status="retiring"), name="directory_retire_due"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["project_id", "generation"], name="directory_generation_once"),
            models.UniqueConstraint(
                fields=["project_id"],
                condition=models.Q(status__in=["unproven", "active"]),
                name="directory_one_head",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.project_id} generation {self.generation}"


class Challenge(models.Model):
    """A sealed riddle that only the holder of a private key can read; solving it once proves possession.

    The table is unlogged (migration 0002): rows live for two minutes, and a crash of the server may forget them.
    """

    digest = models.BinaryField(primary_key=True, max_length=32)
    public_key = models.BinaryField(max_length=32)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["public_key", "expires_at"], name="challenge_outstanding")]

    def __str__(self) -> str:
        return bytes(self.digest).hex()
