"""config.wsgi with one more URL: the empty view. Settings and middleware are the product's."""

import os

from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
settings.ROOT_URLCONF = "benchmarks.urls"

from config.wsgi import application  # noqa: E402 - it sets Django up, which reads the line above

__all__ = ["application"]
