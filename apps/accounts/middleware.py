"""What every page of somebody signed in does: notes that they are there, shows times as they want them, and keeps
little of a request that has to wait."""

import zoneinfo
from collections.abc import Callable

from allauth.core.exceptions import ReauthenticationRequired
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


# What views and mails look at. Not the cookies, and not the server's environment, which WSGI servers put there as well.
KEPT = (
    "REQUEST_METHOD",
    "CONTENT_TYPE",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "REMOTE_ADDR",
    "HTTP_ACCEPT",
    "HTTP_HOST",
    "HTTP_USER_AGENT",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
)


class SuspendedRequestMiddleware:
    """Behind AccountMiddleware. When people have to prove first that it's them, allauth puts their request into the
    session until they have, with all of its headers. The row of a session must not open that session, nor hold keys of
    the application, so most of it goes before."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        if isinstance(exception, ReauthenticationRequired):
            request.META = {name: request.META[name] for name in KEPT if name in request.META}
