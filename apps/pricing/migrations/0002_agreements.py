import django.contrib.postgres.fields.ranges
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pricing", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Discount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("organization_id", models.UUIDField(editable=False)),
                ("provider", models.CharField(max_length=64)),
                ("model", models.CharField(blank=True, max_length=256)),
                ("multiplier", models.DecimalField(decimal_places=8, max_digits=10)),
                ("effective", django.contrib.postgres.fields.ranges.DateTimeRangeField()),
                ("note", models.CharField(max_length=200)),
                ("author_id", models.UUIDField(editable=False)),
                ("created_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="OrganizationTerms",
            fields=[
                ("organization_id", models.UUIDField(primary_key=True, serialize=False)),
                ("version", models.PositiveBigIntegerField(default=1)),
            ],
        ),
        migrations.CreateModel(
            name="UnpricedModel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("provider", models.CharField(max_length=64)),
                ("model", models.CharField(max_length=256)),
                ("reason", models.CharField(max_length=32)),
                ("first_seen", models.DateTimeField()),
                ("last_seen", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="price",
            name="author_id",
            field=models.UUIDField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="price",
            name="created_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="price",
            name="source",
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AddField(
            model_name="pricesnapshot",
            name="closed_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="pricesnapshot",
            name="decided_by",
            field=models.CharField(blank=True, max_length=254),
        ),
        migrations.AddField(
            model_name="pricesnapshot",
            name="diff",
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name="pricesnapshot",
            name="note",
            field=models.CharField(blank=True, max_length=200),
        ),
        migrations.AddField(
            model_name="pricesnapshot",
            name="status",
            field=models.CharField(
                choices=[
                    ("pending", "Pending"),
                    ("approved", "Approved"),
                    ("rejected", "Rejected"),
                    ("superseded", "Superseded"),
                ],
                default="approved",
                max_length=16,
            ),
        ),
        migrations.AlterField(
            model_name="price",
            name="snapshot",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="prices",
                to="pricing.pricesnapshot",
            ),
        ),
        migrations.AddIndex(
            model_name="price",
            index=models.Index(
                condition=models.Q(("organization_id__isnull", False)),
                fields=["organization_id"],
                name="pricing_price_own",
            ),
        ),
    ]
