from typing import NoReturn

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django_tenants.models import TenantMixin

from tenancy.errors import TenancyError
from tenancy.ids import uuid7
from tenancy.models import SchemaState


class Organization(TenantMixin, SchemaState):  # type: ignore[misc]  # django-tenants has no types
    """A customer. `schema_name` is opaque and never changes; only a ready organization can be entered."""

    class Status(models.TextChoices):
        READY = "ready"
        SUSPENDED = "suspended"
        DELETING = "deleting"

    # Schemas are made and dropped by tenancy.provisioning, never by saving or deleting a row.
    auto_create_schema = False
    auto_drop_schema = False

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=255)
    status = models.CharField(max_length=16, choices=Status, default=Status.READY)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name

    @property
    def is_ready(self) -> bool:
        return self.status == self.Status.READY

    def __enter__(self) -> NoReturn:
        raise TenancyError("Enter an organization with `with tenant_scope(organization):`.")

    activate = deactivate = __enter__


class Membership(models.Model):
    """A person's role in an organization."""

    class Role(models.TextChoices):
        OWNER = "owner"
        ADMIN = "admin"
        DEVELOPER = "developer"
        CONTRIBUTOR = "contributor"
        VIEWER = "viewer"

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "user"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.organization_id}"
