"""pydantic-ai: OpenTelemetry's conventions, and details of usage under names of its own.

An agent's totals are `gen_ai.aggregated_usage.*`, which nobody reads here.
"""

from apps.ledger.emitters import semconv
from apps.ledger.emitters.semconv import SemConv
from apps.pricing.meters import Meter

_DETAILS = "gen_ai.usage.details"


class PydanticAI(SemConv):
    name = "pydantic-ai"
    scopes = ("pydantic-ai", "pydantic_ai*")
    fields = semconv.FIELDS.also(
        cost=("operation.cost",),
        meters={
            Meter.CACHE_READ: (f"{_DETAILS}.cache_read_tokens",),
            Meter.CACHE_WRITE: (f"{_DETAILS}.cache_write_tokens",),
            Meter.REASONING: (f"{_DETAILS}.reasoning_tokens",),
            Meter.AUDIO_IN: (f"{_DETAILS}.input_audio_tokens",),
            Meter.AUDIO_OUT: (f"{_DETAILS}.output_audio_tokens",),
        },
    )
