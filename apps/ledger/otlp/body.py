"""What was posted, as bytes, however it was sent; never more of them than allowed."""

import zlib
from collections.abc import Iterator

from django.conf import settings
from django.http import HttpRequest, UnreadablePostError

from web.api import MalformedError, TooLargeError
from web.errors import DomainError

_CHUNK = 65_536
_GZIP = zlib.MAX_WBITS | 16


class UnsupportedMediaTypeError(DomainError):
    status = 415
    code = "unsupported_media_type"


def read_body(request: HttpRequest, limit: int | None = None) -> bytes:
    """The body, inflated where it is gzip. `limit` is in bytes, after inflation; settings.OTLP_BODY_LIMIT if None.

    Read from the stream, so that DATA_UPLOAD_MAX_MEMORY_SIZE does not apply. Raises TooLargeError,
    UnsupportedMediaTypeError for another content encoding, MalformedError for broken gzip or a body cut short.
    """
    limit = settings.OTLP_BODY_LIMIT if limit is None else limit
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    chunks = _chunks(request, limit)
    if encoding == "gzip":
        chunks = _inflated(chunks, limit)
    elif encoding not in ("", "identity"):
        raise UnsupportedMediaTypeError("Send the body as it is or with Content-Encoding: gzip.")
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"The body may have {limit:,} bytes after inflation. Send smaller batches.")


def _chunks(request: HttpRequest, limit: int) -> Iterator[bytes]:
    """The body as it arrives. Without a length (chunked, as Node's exporter sends gzip) only a server that ends the
    stream itself, as granian does, can say where the body ends; Django takes such a body for an empty one."""
    sent = request.META.get("CONTENT_LENGTH") or ""
    if sent:
        if not (sent.isascii() and sent.isdigit()):
            raise MalformedError("The Content-Length header is not a number.")
        stream, length = request, int(sent)
        if length > limit:
            raise _too_large(limit)
    elif request.META.get("wsgi.input_terminated"):
        stream, length = request.META["wsgi.input"], None
    elif request.META.get("HTTP_TRANSFER_ENCODING"):
        raise MalformedError("Send a Content-Length header.")
    else:
        return
    total = 0
    while length is None or total < length:
        try:
            chunk = stream.read(_CHUNK)
        except (UnreadablePostError, OSError) as error:
            raise MalformedError("The body was cut short.") from error
        if not chunk:
            break
        total += len(chunk)
        yield chunk
    if length is not None and total < length:
        raise MalformedError("The body was cut short.")


def _inflated(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """What gzip members hold, in pieces of at most `_CHUNK` bytes, so that a bomb is noticed while it is small."""
    member = zlib.decompressobj(_GZIP)
    try:
        for chunk in chunks:
            pending = chunk
            while pending:
                if member.eof:
                    member = zlib.decompressobj(_GZIP)
                yield member.decompress(pending, _CHUNK)
                pending = member.unused_data if member.eof else member.unconsumed_tail
            # What the window still holds comes out without more input.
            while not member.eof and (rest := member.decompress(b"", _CHUNK)):
                yield rest
    except zlib.error as error:
        raise MalformedError("The body is not the gzip that Content-Encoding says.") from error
    if not member.eof:
        raise MalformedError("The gzip body was cut short.")
