from django.db import models
from django.db.models.functions import Now

from apps.organizations.models import Organization
from tenancy.ids import uuid7


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


class IngestToken(models.Model):
    """What an exporter that only knows a static header reports a project's usage with. It can do nothing else.

    Only the token's digest is stored. Shared, so that a request that carries nothing but a token finds its tenant.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    digest = models.BinaryField(max_length=32, unique=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    project_id = models.UUIDField(db_index=True)
    name = models.CharField(max_length=100)
    # The token's last characters, to tell one from another.
    ending = models.CharField(max_length=8)
    created_by = models.UUIDField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    # The project is archived: the token doesn't count until it is restored.
    is_suspended = models.BooleanField(default=False, db_default=False)

    def __str__(self) -> str:
        return f"{self.name} …{self.ending}"
