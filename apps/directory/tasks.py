"""Background work of the key directory."""

from celery import shared_task
from django.db.models.functions import Now

from apps.directory.models import Challenge
from tenancy.tasks import SharedTask


@shared_task(name="directory.delete_expired_challenges", base=SharedTask)
def delete_expired_challenges() -> int:
    """Deletes challenges nobody solved in time; how many."""
    return Challenge.objects.filter(expires_at__lt=Now()).delete()[0]
