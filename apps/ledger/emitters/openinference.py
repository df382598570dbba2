"""OpenInference (Arize Phoenix): attributes `llm.*`, whatever the scope.

Source: openinference-semantic-conventions. There is no response id; the provider is often only the API's family
(`llm.system`).
"""

from apps.ledger.emitters.base import Emitter, Fields, Span
from apps.ledger.emitters.semconv import TOOLS_AND_AGENTS
from apps.ledger.emitters.values import WORD
from apps.pricing.meters import Meter

_KIND = "openinference.span.kind"
_OPERATIONS = {"LLM": "chat", "EMBEDDING": "embeddings", "RERANKER": "rerank"}


class OpenInference(Emitter):
    name = "openinference"
    scopes = ("openinference.*", "@arizeai/openinference*")
    marks = (_KIND,)
    fields = Fields(
        provider=("llm.provider", "llm.system"),
        model=("llm.response.model_name", "embedding.model_name", "reranker.model_name", "llm.model_name"),
        request_model=("llm.request.model_name",),
        cost=("llm.cost.total",),
        meters={
            Meter.INPUT: ("llm.token_count.prompt",),
            Meter.OUTPUT: ("llm.token_count.completion",),
            Meter.CACHE_READ: (
                "llm.token_count.prompt_details.cache_read",
                "llm.token_count.prompt_details.cache_input",
            ),
            Meter.CACHE_WRITE: ("llm.token_count.prompt_details.cache_write",),
            Meter.REASONING: ("llm.token_count.completion_details.reasoning",),
            Meter.AUDIO_IN: ("llm.token_count.prompt_details.audio",),
            Meter.AUDIO_OUT: ("llm.token_count.completion_details.audio",),
        },
    )
    extra = {_KIND: WORD}
    apart = {_KIND: TOOLS_AND_AGENTS}
    first_token_events = frozenset(("First Token Stream Event",))

    def operation(self, span: Span) -> str:
        return _OPERATIONS.get(str(span.attributes.get(_KIND, "")).upper(), "")
