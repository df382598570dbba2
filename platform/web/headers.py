"""Security headers on pages (web/policies.py), and what browsers report against them."""

import logging
import re
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from web.api import read_body
from web.callers import too_many_failures
from web.errors import error_response, is_api
from web.policies import PAGE_HEADERS

logger = logging.getLogger(__name__)

REPORT_BYTES = 16_384
REPORTS_PER_REQUEST = 50
REPORTS_PER_MINUTE = 30
DIRECTIVE = re.compile(r"[a-z-]{1,40}")
# What a report has in place of an address.
BLOCKED_KEYWORDS = {"inline", "eval", "wasm-eval", "trusted-types-policy", "trusted-types-sink", "self", "data", "blob"}


class PageHeadersMiddleware:
    """Puts PAGE_HEADERS on everything that is not for programs. A view may set its own.

    It stands inside WhiteNoise's middleware: a file that was not modified is answered without its headers, and a page's
    policy put there would replace the worker's in the browser's cache.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not is_api(request):
            for name, value in PAGE_HEADERS.items():
                response.setdefault(name, value)
        return response


class Report(msgspec.Struct):
    """One of the Reporting API (https://www.w3.org/TR/reporting-1/), of any type."""

    type: str = ""
    body: dict[str, Any] | None = None


@csrf_exempt  # the browser sends it by itself, without a token; it changes nothing
@require_POST
def csp_reports(request: HttpRequest) -> HttpResponse:
    """Logs which directive stopped what, and how often. Addresses, samples of code and all else that a page could have
    put into a report are left out."""
    if too_many_failures(request, "csp-reports", REPORTS_PER_MINUTE):
        return error_response(429, "too_many_reports", "Enough was reported from this address. Wait a minute.")
    reports = read_body(request, list[Report], limit=REPORT_BYTES)[:REPORTS_PER_REQUEST]
    violations = Counter(_violation(report.body or {}) for report in reports if report.type == "csp-violation")
    for (directive, blocked), count in violations.items():
        logger.warning(
            "the content security policy blocked something",
            extra={"directive": directive, "blocked": blocked, "count": count},
        )
    return HttpResponse(status=204)


def _violation(body: dict[str, Any]) -> tuple[str, str]:
    """The directive, and the origin or the kind of what it blocked; `other` for what is neither."""
    directive, blocked = str(body.get("effectiveDirective", "")), str(body.get("blockedURL", ""))
    return (directive if DIRECTIVE.fullmatch(directive) else "other", _origin(blocked))


def _origin(blocked: str) -> str:
    if blocked in BLOCKED_KEYWORDS:
        return blocked
    try:
        parts = urlsplit(blocked)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "other"
    if parts.scheme not in {"http", "https", "ws", "wss"} or not host:
        return "other"
    return f"{parts.scheme}://{host[:253]}" + (f":{port}" if port else "")
