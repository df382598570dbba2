"""The WSGI application the web server loads."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

application = get_wsgi_application()

# A batch of spans makes some ten thousand objects that live until it is stored. By default all of them are looked
# through every 700 for cycles, of which there are none.
gc.set_threshold(50_000, 20, 20)
