"""Vercel's AI SDK: a span around the whole (`ai.generateText`), and one for each request to a provider below it.

Its providers are named with the kind of model behind: `openai.chat`, `anthropic.messages`, `google.generative-ai`.
"""

from apps.ledger.emitters.base import Emitter, Fields, Span
from apps.ledger.emitters.providers import NAMES
from apps.ledger.emitters.values import WORD
from apps.pricing.meters import Meter

_OPERATION = "ai.operationId"
_OPERATIONS = {"doGenerate": "chat", "doStream": "chat", "doEmbed": "embeddings"}
# Where what stands before the first dot is not any-llm's name.
_PROVIDERS = {
    "alibaba": "dashscope",
    "amazon-bedrock": "bedrock",
    "azure": "azureopenai",
    "azure-openai": "azureopenai",
    "google": "gemini",
    "google.vertex": "vertexai",
    "google.vertex.anthropic": "vertexaianthropic",
    "moonshotai": "moonshot",
    "togetherai": "together",
    "vertex": "vertexai",
    "vertex.anthropic": "vertexaianthropic",
}


class Vercel(Emitter):
    name = "vercel-ai"
    scopes = ("ai",)
    marks = (_OPERATION,)
    fields = Fields(
        provider=("gen_ai.provider.name", "gen_ai.system", "ai.model.provider"),
        model=("gen_ai.response.model", "ai.response.model"),
        request_model=("gen_ai.request.model", "ai.model.id"),
        response_id=("gen_ai.response.id", "ai.response.id"),
        first_token_ms=("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk"),
        tokens_per_second=("ai.response.avgOutputTokensPerSecond", "ai.response.avgCompletionTokensPerSecond"),
        session=("gen_ai.conversation.id", "session.id", "ai.telemetry.metadata.sessionId"),
        meters={
            Meter.INPUT: (
                "gen_ai.usage.input_tokens",
                "gen_ai.usage.prompt_tokens",
                "ai.usage.inputTokens",
                "ai.usage.promptTokens",
                "ai.usage.tokens",
            ),
            Meter.OUTPUT: (
                "gen_ai.usage.output_tokens",
                "gen_ai.usage.completion_tokens",
                "ai.usage.outputTokens",
                "ai.usage.completionTokens",
            ),
            Meter.CACHE_READ: ("gen_ai.usage.cache_read.input_tokens", "ai.usage.cachedInputTokens"),
            Meter.REASONING: ("gen_ai.usage.reasoning.output_tokens", "ai.usage.reasoningTokens"),
        },
    )
    extra = {_OPERATION: WORD}
    apart = {_OPERATION: frozenset(("ai.toolcall",))}

    def operation(self, span: Span) -> str:
        return _OPERATIONS.get(str(span.attributes.get(_OPERATION, "")).rpartition(".")[2], "")

    def provider(self, span: Span) -> str:
        name = super().provider(span).lower()
        if name in NAMES:
            return name
        while name not in _PROVIDERS and "." in name:
            name = name.rpartition(".")[0]
        return _PROVIDERS.get(name, name)
