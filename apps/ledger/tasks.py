"""Background work of the ledger."""

import uuid
from collections.abc import Sequence

from celery import shared_task
from django.core.cache import cache

from apps.ledger import repricing, retention
from apps.ledger.models import Repricing
from apps.organizations.models import Organization
from apps.organizations.selectors import ready_organizations
from apps.pricing.selectors import price_version, price_versions
from tenancy.ids import uuid7
from tenancy.scope import require_tenant_id
from tenancy.tasks import SharedTask, TenantTask

# What a task does before it lets others have the worker: some 20,000 events, half a minute.
MOST_BATCHES = 40


@shared_task(name="ledger.preview_repricing", base=TenantTask)
def preview_repricing(repricing_id: str) -> None:
    """Works out what a re-pricing would change."""
    found = Repricing.objects.filter(pk=repricing_id).first()
    if found is not None:
        repricing.work_out(found)


@shared_task(name="ledger.run_repricing", base=TenantTask)
def run_repricing(repricing_id: str) -> None:
    """Goes on with a re-pricing or its reversal, and asks for itself again until it is done."""
    if repricing.run(uuid.UUID(repricing_id), batches=MOST_BATCHES):
        run_repricing.delay(repricing_id, organization_id=str(require_tenant_id()))


@shared_task(name="ledger.price_unpriced", base=SharedTask)
def price_unpriced() -> int:
    """Has every organization whose prices have changed price what had none; how many organizations.

    Where nothing has changed it costs a look into the cache. It looks twice after each change, this task's interval
    apart: other processes go on for a moment with the prices they have (apps.pricing.selectors.REVALIDATE_SECONDS).
    """
    asked = 0
    for ids in ready_organizations():
        versions = price_versions(ids)
        looked = cache.get_many([_looked_key(each) for each in ids])
        for each in ids:
            if looked.get(_looked_key(each)) != f"{versions[each]} again":
                price_unpriced_of_organization.delay(organization_id=str(each))
                asked += 1
    return asked


@shared_task(name="ledger.price_unpriced_of_organization", base=TenantTask)
def price_unpriced_of_organization(cursor: Sequence[str] = (), version: str = "", run_id: str = "") -> int:
    """Goes on pricing what had no price, from the cursor on; how many have one now. A run of several tasks is one
    re-pricing."""
    organization_id = require_tenant_id()
    run_id = run_id or str(uuid7())
    if not cursor:
        version = repricing.fresh_prices()
    priced, following = 0, tuple(cursor)
    for _ in range(MOST_BATCHES):
        changed, following = repricing.price_unpriced(uuid.UUID(run_id), following)
        priced += changed
        if not following:
            break
    if following:
        again = {"cursor": following, "version": version, "run_id": run_id}
        price_unpriced_of_organization.delay(**again, organization_id=str(organization_id))
    elif price_version(organization_id) == version:
        _note_looked(organization_id, version)
    return priced


def _note_looked(organization_id: uuid.UUID, version: str) -> None:
    """What the cache forgets is looked at once more."""
    key = _looked_key(organization_id)
    before = cache.get(key)
    cache.set(key, f"{version} again" if before in (version, f"{version} again") else version, timeout=None)


def _looked_key(organization_id: uuid.UUID) -> str:
    return f"ledger:priced:{organization_id}"


@shared_task(name="ledger.tidy", base=SharedTask)
def tidy() -> int:
    """Has every organization delete what is to be kept no longer; how many organizations."""
    asked = 0
    for ids in ready_organizations():
        for each in ids:
            tidy_organization.delay(organization_id=str(each))
            asked += 1
    return asked


@shared_task(name="ledger.tidy_organization", base=TenantTask)
def tidy_organization() -> None:
    """Deletes old span links, and events older than the organization keeps; asks again for re-pricings whose task was
    lost."""
    for each in repricing.unfinished():
        repricing.ask_again(each)
    retention.delete_old_links()
    organization = Organization.objects.get(pk=require_tenant_id())
    if retention.apply_retention(organization.usage_retention_days, batches=MOST_BATCHES):
        tidy_organization.delay(organization_id=str(organization.pk))
