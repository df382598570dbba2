"""Where SDKs, exporters and programs report usage."""

import logging
from typing import Any

import msgspec
from django.db import DataError, IntegrityError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request

from apps.directory.callers import Reporter, authenticate_reporter
from apps.ledger import emitters
from apps.ledger.calls import Call, SpanParent
from apps.ledger.ingestion import Batch, store_related
from apps.ledger.otlp import answers
from apps.ledger.otlp.body import read_body as read_export
from apps.ledger.otlp.decode import Decoded, decode
from apps.ledger.outcomes import Outcome
from apps.ledger.read_api import list_events
from apps.ledger.services import ForeignProviderKeyError, store_spans, store_usage_event, store_usage_events
from apps.ledger.shapes import UsageEventBody, call_of
from web.api import LeanView, TooLargeError, json_response, read_body
from web.errors import RETRY_SECONDS, DomainError

logger = logging.getLogger(__name__)

BODY_LIMIT = 65_536
BATCH_LIMIT = 2_097_152
MOST_EVENTS = 1_000

_REFUSED = {
    Outcome.FOREIGN_PROVIDER_KEY: ForeignProviderKeyError().detail,
    Outcome.OUT_OF_BOUNDS: "The event has a number that is too large to be stored.",
}


class UsageEventsView(LeanView):
    """POST /usage-events/ — 201 when the event is stored, 200 when its id was stored before.

    The SDK waits for the answer inside the user's own call and raises on 4xx: only what can't be read or is not
    authenticated may be refused.
    """

    def post(self, request: Request) -> HttpResponse:
        reporter = authenticate_reporter(request._request)
        event = read_body(request, UsageEventBody, limit=BODY_LIMIT)
        outcome = store_usage_event(reporter, call_of(event))
        return json_response(
            {"id": event.id, "status": outcome.value}, status=201 if outcome is Outcome.STORED else 200
        )

    def get(self, request: Request) -> HttpResponse:
        return list_events(request._request)


class UsageEventBatchView(LeanView):
    """POST /usage-events/batch — an array of events, and in the same order what became of each.

    `status` is stored, duplicate (the id was known or stands twice in the array) or rejected, with `detail`. One bad
    event costs the others nothing. What the answer calls stored is committed.
    """

    def post(self, request: Request) -> HttpResponse:
        reporter = authenticate_reporter(request._request)
        events = read_body(request, list[msgspec.Raw], limit=BATCH_LIMIT)
        if len(events) > MOST_EVENTS:
            raise TooLargeError(f"A batch may have {MOST_EVENTS:,} events; it has {len(events):,}.")
        results: list[dict[str, Any]] = []
        calls: dict[Any, Call] = {}
        for raw in events:
            result: dict[str, Any] = {"id": None, "status": Outcome.DUPLICATE.value}
            results.append(result)
            try:
                call = call_of(msgspec.json.decode(raw, type=UsageEventBody))
            except msgspec.ValidationError as error:
                result |= {"status": "rejected", "detail": f"{error}."}
            except DomainError as error:
                result |= {"status": "rejected", "detail": error.detail}
            except (ValueError, ArithmeticError):
                # Texts are looked at only here: one that is no UTF-8 leaves the array readable.
                result |= {"status": "rejected", "detail": "The event can't be read."}
            else:
                result["id"] = call.event_id
                if call.event_id not in calls:
                    calls[call.event_id] = call
                    # To be replaced by what becomes of it; an id's second event stays a duplicate.
                    result["status"] = None
        outcomes = store_usage_events(reporter, list(calls.values()))
        for result in results:
            if result["status"] is None:
                outcome = outcomes[result["id"]]
                result["status"] = outcome.value
                if outcome in _REFUSED:
                    result |= {"status": "rejected", "detail": _REFUSED[outcome]}
        return json_response({"results": results})


@csrf_exempt  # exporters have a token and no cookies
def export_traces(request: HttpRequest) -> HttpResponse:
    """POST /v1/traces — OTLP over HTTP. 200 when all of it is committed.

    Exporters repeat what was answered with 429, 502, 503 or 504, and drop it otherwise. So whatever is not the
    exporter's fault is a 503.
    """
    content_type = request.content_type or ""
    try:
        if request.method != "POST":
            return answers.failure(content_type, 405, "Send spans by POST.", {"Allow": "POST"})
        reporter = authenticate_reporter(request)
        decoded = decode(read_export(request), content_type)
        _store(reporter, decoded)
    except DomainError as error:
        return answers.failure(content_type, error.status, error.detail, error.headers)
    except Exception:
        logger.exception("spans could not be stored")
        message = "The service is busy for a moment. Nothing is wrong with the request: send it again."
        return answers.failure(content_type, 503, message, {"Retry-After": str(RETRY_SECONDS)})
    bad = sorted({name for span in decoded.spans for name in span.bad_values})
    if bad:
        decoded.reasons.append(f"Left out, because the values can't be right: {', '.join(bad)}.")
    if decoded.reasons:
        return answers.partial_success(content_type, decoded.rejected, " ".join(decoded.reasons))
    return answers.success(content_type)


def _store(reporter: Reporter, decoded: Decoded) -> None:
    try:
        store_related(Batch(reporter, *_read(decoded)))
    except (DataError, IntegrityError):
        # Read once more, because storing has changed the calls.
        for _ in store_spans(reporter, *_read(decoded)):
            decoded.reject("A span has a number that is too large to be stored.")


def _read(decoded: Decoded) -> tuple[list[Call], list[SpanParent]]:
    """The calls among the spans, and the links of the others. Tools and agents have none, so that looking for the call
    around another one ends there."""
    calls, links = [], []
    for span in decoded.spans:
        call = emitters.read(span)
        if call is not None:
            calls.append(call)
        elif span.parent_event_id is not None and not emitters.is_apart(span):
            links.append(SpanParent(span.event_id, span.parent_event_id))
    return calls, links
