"""What a tick of the sums costs with many organizations of which few are active.

Runs in a process of its own on the stack's database (see sums.py) and prints JSON.
"""

import json
import statistics
import time
import uuid
from collections.abc import Sequence

from django.db import connection

from apps.activity.services import changed_organizations, note_change
from apps.analytics.tasks import roll_up
from apps.ledger.models import Outbox
from apps.organizations.models import Organization
from apps.organizations.services import create_organization
from tenancy import tenant_scope
from tests.cast import Member

ROUNDS = 5
# Calls of an active organization between two ticks.
CALLS = 20

_CALLS = """
    INSERT INTO ledger_usageevent (id, event_id, project_id, source, occurred_at, received_at, provider, model,
        client_name, price_status, price_reason, price_lines, cost, currency, input_tokens, output_tokens, requests,
        flags)
    SELECT uuidv7(), gen_random_uuid(), %(project)s, 'json', now(), now(), 'openai', 'gpt-4o-mini', 'program', 'priced',
           '', '[]', 0.01, 'USD', 1000, 100, 1, '[]'
      FROM generate_series(1, %(calls)s)
    RETURNING id
"""


def main(most: int) -> None:
    """With a tenth of `most` organizations and with all of them, of which ten and then a hundred are active."""
    owner = Member.sign_up("owner").user
    found = []
    for count in (most // 10, most):
        while (there := Organization.objects.count()) < count:
            create_organization(name=f"Organization {there}", owner=owner)
        organizations = list(Organization.objects.order_by("id"))
        for active in (10, 100) if count == most else (10,):
            _tick(organizations[:active])  # makes all sums for the first time
            times = [_tick(organizations[:active]) for _ in range(ROUNDS)]
            found.append(
                {"organizations": count, "active": active, "median_ms": round(1000 * statistics.median(times), 1)}
            )
    print(json.dumps({"ticks": found}))


def _tick(active: Sequence[Organization]) -> float:
    """Seconds: from asking who has changed until all of these are summed up."""
    for organization in active:
        with tenant_scope(organization), connection.cursor() as cursor:
            cursor.execute(_CALLS, {"project": uuid.UUID(int=1), "calls": CALLS})
            Outbox.objects.create(events=[row_id for (row_id,) in cursor.fetchall()])
            note_change(organization.pk)
    started = time.perf_counter()
    changed = changed_organizations()
    for organization_id in changed:
        roll_up.apply(kwargs={"organization_id": str(organization_id)}, throw=True)
    seconds = time.perf_counter() - started
    if missing := {each.pk for each in active} - set(changed):
        raise SystemExit(f"{len(missing)} organizations were not said to have changed.")
    return seconds
