"""What the endpoints that programs call share: a lean view, reading a body, writing one."""

from typing import Any, TypeVar

import msgspec
from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request
from rest_framework.views import APIView

from web.errors import DomainError

Body = TypeVar("Body")


class MalformedError(DomainError):
    status = 400
    code = "malformed"


class InvalidError(DomainError):
    status = 422
    code = "invalid"


class TooLargeError(DomainError):
    status = 413
    code = "too_large"


class LeanView(APIView):
    """A DRF view without what these endpoints have one of: one renderer, one parser, no permissions beyond the caller's
    key, no throttle but for failures. Negotiating those costs more than the endpoints' own work."""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Nothing: views authenticate the caller themselves, in the statement that does their work."""


def read_json(request: HttpRequest, shape: type[Body], *, limit: int = 1_048_576) -> Body:
    """What a page's module posted, as `shape`; errors as `read_body` has them. `limit` is in bytes."""
    if request.content_type != "application/json":
        # A form on another site can't send this type, whatever becomes of its token.
        raise MalformedError("Send application/json.")
    return read_body(request, shape, limit=limit)


def read_body(request: HttpRequest | Request, shape: type[Body], *, limit: int) -> Body:
    """The JSON body as `shape`, a msgspec type. `limit` is in bytes.

    Raises TooLargeError, MalformedError (no JSON) and InvalidError (JSON of another shape), each saying where.
    """
    try:
        length = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise MalformedError("The Content-Length header is not a number.") from None
    if length > limit:
        raise TooLargeError(f"The body may have {limit:,} bytes; it has {length:,}.")
    try:
        return msgspec.json.decode(request.body, type=shape)
    except msgspec.ValidationError as error:
        raise InvalidError(f"{error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("The body must be JSON in UTF-8, not nested without end.") from error


def json_response(data: object, status: int = 200) -> HttpResponse:
    """`data` as JSON that no cache may keep."""
    return HttpResponse(
        msgspec.json.encode(data),
        content_type="application/json",
        status=status,
        headers={"Cache-Control": "no-store"},
    )
