from django.urls import path

from devstack import mail_views

urlpatterns = [
    path("", mail_views.mail_list, name="dev_mail"),
    path("newest", mail_views.newest, name="dev_mail_newest"),
    path("<slug:mail_id>/", mail_views.mail, name="dev_mail_message"),
]
