"""How far a new person has come. It follows from what exists, so nothing of it is stored."""

import uuid
from datetime import datetime
from enum import StrEnum

import msgspec
from allauth.mfa.utils import is_mfa_enabled
from django.db.models import Max

from apps.accounts.models import User, Vault
from apps.accounts.selectors import is_vault_ready
from apps.ledger.selectors import latest_event
from apps.organizations.models import Membership, Organization
from apps.organizations.roles import HOLDERS_OF_ALL
from apps.projects.models import Project
from apps.vault.models import ProviderKey
from tenancy import tenant_scope


class Step(StrEnum):
    RECOVERY_KEY = "recovery-key"
    PROJECT = "project"
    PROVIDER_KEY = "provider-key"
    ANY_LLM_KEY = "any-llm-key"
    CONNECT = "connect"


# As the progress bar names them, in their order.
STEPS = {
    Step.RECOVERY_KEY: "Recovery key",
    Step.PROJECT: "Project",
    Step.PROVIDER_KEY: "Provider key",
    Step.ANY_LLM_KEY: "ANY_LLM_KEY",
    Step.CONNECT: "First call",
}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call as the ledger has it. `cost` is exact, as text; None where no price is known."""

    provider: str
    model: str
    client_name: str
    input_tokens: int | None
    output_tokens: int | None
    duration_ms: float | None
    cost: str | None
    currency: str
    occurred_at: datetime


class FirstCall(msgspec.Struct, frozen=True, kw_only=True):
    """What has come of a project's ANY_LLM_KEY: when a provider key was last fetched with it, and the newest call."""

    fetched_at: datetime | None
    call: Call | None


def own_organization(user: User) -> Organization | None:
    """The organization that a person sets up: their only one, where they hold all keys."""
    memberships = list(
        Membership.objects.select_related("organization").filter(
            user=user, organization__status=Organization.Status.READY
        )[:2]
    )
    if len(memberships) != 1:
        return None
    [membership] = memberships
    if membership.role not in HOLDERS_OF_ALL or membership.confirmed_at is None:
        return None
    organization = membership.organization
    return None if organization.requires_second_factor and not is_mfa_enabled(user) else organization


def is_new(user: User) -> bool:
    """Whether a person has an organization to set up and nothing in it yet."""
    organization = own_organization(user)
    if organization is None:
        return False
    with tenant_scope(organization):
        return not Project.objects.filter(deleted_at=None).exists()


def current_step(user: User) -> tuple[Step, Organization | None, uuid.UUID | None] | None:
    """The first step that is not done, with the organization and project that it is about; None when all are."""
    organization = own_organization(user)
    if organization is None:
        return None
    vault = Vault.objects.filter(user=user).first()
    if vault is not None and not is_vault_ready(vault):
        return Step.RECOVERY_KEY, organization, None
    with tenant_scope(organization):
        project = Project.objects.filter(archived_at=None, deleted_at=None).order_by("created_at").first()
        if project is None:
            return Step.PROJECT, organization, None
        if not ProviderKey.objects.filter(project=project, archived_at=None).exists():
            return Step.PROVIDER_KEY, organization, project.id
        found = first_call(project)
        if found.call is not None:
            return None
        return Step.CONNECT if found.fetched_at else Step.ANY_LLM_KEY, organization, project.id


def first_call(project: Project) -> FirstCall:
    """In the organization's scope."""
    fetched_at: datetime | None = ProviderKey.objects.filter(project=project).aggregate(at=Max("last_used_at"))["at"]
    event = latest_event(project.id)
    if event is None:
        return FirstCall(fetched_at=fetched_at, call=None)
    call = Call(
        provider=event.provider,
        model=event.model,
        client_name=event.client_name,
        input_tokens=event.input_tokens,
        output_tokens=event.output_tokens,
        duration_ms=event.total_duration_ms,
        cost=None if event.cost is None else f"{event.cost.normalize():f}",
        currency=event.currency,
        occurred_at=event.occurred_at,
    )
    # A call whose provider key was never fetched is one whose key came from elsewhere: the first lamp is lit by it.
    return FirstCall(fetched_at=fetched_at or event.occurred_at, call=call)
