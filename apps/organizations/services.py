"""What changes organizations."""

from functools import partial

from django.db import transaction
from django.db.models.functions import Now

from apps.accounts.models import User
from apps.organizations.models import Membership, Organization
from tenancy import provisioning
from tenancy.tasks import fill_pool
from web.errors import DomainError


class OrganizationError(DomainError):
    status = 422
    code = "invalid_organization"


@transaction.atomic
def create_organization(*, name: str, owner: User) -> Organization:
    """An organization that can be entered at once, and `owner` as its owner.

    It takes a spare schema (one row update), or makes one when none is ready; a task fills the pool again.
    """
    name = name.strip()
    if not name or len(name) > 255 or "\0" in name:
        raise OrganizationError("Give the organization a name of at most 255 characters.")
    schema = provisioning.claim_schema()
    organization = Organization.objects.create(name=name, schema_name=schema.name, schema_version=schema.version)
    Membership.objects.create(organization=organization, user=owner, role=Membership.Role.OWNER, confirmed_at=Now())
    transaction.on_commit(partial(fill_pool.delay), robust=True)
    return organization
