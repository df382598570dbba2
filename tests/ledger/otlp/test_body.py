"""Bodies of spans: encodings, and limits that hold while they are read."""

import gzip
import io
import tracemalloc
import zlib
from typing import Any

import pytest
from django.test import RequestFactory, override_settings

from apps.ledger.otlp.body import UnsupportedMediaTypeError, read_body
from web.api import MalformedError, TooLargeError

MIB = 2**20


def read(body: bytes, encoding: str = "", limit: int | None = None, **meta: Any) -> bytes:
    request = RequestFactory().post("/v1/traces", body, content_type="application/x-protobuf")
    request.META |= {"HTTP_CONTENT_ENCODING": encoding, **meta}
    return read_body(request, limit)


def unmeasured(body: bytes, encoding: str = "", **environ: Any) -> bytes:
    """As a chunked request comes from granian: no length, and a stream that ends."""
    request = RequestFactory().post("/v1/traces", b"", content_type="application/x-protobuf")
    request.META.pop("CONTENT_LENGTH", None)
    request.META |= {"wsgi.input": io.BytesIO(body), "HTTP_CONTENT_ENCODING": encoding, **environ}
    return read_body(request)


@pytest.mark.parametrize("body", [b"", b"x", b"spans" * 100_000])
@pytest.mark.parametrize("encoding", ["", "identity", "gzip", " GZIP "])
def test_plain_and_gzip(body: bytes, encoding: str) -> None:
    sent = gzip.compress(body) if "gzip" in encoding.lower() else body
    assert read(sent, encoding) == body


def test_gzip_of_several_members() -> None:
    assert read(gzip.compress(b"one ") + gzip.compress(b"two"), "gzip") == b"one two"


@override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=10)
def test_djangos_own_limit_does_not_apply() -> None:
    assert len(read(b"x" * 100_000)) == 100_000


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_the_limit_is_of_the_inflated_body(encoding: str) -> None:
    def sent(length: int) -> bytes:
        return gzip.compress(b"x" * length) if encoding else b"x" * length

    assert len(read(sent(1000), encoding, limit=1000)) == 1000
    with pytest.raises(TooLargeError):
        read(sent(1001), encoding, limit=1000)
    with override_settings(OTLP_BODY_LIMIT=1000), pytest.raises(TooLargeError):
        read(sent(1001), encoding)


def test_a_bomb_never_gets_big() -> None:
    bomb = gzip.compress(b"\0" * (256 * MIB), compresslevel=9)
    assert len(bomb) < MIB
    tracemalloc.start()
    with pytest.raises(TooLargeError):
        read(bomb, "gzip", limit=MIB)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * MIB


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip"])
def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(UnsupportedMediaTypeError):
        read(b"x", encoding)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not gzip",
        gzip.compress(b"spans" * 1000)[:-1],
        gzip.compress(b"spans" * 1000)[:20],
        gzip.compress(b"spans") + b"what follows",
        gzip.compress(b"spans")[:-8] + b"\0" * 8,
        zlib.compress(b"spans"),
    ],
    ids=["empty", "no gzip", "short", "shorter", "more behind", "wrong checksum", "zlib"],
)
def test_broken_gzip(body: bytes) -> None:
    with pytest.raises(MalformedError):
        read(body, "gzip")


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "²"])
def test_a_length_that_is_none(length: str) -> None:
    with pytest.raises(MalformedError):
        read(b"spans", CONTENT_LENGTH=length)


def test_a_body_that_is_shorter_than_announced() -> None:
    with pytest.raises(MalformedError):
        read(b"spans", CONTENT_LENGTH="6")


def test_a_chunked_body() -> None:
    """Node's exporter sends gzip so. Django alone would take it for an empty one, and its spans would be lost."""
    ends: dict[str, Any] = {"wsgi.input_terminated": True}
    assert unmeasured(gzip.compress(b"spans"), "gzip", **ends) == b"spans"
    assert unmeasured(b"spans", HTTP_TRANSFER_ENCODING="chunked", **ends) == b"spans"
    with override_settings(OTLP_BODY_LIMIT=4), pytest.raises(TooLargeError):
        unmeasured(b"spans", **ends)


def test_a_chunked_body_on_a_server_that_does_not_end_it() -> None:
    with pytest.raises(MalformedError):
        unmeasured(b"spans", HTTP_TRANSFER_ENCODING="chunked")
    assert unmeasured(b"") == b""
