"""Summing up and exporting in the background."""

import uuid

from celery import shared_task
from django.utils import timezone

from apps.activity.services import changed_organizations, note_summed
from apps.analytics import rollups
from apps.analytics.exports import making
from apps.analytics.rollups import Progress
from apps.ledger.models import Outbox
from apps.organizations.models import Organization
from apps.organizations.selectors import ready_organizations
from tenancy.scope import require_tenant_id
from tenancy.tasks import SharedTask, TenantTask

# Beat asks every two seconds: what was not begun by then has been asked for again.
EXPIRES = 10.0
# Transactions of a task before it lets others have the worker.
MOST_STEPS = 50


@shared_task(name="analytics.roll_up_changed", base=SharedTask)
def roll_up_changed() -> int:
    """Has the organizations whose ledger changed sum it up; how many. One query, whatever the number of the others."""
    changed = changed_organizations()
    for organization_id in changed:
        roll_up.apply_async(kwargs={"organization_id": str(organization_id)}, expires=EXPIRES)
    return len(changed)


@shared_task(name="analytics.roll_up", base=TenantTask)
def roll_up() -> str:
    """Counts what an organization's ledger has noted; what became of it."""
    organization = Organization.objects.get(pk=require_tenant_id())
    for _ in range(MOST_STEPS):
        started = timezone.now()
        progress = rollups.roll_up(organization.time_zone)
        if progress is Progress.DONE:
            note_summed(organization.pk, started)
        if progress is not Progress.MORE:
            break
    return progress.value


@shared_task(name="analytics.sweep", base=SharedTask)
def sweep() -> int:
    """Has every organization look whether something was noted that nobody said; how many."""
    asked = 0
    for ids in ready_organizations():
        for organization_id in ids:
            sweep_organization.delay(organization_id=str(organization_id))
            asked += 1
    return asked


@shared_task(name="analytics.sweep_organization", base=TenantTask)
def sweep_organization() -> None:
    """Sums up where there is something to, also where that was never done. Goes on with exports, and ends old ones."""
    organization_id = str(require_tenant_id())
    if Outbox.objects.exists() or rollups.is_due(Organization.objects.get(pk=organization_id).time_zone):
        roll_up.delay(organization_id=organization_id)
    making.tidy()


@shared_task(name="analytics.make_export", base=TenantTask)
def make_export(export_id: str) -> None:
    """Makes the file of an export."""
    making.make(uuid.UUID(export_id))
