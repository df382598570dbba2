from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("pricing", "0002_agreements")]

    operations = [
        migrations.RunSQL(
            "UPDATE pricing_price SET source = snapshot.source FROM pricing_pricesnapshot snapshot"
            " WHERE snapshot.id = pricing_price.snapshot_id AND pricing_price.source = ''",
            migrations.RunSQL.noop,
        ),
        migrations.RunSQL(
            "UPDATE pricing_pricesnapshot SET status = CASE WHEN approved_at IS NULL THEN 'superseded' ELSE 'approved' END,"
            " decided_by = CASE WHEN approved_at IS NULL THEN '' ELSE 'release' END",
            migrations.RunSQL.noop,
        ),
    ]
