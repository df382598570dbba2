from django.urls import path

from apps.ledger.api import UsageEventBatchView, UsageEventsView

urlpatterns = [
    path("usage-events/", UsageEventsView.as_view()),
    path("usage-events/batch", UsageEventBatchView.as_view()),
]
