"""OpenLLMetry (Traceloop): packages named like OpenTelemetry's, and its JavaScript ones.

Releases before the operation had a name of its own say `llm.request.type`.
"""

from apps.ledger.emitters import semconv
from apps.ledger.emitters.base import Span
from apps.ledger.emitters.semconv import CONTAINER, CONTAINERS, OPERATION, SemConv
from apps.ledger.emitters.values import WORD

_REQUEST_TYPE = "llm.request.type"
_REQUEST_TYPES = {
    "chat": "chat",
    "completion": "text_completion",
    "embedding": "embeddings",
    "rerank": "rerank",
}


class OpenLLMetry(SemConv):
    name = "openllmetry"
    scopes = (
        "@traceloop/*",
        "traceloop.*",
        *(
            f"opentelemetry.instrumentation.{library}"
            for library in (
                "alephalpha",
                "anthropic",
                "bedrock",
                "cohere",
                "crewai",
                "google_generativeai",
                "groq",
                "haystack",
                "langchain",
                "llamaindex",
                "mistralai",
                "ollama",
                "openai",
                "openai.v0",
                "openai.v1",
                "openai_agents",
                "replicate",
                "sagemaker",
                "together",
                "transformers",
                "vertexai",
                "voyageai",
                "watsonx",
                "writer",
            )
        ),
    )
    fields = semconv.FIELDS
    extra = {**SemConv.extra, _REQUEST_TYPE: WORD}
    chunk_events = frozenset(("gen_ai.content.completion.chunk",))

    def operation(self, span: Span) -> str:
        if OPERATION in span.attributes or span.attributes.get(CONTAINER) in CONTAINERS:
            return super().operation(span)
        return _REQUEST_TYPES.get(str(span.attributes.get(_REQUEST_TYPE, "")), "")
