"""What every page of somebody signed in does: notes that they are there, and shows times as they want them."""

import zoneinfo
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from apps.accounts.devices import mark_seen


class PersonMiddleware:
    """Behind AuthenticationMiddleware. Whoever has no session costs nothing, nor do programs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME not in request.COOKIES or not hasattr(request, "session"):
            return self.get_response(request)
        if not request.user.is_authenticated:
            return self.get_response(request)
        mark_seen(request.session)
        with timezone.override(_zone(request.user.time_zone)):
            return self.get_response(request)


def _zone(name: str) -> zoneinfo.ZoneInfo:
    """UTC for a zone that is no more: the database of zones is the system's."""
    try:
        return zoneinfo.ZoneInfo(name or "UTC")
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return zoneinfo.ZoneInfo("UTC")
