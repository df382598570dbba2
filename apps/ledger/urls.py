from django.urls import path

from apps.ledger.api import UsageEventsView

urlpatterns = [path("usage-events/", UsageEventsView.as_view())]
