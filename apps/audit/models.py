from django.db import models
from django.db.models.functions import Now

from tenancy.rows import TenantModel


class Entry(TenantModel):
    """One thing that somebody did. It names people and things as they were called then: both may be gone later."""

    # None for what the platform did by itself.
    actor_id = models.UUIDField(null=True)
    actor = models.CharField(max_length=254, blank=True)
    # A name of apps.audit.actions.
    action = models.CharField(max_length=64)
    project_id = models.UUIDField(null=True)
    subject = models.CharField(max_length=320, blank=True)
    detail = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["-created_at"], name="audit_newest")]

    def __str__(self) -> str:
        return f"{self.actor} {self.action} {self.subject}"
