"""Pages of one's own account: profile, security, sessions, deletion."""

from allauth.account.decorators import reauthentication_required
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.contrib.auth import logout
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.access import PersonRequest, signed_in_view
from apps.accounts.deletion import delete_account, deletion_obstacles
from apps.accounts.devices import devices, end_other_sessions, end_session
from apps.accounts.models import UnlockMethod, User
from apps.accounts.profile import DeleteAccountForm, ProfileForm


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in_view
def profile(request: PersonRequest) -> HttpResponse:
    form = ProfileForm(request.POST or None, instance=request.user)
    if form.is_valid():
        form.save()
        messages.success(request, "Your profile is saved.")
        return redirect("account_profile")
    if form.is_bound:
        # The frame shows the name that is stored, not the one that was refused.
        request.user = User.objects.get(pk=request.user.pk)
    return render(request, "accounts/profile.html", {"form": form})


@require_safe
@signed_in_view
def security(request: PersonRequest) -> HttpResponse:
    user = request.user
    authenticators = list(Authenticator.objects.filter(user=user))
    recovery_codes = next((one for one in authenticators if one.type == Authenticator.Type.RECOVERY_CODES), None)
    unlock_kinds = set(UnlockMethod.objects.filter(vault__user=user, stale_since=None).values_list("kind", flat=True))
    context = {
        "has_password": user.has_usable_password(),
        "new_address": EmailAddress.objects.filter(user=user, verified=False).first(),
        "app": next((one for one in authenticators if one.type == Authenticator.Type.TOTP), None),
        "keys": [one for one in authenticators if one.type == Authenticator.Type.WEBAUTHN],
        "codes_left": len(recovery_codes.wrap().get_unused_codes()) if recovery_codes else None,
        "unlock_kinds": unlock_kinds,
        "devices": devices(user=user, current=request.session),
    }
    return render(request, "accounts/security.html", context)


@require_safe
@signed_in_view
def sessions(request: PersonRequest) -> HttpResponse:
    return render(request, "accounts/sessions.html", {"devices": devices(user=request.user, current=request.session)})


@require_POST
@signed_in_view
def end_one_session(request: PersonRequest) -> HttpResponse:
    if not end_session(user=request.user, device_id=request.POST.get("device", ""), current=request.session):
        raise Http404
    messages.success(request, "That browser is signed out.")
    return redirect("account_sessions")


@require_POST
@signed_in_view
def end_sessions(request: PersonRequest) -> HttpResponse:
    count = end_other_sessions(user=request.user, current=request.session)
    messages.success(request, f"Signed out {count} other browser{'' if count == 1 else 's'}.")
    return redirect("account_sessions")


@require_http_methods(["GET", "HEAD", "POST"])
@reauthentication_required  # type: ignore[untyped-decorator]  # allauth has no types
@signed_in_view
def delete(request: PersonRequest) -> HttpResponse:
    found = deletion_obstacles(request.user)
    form = DeleteAccountForm(request.POST or None, user=request.user)
    if not found and form.is_valid():
        delete_account(user=request.user)
        return _goodbye(request)
    return render(request, "accounts/delete.html", {"form": form, "obstacles": found}, status=409 if found else 200)


def _goodbye(request: HttpRequest) -> HttpResponse:
    logout(request)
    # The browser's half of the vault's keys goes, too.
    response = render(request, "accounts/deleted.html")
    response["Clear-Site-Data"] = '"cache", "storage"'
    return response
