"""The page behind the link of an invitation. Whoever has the link may read it; only the address that was invited can
accept."""

from urllib.parse import urlencode

from allauth.account.models import EmailAddress
from allauth.mfa.utils import is_mfa_enabled
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from apps.accounts.adapter import INVITATION
from apps.accounts.models import User
from apps.members import selectors, services
from apps.members.selectors import InvitationState, invitation_state
from apps.organizations.models import Membership
from apps.organizations.roles import DESCRIPTIONS, KEY_HOLDERS
from apps.organizations.views import remember_invitation


@never_cache
@require_http_methods(["GET", "POST"])
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    found = selectors.invitation_of(token)
    if found is None:
        request.session.pop(INVITATION, None)
        return render(request, "members/invitation_closed.html", {"state": "unknown"}, status=404)
    user = request.user
    if isinstance(user, User) and Membership.objects.filter(organization=found.organization_id, user=user).exists():
        request.session.pop(INVITATION, None)
        if found.organization.is_ready:
            messages.info(request, f"You are a member of {found.organization} already.")
        return redirect("organizations")
    state = invitation_state(found)
    if state != InvitationState.OPEN:
        request.session.pop(INVITATION, None)
        return render(request, "members/invitation_closed.html", {"state": state, "invitation": found}, status=410)
    context = {
        "invitation": found,
        "description": DESCRIPTIONS[found.role],
        "is_key_holder": found.role in KEY_HOLDERS,
    }
    if not isinstance(user, User):
        remember_invitation(request, token)
        here = reverse("invitation", args=[token])
        context["sign_in_url"] = f"{reverse('account_login')}?{urlencode({'next': here})}"
        context["sign_up_url"] = f"{reverse('account_signup')}?{urlencode({'next': here, 'email': found.email})}"
        return render(request, "members/invitation.html", context)
    address = EmailAddress.objects.filter(user=user, email__iexact=found.email).order_by("-verified").first()
    if address is None or not address.verified:
        context["address"] = address
        return render(request, "members/invitation_other.html", context, status=403)
    if request.method == "POST":
        try:
            membership = services.accept(user=user, token=token)
        except services.InvitationClosedError:
            # Taken back, or accepted in another tab, since it was looked at: the page says which.
            return redirect("invitation", token=token)
        request.session.pop(INVITATION, None)
        messages.success(request, f"You are a member of {membership.organization} now.")
        return redirect(f"/o/{membership.organization_id}/")
    remember_invitation(request, token)
    context["needs_second_factor"] = found.organization.requires_second_factor and not is_mfa_enabled(user)
    return render(request, "members/invitation.html", context)
