"""The Celery application that worker and beat load. Tasks are the apps' `tasks.py`; their base class is
`tenancy.tasks.TenantTask`, so that a task can't run without saying for which organization."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("anyllm-platform", task_cls="tenancy.tasks:TenantTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
