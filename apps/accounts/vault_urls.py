from django.urls import path

from apps.accounts import vault_api

urlpatterns = [
    path("prelogin", vault_api.prelogin, name="vault_prelogin"),
    path("bootstrap", vault_api.bootstrap, name="vault_bootstrap"),
    path("share", vault_api.share, name="vault_share"),
    path("lock", vault_api.lock, name="vault_lock"),
    path("trust-store", vault_api.trust_store, name="vault_trust_store"),
    path("unlock-methods", vault_api.add_unlock_method, name="vault_unlock_methods"),
    path("unlock-methods/<uuid:unlock_id>/delete", vault_api.delete_unlock_method, name="vault_unlock_method_delete"),
    path("recovery/decline", vault_api.decline_recovery, name="vault_recovery_decline"),
    path("idle", vault_api.idle, name="vault_idle"),
    path("reauthenticate", vault_api.reauthenticate, name="vault_reauthenticate"),
]
