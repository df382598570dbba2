"""The outermost middleware: an id for each request, a log line for each answer."""

import logging
import re
import time
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from uuid_utils.compat import uuid7

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
        token = request_id.set(given if GIVEN_ID.fullmatch(given) else uuid7().hex)
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
