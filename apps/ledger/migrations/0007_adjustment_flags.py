from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ledger", "0005_usage_event_period"),
    ]

    operations = [
        migrations.AddField(
            model_name="adjustment",
            name="flags",
            field=models.JSONField(null=True),
        ),
    ]
