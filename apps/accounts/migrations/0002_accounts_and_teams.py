import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("account", "0009_emailaddress_unique_primary_email"),
        ("accounts", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="Session",
            fields=[
                ("session_data", models.TextField(verbose_name="session data")),
                ("expire_date", models.DateTimeField(db_index=True, verbose_name="expire date")),
                ("session_key", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("signed_in_at", models.DateTimeField(null=True)),
                ("last_seen_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("ip_address", models.GenericIPAddressField(null=True)),
                ("user_agent", models.CharField(blank=True, max_length=256)),
            ],
            options={
                "verbose_name": "session",
                "verbose_name_plural": "sessions",
                "abstract": False,
            },
        ),
        migrations.AddField(
            model_name="unlockmethod",
            name="stale_since",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="vault",
            name="idle_minutes",
            field=models.PositiveSmallIntegerField(default=30),
        ),
        migrations.AddField(
            model_name="vault",
            name="recovery_declined_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="vault",
            name="trust_store",
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name="vault",
            name="trust_store_seq",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddConstraint(
            model_name="unlockmethod",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind__in", ["password", "passphrase", "recovery"]), ("stale_since", None)),
                fields=("vault", "kind"),
                name="unlock_method_one_current",
            ),
        ),
        migrations.AddField(
            model_name="session",
            name="user",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="sessions",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        # Until now accounts were made by the demo only, whose address is its own.
        migrations.RunSQL(
            'INSERT INTO account_emailaddress (email, verified, "primary", user_id)'
            " SELECT email, true, true, id FROM accounts_user ON CONFLICT DO NOTHING",
            migrations.RunSQL.noop,
        ),
    ]
