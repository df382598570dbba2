"""Logfire's instrumentations of OpenAI and Anthropic: OpenTelemetry's conventions, cached and reasoning tokens only in
the provider's own usage.

A stream makes two records: a span that ends with the headers, and beside it, when the stream has ended, a log (a
span without length) with the usage and how long the stream took. The second is the call.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from apps.ledger.emitters import semconv, usage
from apps.ledger.emitters.base import SPAN_TYPE, Names, Quantities, Span
from apps.ledger.emitters.semconv import SemConv
from apps.ledger.emitters.values import NUMBER, counts
from apps.pricing.meters import Meter

_RAW = "gen_ai.usage.raw"
_DURATION = "duration"
# Parts of what OpenTelemetry's attributes give whole; the whole itself is never taken from here.
_PARTS: Mapping[Meter, Names] = {
    meter: paths for meter, paths in usage.PATHS.items() if meter not in (Meter.INPUT, Meter.OUTPUT)
}


class Logfire(SemConv):
    name = "logfire"
    scopes = ("logfire", "logfire.*")
    fields = semconv.FIELDS.also(cost=("operation.cost",))
    extra = {**SemConv.extra, _RAW: counts(*usage.all_paths(_PARTS)), _DURATION: NUMBER}

    def operation(self, span: Span) -> str:
        return "" if self._opens_stream(span) else super().operation(span)

    def _opens_stream(self, span: Span) -> bool:
        """Whether nothing was answered yet when the span ended, and nothing went wrong. (The response's model is no
        sign: it is the requested one until a response says otherwise.)"""
        if span.error or span.attributes.get(SPAN_TYPE) == "log":
            return False
        answered = (*self.fields.response_id, *self.fields.meters[Meter.INPUT])
        return not any(name in span.attributes for name in answered)

    def counted(self, span: Span) -> Quantities:
        raw = span.attributes.get(_RAW)
        parts = usage.pick(raw, _PARTS) if isinstance(raw, dict) else {}
        return parts | super().counted(span)

    def times(self, span: Span) -> tuple[datetime | None, datetime | None]:
        duration = span.attributes.get(_DURATION)
        if span.attributes.get(SPAN_TYPE) != "log" or not isinstance(duration, float) or span.ended_at is None:
            return span.started_at, span.ended_at
        return span.ended_at - timedelta(seconds=min(duration, 86_400.0)), span.ended_at
