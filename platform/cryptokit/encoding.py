"""Encodings of the key protocol (docs/protocol.md, "Encodings")."""

import base64
import binascii
import re
import uuid

LABEL = "any-llm-platform/v1/"

_URL_SAFE = re.compile(r"[A-Za-z0-9_-]*")


def b64(data: bytes) -> str:
    """RFC 4648 §4, padded: the form of everything that released clients read."""
    return base64.b64encode(data).decode()


def b64_decode(text: str) -> bytes:
    """Strict inverse of `b64`; ValueError for any other spelling of the same bytes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not standard base64 with padding") from error
    if b64(data) != text:
        raise ValueError("not canonical base64")
    return data


def b64u(data: bytes) -> str:
    """RFC 4648 §5 without padding: the form of our own formats."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64u_decode(text: str) -> bytes:
    """Strict inverse of `b64u`; ValueError for any other spelling of the same bytes."""
    if not _URL_SAFE.fullmatch(text):
        raise ValueError("not url-safe base64 without padding")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64u(data) != text:
        raise ValueError("not canonical base64")
    return data


def u32(number: int) -> bytes:
    """4 bytes, big-endian."""
    return number.to_bytes(4, "big")


def ctx(label: str, *fields: str | int | bytes | uuid.UUID) -> bytes:
    """The context encoding: each item behind its length, so that no two lists of items give the same bytes.

    Integers become u32, UUIDs their 16 bytes, strings UTF-8.
    """
    encoded = bytearray()
    for item in (LABEL + label, *fields):
        match item:
            case str():
                data = item.encode()
            case int():
                data = u32(item)
            case uuid.UUID():
                data = item.bytes
            case bytes():
                data = item
        encoded += u32(len(data)) + data
    return bytes(encoded)
