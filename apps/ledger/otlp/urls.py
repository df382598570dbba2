from django.urls import path

from apps.ledger.api import export_traces

urlpatterns = [path("traces", export_traces)]
