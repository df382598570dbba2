"""Logs: one JSON object a line, with the request's id, scrubbed of secrets."""

import logging
import re
from contextvars import ContextVar
from typing import Any

import msgspec
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter as BaseJsonFormatter

from tenancy.scope import current_scope

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

# What must never stand in a log, whoever wrote the line: virtual keys, derived and provider secrets, tokens,
# boxes. A second line of defence; the first is that no code logs a body, a header or a query string.
SECRETS = re.compile(
    r"ANY\.v\d+\.[^\s\"']+"
    r"|\bas1\.[A-Za-z0-9_-]{43}"
    r"|\b(?:W1|G1)\.[A-Za-z0-9_-]{40,}"
    r"|\balp_pat_[A-Za-z0-9_-]+"
    r"|\bRK1-[0-9A-Za-z-]+"
    r"|\bsk-[A-Za-z0-9_-]{8,}"
    r"|\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"
    r"|(?i:\bbearer\s+)\S+"
)


def scrub(text: str) -> str:
    """`text` with everything that looks like a secret replaced by `[secret]`."""
    return SECRETS.sub("[secret]", text)


class JsonFormatter(BaseJsonFormatter):
    """One log line: time, level, logger, message, then request_id, organization_id and the `extra` fields."""

    def __init__(self) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
            reserved_attrs=[*RESERVED_ATTRS, "request", "server_time"],
            json_serializer=_serialize,
        )

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        if (request := request_id.get()) is not None:
            log_data["request_id"] = request
        if (scope := current_scope()) is not None and scope.tenant_id is not None:
            log_data["organization_id"] = str(scope.tenant_id)

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record))


def _serialize(data: Any, **_: Any) -> str:
    return msgspec.json.encode(data, enc_hook=str).decode()
