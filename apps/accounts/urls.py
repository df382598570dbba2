from django.urls import path

from apps.accounts import unlock_views, views

urlpatterns = [
    path("", views.profile, name="account_profile"),
    path("security/", views.security, name="account_security"),
    path("unlock/", unlock_views.unlock_methods, name="account_unlock"),
    path("recovery-key/", unlock_views.recovery_key, name="account_recovery_key"),
    path("sessions/", views.sessions, name="account_sessions"),
    path("sessions/end/", views.end_one_session, name="account_end_session"),
    path("sessions/end-others/", views.end_sessions, name="account_end_other_sessions"),
    path("delete/", views.delete, name="account_delete"),
]
