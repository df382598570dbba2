"""Pages about ways to unlock one's vault. What they do is JSON below /vault/ (apps/accounts/vault_api.py)."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from apps.accounts import selectors
from apps.accounts.access import PersonRequest, signed_in_view
from apps.accounts.models import Vault

IDLE_CHOICES = ((5, "5 minutes"), (15, "15 minutes"), (30, "30 minutes"), (60, "1 hour"), (240, "4 hours"))


@require_GET
@signed_in_view
def unlock_methods(request: PersonRequest) -> HttpResponse:
    vault = Vault.objects.get(user=request.user)
    methods = selectors.unlock_methods(vault)
    return render(
        request,
        "accounts/unlock.html",
        {
            "vault": vault,
            "methods": [method for method in methods if method.stale_since is None],
            "stale": [method for method in methods if method.stale_since is not None],
            "recovery": selectors.recovery_status(vault),
            "idle_choices": IDLE_CHOICES,
            "idle_minutes": vault.idle_minutes,
        },
    )


@require_GET
@signed_in_view
def recovery_key(request: PersonRequest) -> HttpResponse:
    vault = Vault.objects.get(user=request.user)
    return render(request, "accounts/recovery_key.html", {"recovery": selectors.recovery_status(vault)})
