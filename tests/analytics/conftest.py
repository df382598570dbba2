"""What tests of several connections share."""

import uuid
from collections.abc import Iterator

import pytest

from apps.activity.models import DailyUsage
from apps.analytics.models import DayRollup, Export, QuarterRollup, RollupState
from apps.ledger.models import Adjustment, Outbox, UsageEvent
from tenancy import tenant_scope
from tenancy.roles import as_owner
from tests.cast import Workspace


@pytest.fixture
def busy(committed: tuple[Workspace, Workspace]) -> Iterator[tuple[Workspace, uuid.UUID]]:
    """Acme, and a project whose rows are really committed, and gone in the end."""
    acme, project = committed[0], uuid.uuid4()
    yield acme, project
    with tenant_scope(acme.organization), as_owner():
        Adjustment.objects.filter(project_id=project).delete()
        UsageEvent.objects.filter(project_id=project).delete()
        for model in (Outbox, QuarterRollup, DayRollup, RollupState, Export):
            model.objects.all().delete()
    DailyUsage.objects.filter(organization=acme.organization).delete()
