from django.urls import path

from apps.usage import (
    export_views,
    ledger_views,
    price_views,
    repricing_views,
    saved_view_views,
    session_views,
    settings_views,
    token_views,
)

PROJECT = "projects/<uuid:project_id>/"
REPRICING = "prices/repricing/<uuid:repricing_id>/"
TOKENS = f"{PROJECT}ingest-tokens/"

urlpatterns = [
    path("usage/sessions/", session_views.sessions, name="sessions"),
    path("usage/sessions/<uuid:project_id>/", session_views.session, name="session"),
    path("usage/views/new/", saved_view_views.new, name="saved_view_new"),
    path("usage/views/<uuid:view_id>/", saved_view_views.view, name="saved_view"),
    path("usage/views/<uuid:view_id>/update", saved_view_views.update, name="saved_view_update"),
    path("usage/views/<uuid:view_id>/delete", saved_view_views.delete, name="saved_view_delete"),
    path("ledger/", ledger_views.ledger, name="ledger"),
    path("ledger/doubts/", ledger_views.doubts, name="ledger_doubts"),
    path("ledger/completeness", ledger_views.completeness, name="ledger_completeness"),
    path("ledger/<uuid:event_id>/", ledger_views.event, name="ledger_event"),
    path("usage/exports/", export_views.exports, name="exports"),
    path("usage/exports/state", export_views.state, name="exports_state"),
    path("usage/exports/<uuid:export_id>/file", export_views.file, name="export_file"),
    path("prices/", price_views.prices, name="prices"),
    path("prices/add/", price_views.price_add, name="price_add"),
    path("prices/end", price_views.price_end, name="price_end"),
    path("prices/withdraw", price_views.price_withdraw, name="price_withdraw"),
    path("prices/discounts/add/", price_views.discount_add, name="discount_add"),
    path("prices/discounts/end", price_views.discount_end, name="discount_end"),
    path("prices/discounts/withdraw", price_views.discount_withdraw, name="discount_withdraw"),
    path("prices/unpriced/", price_views.unpriced, name="prices_unpriced"),
    path("prices/list/", price_views.listed, name="price_list"),
    path("prices/repricing/", repricing_views.repricings, name="repricings"),
    path("prices/repricing/new/", repricing_views.new, name="repricing_new"),
    path(REPRICING, repricing_views.repricing, name="repricing"),
    path(f"{REPRICING}state", repricing_views.state, name="repricing_state"),
    path(f"{REPRICING}apply", repricing_views.apply, name="repricing_apply"),
    path(f"{REPRICING}reverse", repricing_views.reverse, name="repricing_reverse"),
    path("settings/usage/", settings_views.retention, name="usage_retention"),
    path(f"{PROJECT}labels", settings_views.labels, name="project_labels"),
    path(TOKENS, token_views.tokens, name="ingest_tokens"),
    path(f"{TOKENS}add", token_views.token_add, name="ingest_token_add"),
    path(f"{TOKENS}<uuid:token_id>/revoke", token_views.token_revoke, name="ingest_token_revoke"),
]
