"""OpenTelemetry's own conventions for generative AI, in their spellings since 2024, and whatever else uses them.

Source: open-telemetry/semantic-conventions v1.41.0, docs/gen-ai, and open-telemetry/semantic-conventions-genai,
model/gen-ai. OpenLLMetry's early names (`prompt_tokens`) are read after them: other libraries took them over.
"""

from collections.abc import Mapping
from typing import ClassVar

from apps.ledger.emitters.base import Emitter, Fields, Names, Span
from apps.ledger.emitters.values import WORD
from apps.pricing.meters import Meter

FIELDS = Fields(
    provider=("gen_ai.provider.name", "gen_ai.system"),
    model=("gen_ai.response.model",),
    request_model=("gen_ai.request.model",),
    response_id=("gen_ai.response.id",),
    service_tier=(
        "openai.response.service_tier",
        "anthropic.response.service_tier",
        "gen_ai.openai.response.service_tier",
    ),
    cost=("gen_ai.usage.cost",),
    first_token_seconds=("gen_ai.response.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk"),
    session=("gen_ai.conversation.id", "session.id"),
    user=("user.id", "enduser.id", "gen_ai.user"),
    meters={
        Meter.INPUT: ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"),
        Meter.OUTPUT: ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens"),
        Meter.CACHE_READ: ("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        Meter.CACHE_WRITE: (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
        ),
        Meter.REASONING: (
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_tokens",
            "llm.usage.reasoning_tokens",
        ),
        Meter.AUDIO_IN: ("gen_ai.usage.audio.input_tokens",),
        Meter.AUDIO_OUT: ("gen_ai.usage.audio.output_tokens",),
    },
)

OPERATION = "gen_ai.operation.name"
# Everything else (invoke_agent, execute_tool, …) is around calls, and may carry the sum of their tokens.
_OPERATIONS = {
    "chat": "chat",
    "text_completion": "text_completion",
    "completion": "text_completion",
    "generate_content": "generate_content",
    "generate": "generate_content",
    "embeddings": "embeddings",
}
# A workflow, task, agent or tool of OpenLLMetry's: whatever else it says, it is around calls.
CONTAINER = "traceloop.span.kind"
CONTAINERS = frozenset(("workflow", "task", "agent", "tool"))
TOOLS_AND_AGENTS = frozenset(("tool", "agent"))


class SemConv(Emitter):
    name = "semconv"
    scopes: ClassVar[Names] = (
        "opentelemetry.instrumentation.genai.*",
        "opentelemetry.instrumentation.openai_v2",
        "opentelemetry.instrumentation.google_genai",
    )
    fields = FIELDS
    extra = {OPERATION: WORD, CONTAINER: WORD}
    apart: ClassVar[Mapping[str, frozenset[str]]] = {
        OPERATION: frozenset(("execute_tool", "create_agent", "invoke_agent")),
        CONTAINER: TOOLS_AND_AGENTS,
    }

    def operation(self, span: Span) -> str:
        if span.attributes.get(CONTAINER) in CONTAINERS:
            return ""
        return _OPERATIONS.get(str(span.attributes.get(OPERATION, "")).lower(), "")
