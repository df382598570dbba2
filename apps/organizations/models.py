from typing import NoReturn

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
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
        # A nameless row without a schema: the directory's keys refer to it for good.
        DELETED = "deleted"

    # Schemas are made and dropped by tenancy.provisioning, never by saving or deleting a row.
    auto_create_schema = False
    auto_drop_schema = False

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=255)
    status = models.CharField(max_length=16, choices=Status, default=Status.READY)
    # While it is `deleting`: when the schema is dropped. Until then an owner can take it back.
    delete_after = models.DateTimeField(null=True)
    # What days and months mean for it, an IANA name; what amounts are shown in, an ISO 4217 code.
    time_zone = models.CharField(max_length=64, default="UTC")
    currency = models.CharField(max_length=3, default="USD")
    # Members without a second factor see nothing until they have one.
    requires_second_factor = models.BooleanField(default=False)
    # How long usage is kept; empty: for good.
    usage_retention_days = models.PositiveIntegerField(null=True)
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
    """A person's role in an organization.

    Roles that hold keys (owner, admin, developer) wait for a member with keys to compare fingerprints and grant them
    theirs: `confirmed_at` is when that happened.
    """

    class Role(models.TextChoices):
        OWNER = "owner"
        ADMIN = "admin"
        DEVELOPER = "developer"
        CONTRIBUTOR = "contributor"
        VIEWER = "viewer"

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    confirmed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "user"], name="membership_once")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.organization_id}"


class Invitation(models.Model):
    """An address that was asked to join. The link's token is stored as its SHA-256 only."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=16, choices=Membership.Role)
    # The projects a developer is to get keys of.
    project_ids = ArrayField(models.UUIDField(), default=list)
    token_digest = models.BinaryField(max_length=32, unique=True)
    invited_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    # When the last mail was sent, and until when its link opens.
    sent_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "email"],
                condition=models.Q(accepted_at=None, revoked_at=None),
                name="invitation_one_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.organization_id}"
