"""Wiring: settings, URLs, WSGI, Celery. No behaviour."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
