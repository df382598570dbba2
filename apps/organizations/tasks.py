"""Background work of organizations."""

from celery import shared_task

from apps.organizations import services
from tenancy.tasks import SharedTask


@shared_task(name="organizations.delete_due", base=SharedTask)
def delete_due() -> int:
    """Deletes organizations whose owners had their days to change their minds; how many."""
    return services.delete_due()
