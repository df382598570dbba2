"""What a usage event looks like on the wire (docs/sdk-contract.md), checked while it is parsed.

Released SDKs send `id`, `provider_key_id`, `provider`, `model`, `client_name` and of `data` the two counts and
`performance`. Everything else is for programs that report on their own, and optional.
"""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import msgspec

from apps.ledger.calls import Call, Ending
from apps.ledger.emitters.values import COST_PLACES, MOST_DOLLARS, MOST_TOKENS
from apps.pricing.meters import Meter
from web.api import InvalidError

# Patterns end in `\Z`: `$` would let a line feed behind it pass.
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
ProviderName = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
ClientName = Annotated[str, msgspec.Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Label = Annotated[str, msgspec.Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
Identifier = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[^\x00-\x20\x7f]*\Z")]
Name = Annotated[str, msgspec.Meta(max_length=32, pattern=r"^[a-z0-9_.-]*\Z")]
ErrorType = Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[A-Za-z0-9_.:]*\Z")]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]
# Released clients send the text of a count, and the text "None" where the provider gave none.
TokenCount = Count | Annotated[str, msgspec.Meta(pattern=r"^([0-9]{1,13}|None)\Z")] | None


class Performance(msgspec.Struct):
    time_to_first_token_ms: Milliseconds | None = None
    time_to_last_token_ms: Milliseconds | None = None
    total_duration_ms: Milliseconds | None = None
    tokens_per_second: Milliseconds | None = None
    chunks_received: Count | None = None
    avg_chunk_size: Milliseconds | None = None
    inter_chunk_latency_variance_ms: Milliseconds | None = None


NO_PERFORMANCE = Performance()


class UsageData(msgspec.Struct):
    """Counts include their parts: `input_tokens` the cached ones, unless `cache_in_input` says otherwise."""

    input_tokens: TokenCount
    output_tokens: TokenCount
    cache_read_tokens: TokenCount = None
    cache_write_tokens: TokenCount = None
    cache_write_1h_tokens: TokenCount = None
    reasoning_tokens: TokenCount = None
    audio_input_tokens: TokenCount = None
    audio_output_tokens: TokenCount = None
    requests: TokenCount = None
    cache_in_input: bool = True
    performance: Performance | None = None


class Sequence(msgspec.Struct):
    """The reporter's own numbering: a number that never comes is a report that was lost."""

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x20\x7f]+\Z")]
    number: Count


class UsageEventBody(msgspec.Struct):
    id: uuid.UUID
    provider: ProviderName
    model: Text
    data: UsageData
    provider_key_id: uuid.UUID | None = None
    client_name: ClientName | None = None
    request_model: Annotated[str, msgspec.Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*\Z")] = ""
    operation: Name = ""
    service_tier: Name = ""
    is_batch: bool = False
    # When the call began. Without it the event is taken to report what has just ended.
    occurred_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    ending: Ending = Ending.OK
    error_type: ErrorType = ""
    session: Label = ""
    user: Label = ""
    response_id: Identifier = ""
    reported_cost: Decimal | None = None
    sequence: Sequence | None = None


_METERS = (
    (Meter.INPUT, "input_tokens"),
    (Meter.OUTPUT, "output_tokens"),
    (Meter.CACHE_READ, "cache_read_tokens"),
    (Meter.CACHE_WRITE, "cache_write_tokens"),
    (Meter.CACHE_WRITE_1H, "cache_write_1h_tokens"),
    (Meter.REASONING, "reasoning_tokens"),
    (Meter.AUDIO_IN, "audio_input_tokens"),
    (Meter.AUDIO_OUT, "audio_output_tokens"),
    (Meter.REQUEST, "requests"),
)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2100, 1, 1, tzinfo=UTC)


def call_of(event: UsageEventBody) -> Call:
    """The event as a call. InvalidError for what no shape can say."""
    performance = event.data.performance or NO_PERFORMANCE
    started_at, duration = event.occurred_at, performance.total_duration_ms
    if started_at is not None and not _EARLIEST <= started_at < _LATEST:
        raise InvalidError("occurred_at must lie between 2000 and 2100.")
    call = Call(
        event_id=event.id,
        source="json",
        provider=event.provider,
        model=event.model,
        request_model=event.request_model,
        operation=event.operation,
        meters=_meters(event.data),
        cache_in_input=event.data.cache_in_input,
        service_tier=event.service_tier,
        is_batch=event.is_batch,
        started_at=started_at,
        ended_at=None if started_at is None or duration is None else started_at + timedelta(milliseconds=duration),
        ending=event.ending,
        error_type=event.error_type,
        time_to_first_token_ms=performance.time_to_first_token_ms,
        time_to_last_token_ms=performance.time_to_last_token_ms,
        total_duration_ms=duration,
        tokens_per_second=performance.tokens_per_second,
        chunks_received=performance.chunks_received,
        avg_chunk_size=performance.avg_chunk_size,
        inter_chunk_latency_variance_ms=performance.inter_chunk_latency_variance_ms,
        provider_key_id=event.provider_key_id,
        client_name=event.client_name or "",
        session=event.session,
        user=event.user,
        reported_cost=_cost(event.reported_cost),
        response_id=event.response_id,
    )
    if event.sequence is not None:
        call.sequence_source, call.sequence_number = event.sequence.source, event.sequence.number
    return call


def _cost(sent: Decimal | None) -> Decimal | None:
    """As the ledger keeps it. NaN is a Decimal that can't even be compared."""
    if sent is None:
        return None
    if not sent.is_finite() or not 0 <= sent <= MOST_DOLLARS:
        raise InvalidError(f"reported_cost must be an amount in US dollars, from 0 to {MOST_DOLLARS:,}.")
    return sent.quantize(COST_PLACES)


def _meters(data: UsageData) -> dict[Meter, int]:
    meters: dict[Meter, int] = {}
    for meter, name in _METERS:
        if (count := _count(getattr(data, name), name)) is not None:
            meters[meter] = count
    if not data.cache_in_input and Meter.INPUT in meters:
        meters[Meter.INPUT] += meters.get(Meter.CACHE_READ, 0) + meters.get(Meter.CACHE_WRITE, 0)
    return meters


def _count(sent: int | str | None, field: str) -> int | None:
    """Tokens as a number; None where the client had none."""
    if sent is None or sent == "None":
        return None
    count = int(sent)
    if count > MOST_TOKENS:
        raise InvalidError(f"data.{field} is {count}; at most {MOST_TOKENS} can be right.")
    return count
