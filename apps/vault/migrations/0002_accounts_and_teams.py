from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("projects", "0002_accounts_and_teams"),
        ("vault", "0001_initial"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="grant",
            name="grant_once",
        ),
        migrations.RemoveConstraint(
            model_name="providerkey",
            name="provider_key_one_current",
        ),
        migrations.AddField(
            model_name="box",
            name="signed_by_account_key_version",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="grant",
            name="sender_account_key_version",
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="grant",
            name="sender_vault",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="providerkey",
            name="added_by",
            field=models.UUIDField(null=True),
        ),
        migrations.AddField(
            model_name="providerkey",
            name="deleted_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="providerkey",
            name="replaced_by",
            field=models.UUIDField(null=True),
        ),
        migrations.AddIndex(
            model_name="grant",
            index=models.Index(fields=["recipient_vault"], name="grant_recipient"),
        ),
        migrations.AddConstraint(
            model_name="grant",
            constraint=models.UniqueConstraint(
                fields=("project", "generation", "recipient_vault", "recipient_account_key_version"), name="grant_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="providerkey",
            constraint=models.UniqueConstraint(
                condition=models.Q(("archived_at", None), ("deleted_at", None)),
                fields=("project", "provider"),
                name="provider_key_one_current",
            ),
        ),
        # Until now every grant was a member's own.
        migrations.RunSQL(
            "UPDATE vault_grant SET sender_vault = recipient_vault,"
            " sender_account_key_version = recipient_account_key_version",
            migrations.RunSQL.noop,
        ),
        migrations.AlterField(model_name="grant", name="sender_vault", field=models.UUIDField()),
        migrations.AlterField(
            model_name="grant", name="sender_account_key_version", field=models.PositiveIntegerField()
        ),
    ]
