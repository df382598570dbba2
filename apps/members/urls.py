from django.urls import path

from apps.members import views

urlpatterns = [
    path("members/", views.members, name="members"),
    path("members/invite/", views.invite, name="members_invite"),
    path("members/invitations/<uuid:invitation_id>/resend/", views.resend, name="invitation_resend"),
    path("members/invitations/<uuid:invitation_id>/revoke/", views.revoke, name="invitation_revoke"),
    path("members/leave/", views.leave, name="members_leave"),
    path("members/checklists/", views.checklist_overview, name="members_checklists"),
    path("members/checklists/<uuid:project_id>/", views.checklist, name="members_checklist"),
    path("members/<int:membership_id>/", views.access, name="member"),
    path("members/<int:membership_id>/confirm/", views.confirm, name="member_confirm"),
    path("members/<int:membership_id>/remove/", views.remove, name="member_remove"),
    path("activity/", views.activity, name="activity"),
]
