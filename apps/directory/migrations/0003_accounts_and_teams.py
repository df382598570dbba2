from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0002_unlogged_challenges"),
        ("organizations", "0002_accounts_and_teams"),
    ]

    operations = [
        migrations.AddField(
            model_name="projectkeyentry",
            name="retire_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name="projectkeyentry",
            index=models.Index(
                condition=models.Q(("status", "retiring")), fields=["retire_at"], name="directory_retire_due"
            ),
        ),
    ]
