import django.contrib.postgres.fields
from django.db import migrations, models

import tenancy.ids


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0007_adjustment_flags"),
    ]

    operations = [
        migrations.CreateModel(
            name="Outbox",
            fields=[
                ("id", models.UUIDField(default=tenancy.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "events",
                    django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), default=list, size=None),
                ),
                (
                    "adjustments",
                    django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), default=list, size=None),
                ),
                ("recount_project_id", models.UUIDField(null=True)),
                ("recount_from", models.DateTimeField(null=True)),
                ("recount_to", models.DateTimeField(null=True)),
            ],
            options={
                "abstract": False,
            },
        ),
    ]
