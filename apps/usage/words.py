"""Names of what the ledger counts and keeps, for people."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from apps.analytics.exports.formats import WRITERS
from apps.analytics.exports.sources import SOURCES
from apps.analytics.exports.sources.base import MOST_STREAMED
from apps.analytics.exports.wanted import Wanted
from apps.ledger.models import METER_COLUMNS, Adjustment, UsageEvent
from apps.pricing.meters import Meter

METERS: Mapping[Meter, str] = {
    Meter.INPUT: "Input tokens",
    Meter.OUTPUT: "Output tokens",
    Meter.CACHE_READ: "Input tokens from cache",
    Meter.CACHE_WRITE: "Input tokens written to cache",
    Meter.CACHE_WRITE_1H: "Input tokens cached for an hour",
    Meter.REASONING: "Reasoning tokens",
    Meter.CITATION: "Citation tokens",
    Meter.AUDIO_IN: "Audio input tokens",
    Meter.AUDIO_OUT: "Audio output tokens",
    Meter.CACHE_AUDIO_READ: "Audio tokens from cache",
    Meter.IMAGE_IN: "Image input tokens",
    Meter.IMAGE_OUT: "Image output tokens",
    Meter.CACHE_IMAGE_READ: "Image tokens from cache",
    Meter.VIDEO_IN: "Video input tokens",
    Meter.VIDEO_OUT: "Video output tokens",
    Meter.CHARACTER_IN: "Characters",
    Meter.MESSAGE_IN: "Messages",
    Meter.AUDIO_SECOND: "Seconds of audio",
    Meter.AUDIO_SECOND_IN: "Seconds of audio input",
    Meter.PAGE_IN: "Pages",
    Meter.ANNOTATED_PAGE_IN: "Annotated pages",
    Meter.WEB_SEARCH: "Web searches",
    Meter.STORAGE_SEARCH: "Storage searches",
    Meter.REQUEST: "Requests",
    Meter.DURATION: "Duration",
}
_METER_NAMES = {meter.value: label for meter, label in METERS.items()}
# What can be priced by hand, in the order of the form: what the ledger has a column for, and time.
PRICED_BY_HAND = (
    Meter.INPUT,
    Meter.OUTPUT,
    Meter.CACHE_READ,
    Meter.CACHE_WRITE,
    Meter.CACHE_WRITE_1H,
    Meter.REASONING,
    Meter.AUDIO_IN,
    Meter.AUDIO_OUT,
    Meter.REQUEST,
    Meter.DURATION,
)

KINDS: Mapping[str, str] = {
    Adjustment.Kind.SAME_CALL: "Found to be one call",
    Adjustment.Kind.DETAIL: "Another report said more",
    Adjustment.Kind.REPRICE: "Re-priced",
    Adjustment.Kind.REVERSAL: "Re-pricing taken back",
}

ENDINGS = {"ok": "as it should", "error": "with an error", "cancelled": "cancelled by the program"}


def meter(name: str) -> str:
    """A newer release's meter is shown as it is."""
    return _METER_NAMES.get(name, name)


def per(units: int, name: str) -> str:
    """What a price is for: "per 1M tokens", "per hour", "per 1,000 searches"."""
    if name == Meter.DURATION:
        known = {1_000: "second", 60_000: "minute", 3_600_000: "hour"}
        return f"per {known[units]}" if units in known else f"per {units:,} ms"
    if name in (Meter.AUDIO_SECOND, Meter.AUDIO_SECOND_IN):
        return "per hour" if units == 3_600 else "per second" if units == 1 else f"per {units:,} seconds"
    thing = next((thing for end, thing in _THINGS if name.endswith(end)), "token")
    if units == 1:
        return f"per {thing}"
    amount = "1M" if units == 1_000_000 else f"{units:,}"
    return f"per {amount} {thing}{'es' if thing.endswith('ch') else 's'}"


_THINGS = (
    ("search", "search"),
    ("page_in", "page"),
    ("request", "request"),
    ("character_in", "character"),
    ("message_in", "message"),
)


class Fact(NamedTuple):
    """A stored field. The value is text, a number, a moment, or None where nothing is stored."""

    label: str
    value: str | int | float | Decimal | datetime | None
    # The ledger's filter that finds calls with the same.
    filter: str = ""


class Facts(NamedTuple):
    title: str
    facts: list[Fact]


def facts(event: UsageEvent, *, reporter: str, provider_key: str) -> list[Facts]:
    """All that is stored of a report, in groups. `reporter` and `provider_key` say whose the ids are."""
    return [
        Facts(
            "Call",
            [
                Fact("Provider", event.provider),
                Fact("Model", event.model),
                Fact("Model asked for", event.request_model),
                Fact("Operation", event.operation),
                Fact("Service tier", event.service_tier),
                Fact("Batch", "yes" if event.is_batch else "no"),
                Fact("Ended", ENDINGS.get(event.ending, event.ending)),
                Fact("Error", event.error_type),
                Fact("Began", event.occurred_at),
                Fact("Provider key", provider_key),
                Fact("Client", event.client_name, "client"),
                Fact("Session", event.session, "session"),
                Fact("User", event.user_label, "user"),
            ],
        ),
        Facts(
            "Counted",
            [
                *(Fact(METERS[meter], getattr(event, column)) for meter, column in METER_COLUMNS.items()),
                Fact("Cached tokens", "reported as part of input" if event.cache_in_input else "reported beside input"),
                Fact("Cost by its reporter", event.reported_cost),
            ],
        ),
        Facts(
            "Report",
            [
                Fact("Received", event.received_at),
                Fact("Reported with", reporter),
                Fact("Format", event.source),
                Fact("Instrumentation", event.scope),
                Fact("Event ID", str(event.event_id)),
                Fact("Trace ID", _text(event.trace_id)),
                Fact("Parent event ID", _text(event.parent_event_id)),
                Fact("Response ID", event.response_id),
                Fact("Fingerprint of counts", event.fingerprint and f"{event.fingerprint & (2**64 - 1):016x}"),
                Fact("Numbered by", event.sequence_source),
                Fact("Number", event.sequence_number),
            ],
        ),
    ]


def _text(value: object) -> str:
    return "" if value is None else str(value)


class Measure(NamedTuple):
    """How a call went. Times are milliseconds."""

    label: str
    value: float | int
    is_time: bool = False


def performance(event: UsageEvent) -> tuple[list[Measure], list[str]]:
    """What the report says of it, and the names of what it does not."""
    found = [
        ("Took", event.total_duration_ms, True),
        ("First token", event.time_to_first_token_ms, True),
        ("Last token", event.time_to_last_token_ms, True),
        ("Tokens a second", event.tokens_per_second, False),
        ("Chunks", event.chunks_received, False),
        ("Chunk size", event.avg_chunk_size, False),
        ("Chunk variance", event.inter_chunk_latency_variance_ms, True),
    ]
    measured = [Measure(label, value, is_time) for label, value, is_time in found if value is not None]
    missing = [label.lower() for label, value, _ in found if value is None]
    return measured, ["how long it took" if label == "took" else label for label in missing]


def export_title(wanted: Wanted) -> str:
    """Calls as CSV; Sums by day, model as JSON lines."""
    by = ", ".join((*([wanted.granularity] if wanted.granularity else []), *wanted.by)).replace("_", " ")
    named = f"{SOURCES[wanted.content].label} by {by}" if by else SOURCES[wanted.content].label
    return f"{named} as {WRITERS[wanted.format].label}"


def expected_rows(count: int) -> str:
    """What exports.sources.base.Source.count says."""
    if count == MOST_STREAMED + 1:
        return f"more than {MOST_STREAMED:,} rows"
    return f"about {count:,} row{'s' * (count != 1)}"


def missing_in_words(reports: int, silent: int) -> str:
    """Of reports that never came, and of keys and clients that nothing was reported with after a fetch."""
    found = []
    if reports:
        found.append(f"at least {reports:,} report{'s' * (reports > 1)} missing")
    if silent:
        found.append(f"{silent:,} key{'s' * (silent > 1)} or client{'s' * (silent > 1)} went silent")
    text = ", ".join(found) or "nothing seems to be missing"
    return text[0].upper() + text[1:]
