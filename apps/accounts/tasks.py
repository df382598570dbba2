"""Background work of accounts."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from apps.accounts import devices
from apps.accounts.models import UnlockMethod
from apps.accounts.services import STALE_DAYS
from tenancy.tasks import SharedTask


@shared_task(name="accounts.delete_stale_unlock_methods", base=SharedTask)
def delete_stale_unlock_methods() -> int:
    """Deletes what resets without a recovery key left behind, STALE_DAYS later; how many."""
    return UnlockMethod.objects.filter(stale_since__lt=timezone.now() - timedelta(days=STALE_DAYS)).delete()[0]


@shared_task(name="accounts.delete_expired_sessions", base=SharedTask)
def delete_expired_sessions() -> int:
    """Deletes sessions that have ended by themselves, those of visitors among them; how many."""
    return devices.delete_expired_sessions()
