"""System checks of the ledger."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register
from google.protobuf.internal import api_implementation


@register
def check_protobuf(app_configs: Sequence[AppConfig] | None, **_: Any) -> Iterable[CheckMessage]:
    """E001: spans are parsed in C. The other implementation takes some two hundred times as long."""
    if api_implementation.Type() != "upb":
        yield Error(
            f"protobuf runs on its {api_implementation.Type()} implementation.",
            hint="Install a wheel of protobuf for this platform, and unset PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION.",
            id="ledger.E001",
        )
