from django.urls import path

from apps.analytics import views

urlpatterns = [
    path("usage/", views.overview, name="usage"),
    path("usage/performance/", views.performance, name="usage_performance"),
]
