"""The one way into an organization from a browser: who is asking, whether they belong, what they may do."""

import uuid
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from allauth.mfa.utils import is_mfa_enabled
from django.http import Http404, HttpResponse

from apps.accounts.access import PersonRequest, signed_in_view
from apps.accounts.models import User
from apps.organizations.models import Membership, Organization
from apps.organizations.roles import ABILITIES, Ability
from tenancy import tenant_scope
from web.errors import DomainError

Arguments = ParamSpec("Arguments")

# In the session: the id of the organization that was looked at last.
LAST_ORGANIZATION = "organization"


class NotAllowedError(DomainError):
    status = 403
    code = "not_allowed"


class SecondFactorRequiredError(DomainError):
    status = 403
    code = "second_factor_required"


class MemberRequest(PersonRequest):
    """A request of a member, in their organization's scope."""

    membership: Membership
    organization: Organization


def access_membership(*, user: User, organization_id: uuid.UUID) -> Membership:
    """The person's membership in an organization that can be entered; Http404 otherwise, whatever the reason."""
    membership = (
        Membership.objects.select_related("organization", "user__vault")
        .filter(user=user, organization_id=organization_id, organization__status=Organization.Status.READY)
        .first()
    )
    if membership is None:
        raise Http404
    return membership


def check_ability(membership: Membership, ability: Ability) -> None:
    """NotAllowedError unless the member's role has the ability."""
    if ability not in ABILITIES[membership.role]:
        raise NotAllowedError(f"Your role here, {membership.role}, can't do this. An owner or admin can change it.")


def organization_view(
    ability: Ability,
) -> Callable[
    [Callable[Concatenate[MemberRequest, Arguments], HttpResponse]],
    Callable[..., HttpResponse],
]:
    """For views below `/o/<organization_id>/`: runs them for members with the ability, inside the tenant's scope.

    The response must be finished when the view returns: templates that render later would do so outside the scope.
    """

    def decorate(
        view: Callable[Concatenate[MemberRequest, Arguments], HttpResponse],
    ) -> Callable[..., HttpResponse]:
        @wraps(view)
        def wrapper(
            request: MemberRequest, organization_id: uuid.UUID, *args: Arguments.args, **kwargs: Arguments.kwargs
        ) -> HttpResponse:
            membership = access_membership(user=request.user, organization_id=organization_id)
            if membership.organization.requires_second_factor and not is_mfa_enabled(request.user):
                raise SecondFactorRequiredError(
                    f"{membership.organization} asks its members for a second factor. Set one up under Account."
                )
            check_ability(membership, ability)
            if request.session.get(LAST_ORGANIZATION) != str(organization_id):
                request.session[LAST_ORGANIZATION] = str(organization_id)
            request.membership = membership
            request.organization = membership.organization
            with tenant_scope(membership.organization):
                return view(request, *args, **kwargs)

        return signed_in_view(wrapper)

    return decorate
