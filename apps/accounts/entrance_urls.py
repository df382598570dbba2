from django.urls import include, path

from apps.accounts.vault_api import SignOutView

urlpatterns = [
    # Before allauth's own: the browser is told to forget what it kept.
    path("logout/", SignOutView.as_view(), name="account_logout"),
    path("", include("allauth.urls")),
]
