from django.urls import path

from apps.vault import api, rotation_api, views

PROJECT = "projects/<uuid:project_id>/"
PROVIDER_KEYS = f"{PROJECT}provider-keys"
PROVIDER_KEY = f"{PROVIDER_KEYS}/<uuid:provider_key_id>"

urlpatterns = [
    path(PROJECT, views.provider_keys, name="provider_keys"),
    path(PROVIDER_KEYS, api.listing),
    path(f"{PROVIDER_KEYS}/seals", api.seals),
    path(f"{PROVIDER_KEYS}/add", api.add),
    path(f"{PROVIDER_KEY}/replace", api.replace),
    path(f"{PROVIDER_KEY}/archive", api.archive),
    path(f"{PROVIDER_KEY}/restore", api.restore),
    path(f"{PROVIDER_KEY}/delete", api.delete),
    path(f"{PROVIDER_KEY}/reveal", api.reveal),
    path(f"{PROVIDER_KEY}/clients", api.clients),
    path(f"{PROJECT}keyset", rotation_api.keyset_view),
]
