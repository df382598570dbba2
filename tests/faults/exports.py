"""An export of many calls, asked for: run in a process of its own by tests.faults.stack, which reads what it prints."""

import json
import uuid

from django.db import connection

from apps.analytics.exports.making import request_export
from apps.analytics.exports.wanted import Content, Format, Wanted
from apps.ledger.models import UsageEvent
from apps.ledger.selectors import EventFilter
from apps.organizations.models import Organization
from tenancy import tenant_scope
from tests.ledger import facts


def main(count: int) -> None:
    """Makes so many calls of a project that nobody else knows, and prints organization_id, project_id, export_id."""
    organization, project = Organization.objects.order_by("id")[0], uuid.uuid4()
    with tenant_scope(organization):
        like = facts.event(project)
        columns = [
            f'"{field.column}"' for field in UsageEvent._meta.concrete_fields if field.name not in ("id", "event_id")
        ]
        names = ", ".join(columns)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO ledger_usageevent (id, event_id, {names})"
                f" SELECT gen_random_uuid(), gen_random_uuid(), {names} FROM ledger_usageevent, generate_series(2, %s)"
                " WHERE id = %s",
                [count, like.id],
            )
        calls = EventFilter(project_ids=(project,))
        asked = Wanted(content=Content.ROWS, format=Format.CSV, filter=calls, zone="UTC")
        export, _ = request_export(asked, expected_rows=count, author_id=uuid.uuid4())
    print(json.dumps([str(each) for each in (organization.pk, project, export.pk)]))
