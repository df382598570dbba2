from django.urls import path

from apps.onboarding import views

ORGANIZATION = "<uuid:organization_id>/"
PROJECT = f"{ORGANIZATION}projects/<uuid:project_id>/"

urlpatterns = [
    path("", views.welcome, name="welcome"),
    path("start/", views.start, name="welcome_start"),
    path("recovery-key/", views.recovery_key, name="welcome_recovery_key"),
    path(f"{ORGANIZATION}project/", views.project, name="welcome_project"),
    path(f"{PROJECT}provider-key/", views.provider_key, name="welcome_provider_key"),
    path(f"{PROJECT}any-llm-key/", views.any_llm_key, name="welcome_any_llm_key"),
    path(f"{PROJECT}connect/", views.connect, name="welcome_connect"),
    path(f"{PROJECT}first-call", views.first_call_view, name="first_call"),
]
