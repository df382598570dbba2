from django.urls import path

from apps.vault import recovery_api

urlpatterns = [path("stale-grants", recovery_api.stale_grants, name="vault_stale_grants")]
