from django.db import models
from django.db.models.functions import Now

from tenancy.rows import TenantModel


class Project(TenantModel):
    """What one ANY_LLM_KEY is for: one environment of something a customer runs.

    Projects of the same name are the environments of one thing and are shown side by side.
    """

    class Environment(models.TextChoices):
        DEVELOPMENT = "development"
        STAGING = "staging"
        PRODUCTION = "production"

    name = models.CharField(max_length=255)
    environment = models.CharField(max_length=16, choices=Environment, default=Environment.PRODUCTION)
    description = models.CharField(max_length=1024, blank=True)
    # Counts every change of the project's keys and boxes: a rotation says which state it read.
    keyset_version = models.PositiveIntegerField(default=1)
    # Somebody who could open the project's keys lost that right: they are to be rotated.
    rotation_required_since = models.DateTimeField(null=True)
    rotation_required_reason = models.CharField(max_length=255, blank=True)
    # Session and user labels of calls can be e-mail addresses: whether only a fingerprint of them is kept.
    hides_labels = models.BooleanField(default=False, db_default=False)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(null=True)
    # When it was put away; its keys stop counting, and it can be brought back.
    archived_at = models.DateTimeField(null=True)
    # When its keys and boxes were deleted for good. The row stays: usage refers to it.
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["name", "environment"],
                condition=models.Q(archived_at=None),
                name="project_environment_once",
            )
        ]

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
    # The head it took over from, part of its statement; empty for a project's first key.
    previous_public_key = models.BinaryField(max_length=32, blank=True, default=b"", db_default=b"")
    via = models.CharField(max_length=8, choices=Via)
    # The member's signature over the project-key statement; empty for a key the command line set.
    statement_signature = models.BinaryField(max_length=64, blank=True)
    signed_by_vault = models.UUIDField(null=True)
    signed_by_account_key_version = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    last_used_at = models.DateTimeField(null=True)
    # Why it had to be rotated away; empty when nobody had to. Rolling back to it brings the demand back.
    given_up_reason = models.CharField(max_length=255, blank=True, default="", db_default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "generation"], name="project_generation_once")]

    def __str__(self) -> str:
        return f"{self.project_id} generation {self.generation}"


class ProjectMember(TenantModel):
    """A developer who is to hold a project's keys. Owners and admins hold those of all projects."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="members")
    user_id = models.UUIDField(db_index=True)
    added_by = models.UUIDField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user_id"], name="project_member_once")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.project_id}"


class Client(TenantModel):
    """A program that uses a project, by the name it gives (`AnyLLM-Client-Name`). Registered by hand, or when first
    seen."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="clients")
    name = models.CharField(max_length=255)
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())
    # By its last fetch of a provider key: when, and with which generation of the project's key.
    last_seen_at = models.DateTimeField(null=True)
    last_generation = models.PositiveIntegerField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="client_name_once"),
            models.UniqueConstraint(fields=["project"], condition=models.Q(is_default=True), name="client_one_default"),
        ]

    def __str__(self) -> str:
        return self.name
