from decimal import Decimal

import django.contrib.postgres.constraints
import django.db.models.functions.comparison
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pricing", "0003_fill_sources")]

    operations = [
        migrations.RemoveConstraint(
            model_name="modelalias",
            name="pricing_alias_one_in_force",
        ),
        migrations.AddConstraint(
            model_name="modelalias",
            constraint=models.UniqueConstraint(
                condition=models.Q(("closed_by", None)),
                fields=("organization_id", "source", "provider", "canonical_provider", "canonical_model"),
                name="pricing_alias_one_in_force",
                nulls_distinct=False,
            ),
        ),
        migrations.RemoveConstraint(
            model_name="price",
            name="pricing_price_one_at_a_time",
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
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
                            models.Value("00000000-0000-0000-0000-000000000000", output_field=models.UUIDField()),
                        ),
                        "=",
                    ),
                    ("source", "="),
                    ("effective", "&&"),
                ],
                name="pricing_price_one_at_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="price",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("author_id", None),
                        ("created_at", None),
                        ("organization_id", None),
                        ("snapshot__isnull", False),
                        models.Q(("source", ""), _negated=True),
                    ),
                    models.Q(
                        ("closed_by", None),
                        ("organization_id__isnull", False),
                        ("snapshot", None),
                        ("source", ""),
                        ("author_id__isnull", False),
                        ("created_at__isnull", False),
                        models.Q(("note", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="pricing_price_origin",
            ),
        ),
        migrations.AddConstraint(
            model_name="pricesnapshot",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("approved_at__isnull", False), ("status", "approved")),
                    models.Q(models.Q(("status", "approved"), _negated=True), ("approved_at", None)),
                    _connector="OR",
                ),
                name="pricing_snapshot_approved_at",
            ),
        ),
        migrations.AddConstraint(
            model_name="pricesnapshot",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "pending")), fields=("source",), name="pricing_snapshot_one_pending"
            ),
        ),
        migrations.AddConstraint(
            model_name="discount",
            constraint=django.contrib.postgres.constraints.ExclusionConstraint(
                expressions=[("organization_id", "="), ("provider", "="), ("model", "="), ("effective", "&&")],
                name="pricing_discount_one_at_a_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="discount",
            constraint=models.CheckConstraint(
                condition=models.Q(("multiplier__gt", 0), ("multiplier__lte", Decimal(10))),
                name="pricing_discount_multiplier",
            ),
        ),
        migrations.AddConstraint(
            model_name="discount",
            constraint=models.CheckConstraint(
                condition=models.Q(("effective__upper_inc", False)), name="pricing_discount_half_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="unpricedmodel",
            constraint=models.UniqueConstraint(fields=("provider", "model"), name="pricing_unpriced_once"),
        ),
    ]
