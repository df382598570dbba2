from django.db import migrations


class Migration(migrations.Migration):
    """Challenges live for two minutes and are worth no disk: without a log, issuing one costs no flush."""

    dependencies = [("directory", "0001_initial")]

    operations = [
        migrations.RunSQL("ALTER TABLE directory_challenge SET UNLOGGED", "ALTER TABLE directory_challenge SET LOGGED")
    ]
