import django.db.models.functions.datetime
from django.db import migrations, models

import tenancy.ids


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0002_export"),
    ]

    operations = [
        migrations.CreateModel(
            name="SavedView",
            fields=[
                ("id", models.UUIDField(default=tenancy.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                (
                    "page",
                    models.CharField(
                        choices=[
                            ("overview", "Overview"),
                            ("performance", "Performance"),
                            ("sessions", "Sessions"),
                            ("ledger", "Ledger"),
                        ],
                        max_length=16,
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                ("query", models.JSONField(default=dict)),
                ("owner_id", models.UUIDField()),
                ("is_shared", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_shared", False)),
                        fields=("owner_id", "name"),
                        name="saved_view_once_a_person",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_shared", True)), fields=("name",), name="saved_view_once_shared"
                    ),
                ],
            },
        ),
    ]
