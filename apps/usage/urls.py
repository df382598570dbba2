from django.urls import path

from apps.usage import ledger_views, token_views

PROJECT = "projects/<uuid:project_id>/"
TOKENS = f"{PROJECT}ingest-tokens/"

urlpatterns = [
    path("ledger/", ledger_views.ledger, name="ledger"),
    path("ledger/<uuid:event_id>/", ledger_views.event, name="ledger_event"),
    path(TOKENS, token_views.tokens, name="ingest_tokens"),
    path(f"{TOKENS}add", token_views.token_add, name="ingest_token_add"),
    path(f"{TOKENS}<uuid:token_id>/revoke", token_views.token_revoke, name="ingest_token_revoke"),
]
