from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0003_accounts_and_teams"),
    ]

    operations = [
        migrations.AddField(
            model_name="projectkeyentry",
            name="is_suspended",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
