from django.db import models
from django.db.models.functions import Now

from apps.projects.models import Project
from tenancy.rows import TenantModel


class ProviderKey(TenantModel):
    """A project's key at one provider. The row outlives the key: usage refers to it, so deleting for good takes
    the boxes away and leaves the name."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="provider_keys")
    provider = models.CharField(max_length=64)
    version = models.PositiveIntegerField(default=1)
    added_by = models.UUIDField(null=True)
    replaced_by = models.UUIDField(null=True)
    archived_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "provider"],
                condition=models.Q(archived_at=None, deleted_at=None),
                name="provider_key_one_current",
            )
        ]

    def __str__(self) -> str:
        return self.provider


class Box(TenantModel):
    """A provider key sealed to one generation of the project's key. Empty for a local provider that needs none."""

    provider_key = models.ForeignKey(ProviderKey, on_delete=models.CASCADE, related_name="boxes")
    generation = models.PositiveIntegerField()
    # Standard base64, as clients read it.
    sealed = models.TextField(blank=True)
    # The member's signature over the provider-key statement; empty for a box the command line made.
    signature = models.BinaryField(max_length=64, blank=True)
    signed_by_vault = models.UUIDField(null=True)
    signed_by_account_key_version = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider_key", "generation"], name="box_once")]

    def __str__(self) -> str:
        return f"{self.provider_key_id} generation {self.generation}"


class Grant(TenantModel):
    """A project's private key wrapped for one member's vault: by themselves (`W1.`) or by a teammate (`G1.`)."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="grants")
    generation = models.PositiveIntegerField()
    recipient_vault = models.UUIDField()
    recipient_account_key_version = models.PositiveIntegerField()
    # Who wrapped it; their keys are part of what a `G1.` envelope is bound to.
    sender_vault = models.UUIDField()
    sender_account_key_version = models.PositiveIntegerField()
    envelope = models.CharField(max_length=256)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        # A grant to an older account key stays beside the new one: the recipient's old recovery key opens it.
        constraints = [
            models.UniqueConstraint(
                fields=["project", "generation", "recipient_vault", "recipient_account_key_version"],
                name="grant_once",
            )
        ]
        indexes = [models.Index(fields=["recipient_vault"], name="grant_recipient")]

    def __str__(self) -> str:
        return f"{self.project_id} generation {self.generation} to {self.recipient_vault}"
