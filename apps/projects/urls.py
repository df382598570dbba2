from django.urls import path

from apps.projects import views

PROJECT = "projects/<uuid:project_id>/"
CLIENT = f"{PROJECT}clients/<uuid:client_id>/"

urlpatterns = [
    path("", views.overview, name="projects"),
    path("projects/new/", views.new, name="project_new"),
    path("projects/archived/", views.archived, name="projects_archived"),
    path(f"{PROJECT}settings/", views.settings, name="project_settings"),
    path(f"{PROJECT}archive", views.archive, name="project_archive"),
    path(f"{PROJECT}restore", views.restore, name="project_restore"),
    path(f"{PROJECT}delete", views.delete, name="project_delete"),
    path(f"{PROJECT}clients/", views.client_list, name="project_clients"),
    path(f"{PROJECT}clients/add", views.client_add, name="client_add"),
    path(f"{CLIENT}rename", views.client_rename, name="client_rename"),
    path(f"{CLIENT}default", views.client_default, name="client_default"),
    path(f"{CLIENT}remove", views.client_remove, name="client_remove"),
]
