import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("pricing", "0004_price_origins")]

    operations = [
        migrations.AddField(
            model_name="pricesnapshot",
            name="restores",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="pricing.pricesnapshot",
            ),
        ),
        migrations.AlterField(model_name="pricesnapshot", name="sha256", field=models.CharField(max_length=64)),
        migrations.AddConstraint(
            model_name="pricesnapshot",
            constraint=models.UniqueConstraint(
                condition=models.Q(("restores", None)), fields=("sha256",), name="pricing_snapshot_read_once"
            ),
        ),
    ]
