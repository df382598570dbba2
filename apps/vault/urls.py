from django.urls import path

from apps.vault import api, grants_api, rotation_api, views

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
    path(f"{PROJECT}key/", rotation_api.key_page, name="project_key"),
    path(f"{PROJECT}keyset", rotation_api.keyset_view),
    path(f"{PROJECT}rotation", rotation_api.rotation_view),
    path(f"{PROJECT}rotate", rotation_api.rotate),
    path(f"{PROJECT}keys", rotation_api.create),
    path(f"{PROJECT}keys/candidate", rotation_api.candidate),
    path(f"{PROJECT}keys/extend", rotation_api.extend),
    path(f"{PROJECT}keys/retire", rotation_api.retire),
    path(f"{PROJECT}keys/roll-back", rotation_api.roll_back),
    path(f"{PROJECT}keys/undo", rotation_api.undo),
    path(f"{PROJECT}keys/adopt", rotation_api.adopt),
    path(f"{PROJECT}keys/shown", rotation_api.shown),
    path(f"{PROJECT}grants/self", rotation_api.own_grant),
    path("members/<int:membership_id>/grants", grants_api.confirm, name="member_grants"),
]
