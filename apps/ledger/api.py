"""Where SDKs report usage."""

from django.http import HttpResponse
from rest_framework.request import Request

from apps.directory.callers import authenticate
from apps.ledger.services import Outcome, store_usage_event
from apps.ledger.shapes import UsageEventBody
from web.api import LeanView, json_response, read_body

BODY_LIMIT = 65_536


class UsageEventsView(LeanView):
    """POST /usage-events/ — 201 when the event is stored, 200 when its id was stored before.

    The SDK waits for the answer inside the user's own call and raises on 4xx: only what can't be read or is not
    authenticated may be refused.
    """

    def post(self, request: Request) -> HttpResponse:
        caller = authenticate(request._request)
        event = read_body(request, UsageEventBody, limit=BODY_LIMIT)
        outcome = store_usage_event(caller, event)
        return json_response(
            {"id": event.id, "status": outcome.value}, status=201 if outcome is Outcome.STORED else 200
        )
