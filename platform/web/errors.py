"""One shape for errors: `{"detail": "<what to do>", "code": "<stable name>"}`.

A domain raises its own subclass of DomainError; it becomes an answer here and nowhere else.
"""

import logging
from collections.abc import ItemsView
from typing import Any

import psycopg
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.debug import SafeExceptionReporterFilter
from rest_framework.exceptions import APIException, NotAuthenticated, ParseError, ValidationError

logger = logging.getLogger(__name__)

# What a client is asked to wait when the database does not answer: a restart takes about as long.
RETRY_SECONDS = 2


class DomainError(Exception):
    """What a caller did wrong or can't have. `detail` says what to do about it; no secret may stand in it."""

    status = 400
    code = "invalid"

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}


def error_response(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> JsonResponse:
    return JsonResponse({"detail": detail, "code": code}, status=status, headers=headers)


def exception_handler(error: Exception, _context: dict[str, Any]) -> HttpResponse | None:
    """DRF's hook: an answer for what is the caller's doing or will pass, None (a 500, logged) for what is ours."""
    match error:
        case DomainError():
            return error_response(error.status, error.code, error.detail, error.headers)
        case Http404():
            return error_response(404, "not_found", "There is nothing here.")
        case PermissionDenied():
            return error_response(403, "forbidden", "You may not do this.")
        case ParseError():
            return error_response(400, "malformed", "The body must be JSON.")
        case ValidationError():
            return error_response(error.status_code, "invalid", _first_message(error.detail))
        case APIException():
            headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, NotAuthenticated) else {}
            return error_response(error.status_code, str(error.default_code), str(error.detail), headers)
        case DatabaseError() | InterfaceError() if _will_pass(error):
            logger.error("the database can't serve this now: %s", error)
            detail = "The service is busy for a moment. Nothing is wrong with the request: send it again."
            return error_response(503, "unavailable", detail, {"Retry-After": str(RETRY_SECONDS)})
    return None


def _will_pass(error: DatabaseError | InterfaceError) -> bool:
    """Whether the database is unreachable, restarting, out of connections, or broke a deadlock: nobody's mistake."""
    if isinstance(error, OperationalError | InterfaceError):
        return True
    # A connection that was lost while a statement was being sent is libpq's own error: it has no SQLSTATE.
    cause = error.__cause__
    return type(error) is DatabaseError and isinstance(cause, psycopg.Error) and cause.sqlstate is None


def _first_message(detail: Any) -> str:
    """DRF's nested messages as one sentence: the first, with the field's name."""
    if isinstance(detail, dict):
        field, messages = next(iter(detail.items()))
        return f"{field}: {_first_message(messages)}"
    return _first_message(detail[0]) if isinstance(detail, list) else str(detail)


def is_api(request: HttpRequest) -> bool:
    """Whether a program, not a person, is asking: errors are JSON then."""
    return request.path.startswith(("/api/", "/v1/"))


def wants_json(request: HttpRequest) -> bool:
    """Whether a page's module is asking (frontend/src/http.ts), not somebody who wants to look at a page."""
    return is_api(request) or request.headers.get("Accept") == "application/json"


class ErrorReportFilter(SafeExceptionReporterFilter):
    """Reports of errors, the page that development shows among them, have no variables and nothing that was sent. There
    a secret would stand in clear, and Django hides it in production only."""

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, Any]:
        return {}

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: Any) -> ItemsView[str, Any]:
        nothing: dict[str, Any] = {}
        return nothing.items()
