from django.urls import path

from apps.analytics.api import SummaryView

urlpatterns = [path("usage/summary", SummaryView.as_view())]
