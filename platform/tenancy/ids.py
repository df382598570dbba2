"""Identifiers: time-ordered UUIDs for rows, opaque names for schemas."""

import base64
import os
import re
import uuid

import uuid_utils

SCHEMA_NAME = re.compile(r"t_[a-z2-7]{16}")


_new, _set, _UNKNOWN = object.__new__, object.__setattr__, uuid.SafeUUID.unknown


def uuid_of(data: bytes) -> uuid.UUID:
    """`uuid.UUID(bytes=data)` for 16 bytes, in a third of the time: its own checks are for other arguments."""
    made = _new(uuid.UUID)
    _set(made, "int", int.from_bytes(data))
    _set(made, "is_safe", _UNKNOWN)
    return made


def uuid7() -> uuid.UUID:
    """A UUIDv7 (RFC 9562): sorts by creation time, unique across tenants."""
    return uuid_of(uuid_utils.uuid7().bytes)


def new_schema_name() -> str:
    """`t_` and 80 random bits in base32: says nothing of its owner, needs no quoting, never changes."""
    return "t_" + base64.b32encode(os.urandom(10)).decode().lower()
