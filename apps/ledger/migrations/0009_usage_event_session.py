from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("ledger", "0008_outbox"),
    ]

    operations = [
        # One that was interrupted leaves an index that is not valid, and the name taken.
        migrations.RunSQL("DROP INDEX CONCURRENTLY IF EXISTS usage_event_session", migrations.RunSQL.noop),
        AddIndexConcurrently(
            model_name="usageevent",
            index=models.Index(
                condition=models.Q(("session", ""), _negated=True),
                fields=["project_id", "session", "-occurred_at", "-id"],
                name="usage_event_session",
            ),
        ),
    ]
