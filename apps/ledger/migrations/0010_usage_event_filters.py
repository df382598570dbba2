from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

INDEXES = (
    models.Index(fields=["project_id", "-occurred_at", "-id", "model"], name="usage_event_latest"),
    models.Index(
        fields=["project_id", "-occurred_at", "-id"],
        condition=models.Q(("ending", "ok"), _negated=True),
        name="usage_event_not_ok",
    ),
)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [
        ("ledger", "0009_usage_event_session"),
    ]

    operations = [
        *(
            operation
            for index in INDEXES
            for operation in (
                # One that was interrupted leaves an index that is not valid, and the name taken.
                migrations.RunSQL(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}", migrations.RunSQL.noop),
                AddIndexConcurrently(model_name="usageevent", index=index),
            )
        ),
        RemoveIndexConcurrently(model_name="usageevent", name="usage_event_by_time"),
    ]
