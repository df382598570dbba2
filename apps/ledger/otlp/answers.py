"""Answers to exporters, in the encoding of the request.

An exporter drops what was answered with anything but 429, 502, 503 or 504, and takes a 2xx for stored: the status is
not only a message here.
"""

import msgspec
from django.http import HttpResponse
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from apps.ledger.otlp.decode import JSON, PROTOBUF

# google.rpc.Code of the HTTP statuses that are answered; the HTTP status is what exporters go by.
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 405: 12, 413: 8, 415: 3, 422: 3, 429: 8, 500: 13, 503: 14}
_UNKNOWN = 2


def success(content_type: str) -> HttpResponse:
    return _answer(content_type, b"" if content_type == PROTOBUF else b"{}")


def partial_success(content_type: str, rejected: int, message: str) -> HttpResponse:
    """Some spans were not taken and must not be sent again; with none rejected, `message` is a warning."""
    if content_type == PROTOBUF:
        response = ExportTraceServiceResponse()
        response.partial_success.rejected_spans = rejected
        response.partial_success.error_message = message
        return _answer(content_type, response.SerializeToString())
    # Whole numbers of 64 bits are text in OTLP's JSON.
    partial = {"rejectedSpans": str(rejected), "errorMessage": message}
    return _answer(content_type, msgspec.json.encode({"partialSuccess": partial}))


def failure(content_type: str, status: int, message: str, headers: dict[str, str] | None = None) -> HttpResponse:
    """A google.rpc.Status. Retry-After, where a retry helps, comes in `headers`."""
    code = _CODES.get(status, _UNKNOWN)
    if content_type == PROTOBUF:
        body = Status(code=code, message=message).SerializeToString()
    else:
        body = msgspec.json.encode({"code": code, "message": message})
    return _answer(content_type, body, status, headers)


def _answer(content_type: str, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> HttpResponse:
    """In JSON where the request's type is neither."""
    return HttpResponse(
        body,
        content_type=content_type if content_type == PROTOBUF else JSON,
        status=status,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
