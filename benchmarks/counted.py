"""How long it takes to count what the ledger of the first organization has noted.

Runs in a process of its own on the stack's database (see sums.py) and prints JSON.
"""

import json
import time

from apps.analytics import rollups
from apps.analytics.rollups import until_done
from apps.ledger.models import Outbox
from apps.organizations.models import Organization
from tenancy import tenant_scope


def main(_: int) -> None:
    organization = Organization.objects.order_by("id")[0]
    with tenant_scope(organization):
        events = sum(len(note.events) for note in Outbox.objects.all())
        started = time.perf_counter()
        until_done(lambda: rollups.roll_up(organization.time_zone))
        print(json.dumps({"events": events, "seconds": time.perf_counter() - started}))
