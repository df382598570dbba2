from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0002_accounts_and_teams"),
    ]

    operations = [
        migrations.AddField(
            model_name="project",
            name="deleted_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="projectkey",
            name="given_up_reason",
            field=models.CharField(blank=True, db_default="", default="", max_length=255),
        ),
        migrations.AddField(
            model_name="projectkey",
            name="previous_public_key",
            field=models.BinaryField(blank=True, db_default=b"", default=b"", max_length=32),
        ),
    ]
