"""What a usage event looks like on the wire (docs/sdk-contract.md), checked while it is parsed."""

import uuid
from typing import Annotated

import msgspec

# Far above any call there is; a count beyond it is a fault of the sender, not usage.
MOST_TOKENS = 10**12

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
ProviderName = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]
ClientName = Annotated[str, msgspec.Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST_TOKENS)]
# Released clients send the text of a count, and the text "None" where the provider gave none.
TokenCount = Count | Annotated[str, msgspec.Meta(pattern=r"^([0-9]{1,13}|None)$")] | None


class Performance(msgspec.Struct):
    time_to_first_token_ms: Milliseconds | None = None
    time_to_last_token_ms: Milliseconds | None = None
    total_duration_ms: Milliseconds | None = None
    tokens_per_second: Milliseconds | None = None
    chunks_received: Count | None = None
    avg_chunk_size: Milliseconds | None = None
    inter_chunk_latency_variance_ms: Milliseconds | None = None


class UsageData(msgspec.Struct):
    input_tokens: TokenCount
    output_tokens: TokenCount
    performance: Performance | None = None


class UsageEventBody(msgspec.Struct):
    id: uuid.UUID
    provider_key_id: uuid.UUID
    provider: ProviderName
    model: Text
    data: UsageData
    client_name: ClientName | None = None
