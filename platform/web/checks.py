"""System checks of how the platform is reached."""

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning

LOOPBACK = {"localhost", "127.0.0.1", "::1", "testserver"}


@register(Tags.urls)
def check_site_url(app_configs: Sequence[AppConfig] | None, **_: Any) -> Iterable[CheckMessage]:
    """E001, W001, E002: the origin that SDKs and people are told."""
    parts = urlsplit(settings.SITE_URL)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query or parts.fragment:
        yield Error(
            f"SITE_URL is {settings.SITE_URL!r}, which is no origin.",
            hint="Give scheme and host and nothing behind them, such as https://keys.example.com.",
            id="web.E001",
        )
        return
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        yield CheckWarning(
            "SITE_URL is plain http.",
            hint="SDKs refuse to send traces to it, and whoever is on the path can change the pages. Use https.",
            id="web.W001",
        )
    if parts.hostname not in settings.ALLOWED_HOSTS and "*" not in settings.ALLOWED_HOSTS:
        yield Error(
            f"ALLOWED_HOSTS does not have {parts.hostname}, the host of SITE_URL.",
            hint=f"Set ALLOWED_HOSTS={parts.hostname}.",
            id="web.E002",
        )
