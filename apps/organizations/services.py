"""What changes organizations."""

import logging
import uuid
from datetime import timedelta

from allauth.mfa.utils import is_mfa_enabled
from django.db import transaction
from django.db.models.functions import Now
from django.http import Http404
from django.utils import timezone
from kombu.exceptions import OperationalError as BrokerError

from apps.accounts.models import User
from apps.audit.services import record
from apps.organizations.currencies import CURRENCIES
from apps.organizations.models import Invitation, Membership, Organization
from apps.organizations.zones import ZONES
from apps.pricing.agreements import delete_terms
from tenancy import NotOwnerError, provisioning, tenant_scope
from tenancy.files import delete_all_files
from tenancy.roles import as_owner
from tenancy.tasks import fill_pool
from web.errors import DomainError

# How long an organization can be taken back after its deletion was asked for.
GRACE = timedelta(days=7)


logger = logging.getLogger(__name__)


class OrganizationError(DomainError):
    status = 422
    code = "invalid_organization"


class NoSpareSchemaError(DomainError):
    """No schema is ready, and this process may make none; a worker was asked to."""

    status = 503
    code = "unavailable"

    def __init__(self) -> None:
        super().__init__(
            "There is no room for another organization right now; it is being made. Try again in a minute.",
            headers={"Retry-After": "60"},
        )


@transaction.atomic
def create_organization(*, name: str, owner: User) -> Organization:
    """An organization that can be entered at once, and `owner` as its owner.

    It takes a spare schema (one row update), or makes one when none is ready; a task fills the pool again. Raises
    NoSpareSchemaError when none is ready and this process, as web, may make none.
    """
    name = check_name(name)
    try:
        schema = provisioning.claim_schema()
    except NotOwnerError as error:
        _ask_for_spares()
        raise NoSpareSchemaError from error
    organization = Organization.objects.create(name=name, schema_name=schema.name, schema_version=schema.version)
    Membership.objects.create(organization=organization, user=owner, role=Membership.Role.OWNER, confirmed_at=Now())
    with tenant_scope(organization):
        record("organization.created", actor=owner, subject=name)
    transaction.on_commit(_ask_for_spares, robust=True)
    return organization


def _ask_for_spares() -> None:
    try:
        fill_pool.delay()
    except BrokerError:
        logger.exception("spare schemas can't be asked for; beat does it every minute")


def check_name(name: str) -> str:
    """The name without space around it; OrganizationError where it is none."""
    name = name.strip()
    if not name or len(name) > 255 or "\0" in name:
        raise OrganizationError("Give the organization a name of at most 255 characters.")
    return name


@transaction.atomic
def change_settings(
    *, organization: Organization, actor: User, name: str, time_zone: str, currency: str, requires_second_factor: bool
) -> list[str]:
    """Stores the settings; what changed, by field name. In the organization's scope.

    Raises OrganizationError where a value is none that can be; so too when somebody without a second factor asks
    everybody for one, which would shut them out.
    """
    name = check_name(name)
    if time_zone not in ZONES:
        raise OrganizationError("Choose a time zone from the list, such as Europe/Berlin.")
    if currency not in CURRENCIES:
        raise OrganizationError("Choose a currency from the list.")
    current = Organization.objects.select_for_update().get(pk=organization.pk)
    if requires_second_factor and not current.requires_second_factor and not is_mfa_enabled(actor):
        raise OrganizationError("Set up a second factor for yourself first: without one you could not come back in.")
    values = {
        "name": name,
        "time_zone": time_zone,
        "currency": currency,
        "requires_second_factor": requires_second_factor,
    }
    changed = [field for field, value in values.items() if getattr(current, field) != value]
    if changed:
        for field in changed:
            setattr(current, field, values[field])
            setattr(organization, field, values[field])
        current.save(update_fields=changed)
        record("organization.changed", actor=actor, subject=name, fields=changed)
    return changed


@transaction.atomic
def request_deletion(*, organization: Organization, actor: User) -> Organization:
    """Closes an organization: nobody can enter it and its keys open nothing, from now on. Its data is deleted after
    `GRACE`, unless an owner takes it back. In the organization's scope."""
    current = Organization.objects.select_for_update().get(pk=organization.pk)
    if current.status != Organization.Status.READY:
        raise Http404
    record("organization.deletion_requested", actor=actor, subject=current.name)
    current.status = Organization.Status.DELETING
    current.delete_after = timezone.now() + GRACE
    current.save(update_fields=["status", "delete_after"])
    return current


@transaction.atomic
def cancel_deletion(*, organization_id: uuid.UUID, actor: User) -> Organization:
    """Opens an organization again that was to be deleted. Http404 unless it is, and the actor owns it."""
    organization = (
        Organization.objects.select_for_update()
        .filter(pk=organization_id, status=Organization.Status.DELETING)
        .filter(memberships__user=actor, memberships__role=Membership.Role.OWNER)
        .first()
    )
    if organization is None:
        raise Http404
    organization.status = Organization.Status.READY
    organization.delete_after = None
    organization.save(update_fields=["status", "delete_after"])
    with tenant_scope(organization):
        record("organization.deletion_cancelled", actor=actor, subject=organization.name)
    return organization


def delete_due() -> int:
    """Deletes the organizations whose time is up; how many. As the database's owner, each in its own transaction: what
    is cut short is done the next time."""
    deleted = 0
    with as_owner():
        while _delete_one():
            deleted += 1
    return deleted


@transaction.atomic
def _delete_one() -> bool:
    organization = (
        Organization.objects.select_for_update(skip_locked=True)
        .filter(status=Organization.Status.DELETING, delete_after__lte=Now())
        .order_by("delete_after")
        .first()
    )
    if organization is None:
        return False
    provisioning.drop_schema(organization.schema_name)
    delete_all_files(organization.schema_name)
    Membership.objects.filter(organization=organization).delete()
    Invitation.objects.filter(organization=organization).delete()
    delete_terms(organization_id=organization.pk)
    # The row stays: keys in the directory refer to it, so that none of them is ever used again.
    Organization.objects.filter(pk=organization.pk).update(
        name="", status=Organization.Status.DELETED, delete_after=None, schema_version="", migration_error=""
    )
    return True
