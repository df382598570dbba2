import django.contrib.postgres.constraints
import django.contrib.postgres.fields.ranges
import django.contrib.postgres.operations
import django.db.models.deletion
import django.db.models.functions.comparison
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        # For `=` on plain columns in a gist index. Trusted: the database's owner may create it.
        django.contrib.postgres.operations.BtreeGistExtension(),
        migrations.CreateModel(
            name="PriceSnapshot",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("source", models.CharField(max_length=64)),
                ("source_version", models.CharField(max_length=64)),
                ("sha256", models.CharField(max_length=64, unique=True)),
                ("fetched_at", models.DateTimeField()),
                ("approved_at", models.DateTimeField(null=True)),
                ("document", models.BinaryField()),
            ],
        ),
        migrations.CreateModel(
            name="Price",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("organization_id", models.UUIDField(editable=False, null=True)),
                ("provider", models.CharField(max_length=64)),
                ("canonical_model", models.CharField(max_length=256)),
                ("meter", models.CharField(max_length=32)),
                ("per", models.PositiveBigIntegerField()),
                ("tier_above", models.PositiveBigIntegerField(default=0)),
                ("variant", models.JSONField(default=dict)),
                ("tod_start", models.TimeField(null=True)),
                ("tod_end", models.TimeField(null=True)),
                ("weekday_mask", models.PositiveSmallIntegerField(default=127)),
                ("effective", django.contrib.postgres.fields.ranges.DateTimeRangeField()),
                ("unit_price", models.DecimalField(decimal_places=10, max_digits=18)),
                ("minimum", models.PositiveBigIntegerField(default=0)),
                ("currency", models.CharField(default="USD", max_length=3)),
                ("note", models.CharField(blank=True, max_length=200)),
                (
                    "closed_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="closed_prices",
                        to="pricing.pricesnapshot",
                    ),
                ),
                (
                    "snapshot",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="prices",
                        to="pricing.pricesnapshot",
                    ),
                ),
            ],
            options={
                "constraints": [
                    django.contrib.postgres.constraints.ExclusionConstraint(
                        expressions=[
                            ("canonical_model", "="),
                            ("provider", "="),
                            ("meter", "="),
                            ("tier_above", "="),
                            (django.db.models.functions.comparison.Cast("variant", models.TextField()), "="),
                            (
                                django.db.models.functions.comparison.Coalesce(
                                    "tod_start", models.Value("00:00", output_field=models.TimeField())
                                ),
                                "=",
                            ),
                            (
                                django.db.models.functions.comparison.Coalesce(
                                    "tod_end", models.Value("00:00", output_field=models.TimeField())
                                ),
                                "=",
                            ),
                            ("weekday_mask", "="),
                            (
                                django.db.models.functions.comparison.Coalesce(
                                    "organization_id",
                                    models.Value(
                                        "00000000-0000-0000-0000-000000000000", output_field=models.UUIDField()
                                    ),
                                ),
                                "=",
                            ),
                            ("effective", "&&"),
                        ],
                        name="pricing_price_one_at_a_time",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("unit_price__gte", 0)), name="pricing_price_not_negative"
                    ),
                    models.CheckConstraint(condition=models.Q(("per__gt", 0)), name="pricing_price_per_positive"),
                    models.CheckConstraint(
                        condition=models.Q(("weekday_mask__gt", 0), ("weekday_mask__lte", 127)),
                        name="pricing_price_weekdays",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("tod_end", None), ("tod_start", None)),
                            models.Q(
                                ("tod_end__isnull", False),
                                ("tod_start__isnull", False),
                                models.Q(("tod_start", models.F("tod_end")), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="pricing_price_hours",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("effective__upper_inc", False)), name="pricing_price_half_open"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ModelAlias",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("organization_id", models.UUIDField(editable=False, null=True)),
                ("provider", models.CharField(max_length=64)),
                ("rule", models.JSONField()),
                ("canonical_provider", models.CharField(max_length=64)),
                ("canonical_model", models.CharField(max_length=256)),
                ("priority", models.PositiveIntegerField()),
                ("source", models.CharField(max_length=64)),
                (
                    "closed_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="closed_aliases",
                        to="pricing.pricesnapshot",
                    ),
                ),
                (
                    "snapshot",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="aliases",
                        to="pricing.pricesnapshot",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_by", None)),
                        fields=("organization_id", "provider", "canonical_provider", "canonical_model"),
                        name="pricing_alias_one_in_force",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
    ]
