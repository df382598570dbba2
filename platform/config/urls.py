"""Every URL. Those below /api/v1 and /v1 are a contract with released SDKs: exactly as written, no redirects."""

from django.conf import settings
from django.urls import include, path, re_path

from web import headers, health, showcase, views

sdk_endpoints = [path("", include(f"apps.{app}.urls")) for app in ("sdk", "ledger", "analytics")]

urlpatterns = [
    path("", views.landing, name="landing"),
    path("accounts/", include("apps.accounts.entrance_urls")),
    path("account/", include("apps.accounts.urls")),
    path("vault/", include("apps.accounts.vault_urls")),
    path("vault/", include("apps.vault.recovery_urls")),
    path("", include("apps.organizations.urls")),
    path("invitations/", include("apps.members.invitation_urls")),
    path("welcome/", include("apps.onboarding.urls")),
    path("o/<uuid:organization_id>/", include("apps.members.urls")),
    path("o/<uuid:organization_id>/", include("apps.projects.urls")),
    path("o/<uuid:organization_id>/", include("apps.vault.urls")),
    path("o/<uuid:organization_id>/", include("apps.analytics.page_urls")),
    path("o/<uuid:organization_id>/", include("apps.usage.urls")),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("csp-reports", headers.csp_reports),
    path("api/v1/", include(sdk_endpoints)),
    # Releases before 1.9 append /api/v1 to an address that their users may have copied with it.
    path("api/v1/api/v1/", include(sdk_endpoints)),
    # Without a slash: exporters take a redirect for success, and what they sent would be lost.
    path("v1/", include("apps.ledger.otlp.urls")),
    re_path(r"^(?:api|v1)/", views.no_endpoint),
]

if settings.DEBUG:
    # What was sent while developing, instead of a mailbox.
    urlpatterns.insert(0, path("dev/mail/", include("devstack.mail_urls")))
    urlpatterns += [path("dev/components/", showcase.components), path("dev/entrance/", showcase.entrance)]

handler400 = views.bad_request
handler500 = views.server_error
