"""Background work of the vault."""

from celery import shared_task
from django.db.models.functions import Now

from apps.directory.models import ProjectKeyEntry
from apps.organizations.models import Organization
from apps.projects.models import Project
from apps.vault.rotation import retire_due
from tenancy.tasks import SharedTask, TenantTask


@shared_task(name="vault.retire_due_project_keys", base=SharedTask)
def retire_due_project_keys() -> int:
    """Has every organization with keys whose time is over retire them; how many organizations.

    It changes nothing itself: an organization whose task is lost on the way is found again the next time.
    """
    due = ProjectKeyEntry.objects.filter(
        status=ProjectKeyEntry.Status.RETIRING,
        retire_at__lte=Now(),
        organization__status=Organization.Status.READY,
    )
    organizations = due.order_by("organization_id").values_list("organization_id", flat=True).distinct()
    for organization_id in organizations:
        retire_due_of_organization.delay(organization_id=str(organization_id))
    return len(organizations)


@shared_task(name="vault.retire_due_of_organization", base=TenantTask)
def retire_due_of_organization() -> int:
    """Retires an organization's keys whose time is over, with their boxes and grants, one project a transaction."""
    due = ProjectKeyEntry.objects.filter(status=ProjectKeyEntry.Status.RETIRING, retire_at__lte=Now())
    project_ids = list(Project.objects.filter(deleted_at=None).values_list("id", flat=True))
    return sum(
        retire_due(project_id)
        for project_id in due.filter(project_id__in=project_ids).values_list("project_id", flat=True).distinct()
    )
