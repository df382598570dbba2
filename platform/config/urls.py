"""Every URL. Those below /api/v1 and /v1 are a contract with released SDKs: exactly as written, no redirects."""

from django.urls import include, path

from web import health, views

urlpatterns = [
    path("", views.landing, name="landing"),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("api/v1/", include("apps.sdk.urls")),
    path("api/v1/", include("apps.ledger.urls")),
]

handler400 = views.bad_request
handler404 = views.not_found
handler500 = views.server_error
