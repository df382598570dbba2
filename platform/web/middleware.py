"""The outermost middleware, an id for each request and a log line for each answer; and Django's own for pages, which
the endpoints that programs call do without."""

import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable

from django.contrib.auth import middleware as auth
from django.contrib.messages import middleware as messages
from django.contrib.sessions import middleware as sessions
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware import clickjacking, csrf
from django.shortcuts import render
from django.utils.deprecation import MiddlewareMixin

from web.errors import DomainError, exception_handler, is_api, wants_json
from web.logs import request_id

logger = logging.getLogger("request")

GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


class RequestContextMiddleware:
    """Takes the id a proxy gave in `X-Request-ID`, or makes one; answers with it and logs the request under it.

    The log line has method, path, status and duration. Query strings, headers and bodies are not logged.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        token = request_id.set(given if GIVEN_ID.fullmatch(given) else secrets.token_hex(16))
        started = time.perf_counter()
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = request_id.get() or ""
            # A request that went well is news only to somebody who is looking for it.
            level = logging.DEBUG if response.status_code < 400 else logging.INFO
            if logger.isEnabledFor(level):
                logger.log(
                    level,
                    "%s %s %s",
                    request.method,
                    request.path,
                    response.status_code,
                    extra={
                        "status": response.status_code,
                        "ms": round((time.perf_counter() - started) * 1000, 2),
                    },
                )
            return response
        finally:
            request_id.reset(token)


class PagesOnly(MiddlewareMixin):
    """Put before a middleware of Django's, lets requests of programs pass it by. Together these cost as much as a key
    release does."""

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        return self.get_response(request) if is_api(request) else super().__call__(request)


class SessionMiddleware(PagesOnly, sessions.SessionMiddleware): ...


class CsrfViewMiddleware(PagesOnly, csrf.CsrfViewMiddleware): ...


class AuthenticationMiddleware(PagesOnly, auth.AuthenticationMiddleware): ...


class MessageMiddleware(PagesOnly, messages.MessageMiddleware): ...


class XFrameOptionsMiddleware(PagesOnly, clickjacking.XFrameOptionsMiddleware): ...


class DomainErrorMiddleware:
    """What a view can't do becomes an answer: JSON for a page's module, a page for people."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if wants_json(request):
            return exception_handler(error, {})
        if isinstance(error, DomainError):
            return render(request, "problem.html", {"error": error}, status=error.status)
        return None
