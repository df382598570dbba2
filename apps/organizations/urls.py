from django.urls import path

from apps.organizations import views

urlpatterns = [
    path("o/", views.home, name="organizations"),
    path("o/new/", views.new, name="organization_new"),
    path("o/<uuid:organization_id>/settings/", views.settings, name="organization_settings"),
    path("o/<uuid:organization_id>/settings/delete/", views.delete, name="organization_delete"),
    path("o/<uuid:organization_id>/deleting/", views.deleting, name="organization_deleting"),
]
