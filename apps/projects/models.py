from django.db import models
from django.db.models.functions import Now

from tenancy.rows import TenantModel


class Project(TenantModel):
    """One environment of a customer: production, staging, development."""

    name = models.CharField(max_length=255)
    description = models.CharField(max_length=1024, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class ProjectKey(TenantModel):
    """A generation of the key pair whose private half is the project's ANY_LLM_KEY. Only the public half is here."""

    class Via(models.TextChoices):
        BROWSER = "browser"
        CLI = "cli"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="keys")
    generation = models.PositiveIntegerField()
    public_key = models.BinaryField(max_length=32)
    # Eight hex digits from the browser, part of the key's text, so that the same text can be shown again.
    kid = models.CharField(max_length=8, blank=True)
    via = models.CharField(max_length=8, choices=Via)
    # The member's signature over the project-key statement; empty for a key the command line set.
    statement_signature = models.BinaryField(max_length=64, blank=True)
    signed_by_vault = models.UUIDField(null=True)
    signed_by_account_key_version = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    last_used_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "generation"], name="project_generation_once")]

    def __str__(self) -> str:
        return f"{self.project_id} generation {self.generation}"
