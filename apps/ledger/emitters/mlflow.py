"""MLflow's export of its own traces: values in JSON, names of its own or, where the application says so, of
OpenTelemetry's conventions.

Usage of a whole trace (`mlflow.trace.tokenUsage`) is the sum of its spans', and not read.
"""

from decimal import Decimal

from apps.ledger.emitters import semconv, usage
from apps.ledger.emitters.base import Quantities, Span
from apps.ledger.emitters.semconv import TOOLS_AND_AGENTS, SemConv
from apps.ledger.emitters.values import LABEL, MODEL, PROVIDER, WORD, costs, counts, quoted
from apps.pricing.meters import Meter

_TYPE = "mlflow.spanType"
_OPERATIONS = {"CHAT_MODEL": "chat", "LLM": "text_completion", "EMBEDDING": "embeddings"}
_USAGE = "mlflow.chat.tokenUsage"
_COST = "mlflow.llm.cost"
_MODEL = "mlflow.llm.model"
_PROVIDER = "mlflow.llm.provider"
_SESSION = "mlflow.trace.session"

_PATHS = {
    **usage.PATHS,
    Meter.CACHE_WRITE_1H: ("cache_creation_input_tokens_above_1hr",),
}


class MLflow(SemConv):
    name = "mlflow"
    scopes = ("mlflow*",)
    marks = (_TYPE,)
    fields = semconv.FIELDS.also(
        provider=(_PROVIDER,),
        model=(_MODEL,),
        request_model=("model",),
        session=(_SESSION,),
    )
    extra = {
        **SemConv.extra,
        _TYPE: quoted(WORD),
        _MODEL: quoted(MODEL),
        _PROVIDER: quoted(PROVIDER),
        _SESSION: quoted(LABEL),
        "model": quoted(MODEL),
        _USAGE: counts(*usage.all_paths(_PATHS)),
        _COST: costs("total_cost"),
    }
    apart = {**SemConv.apart, _TYPE: TOOLS_AND_AGENTS}

    def operation(self, span: Span) -> str:
        if _TYPE in span.attributes:
            return _OPERATIONS.get(str(span.attributes[_TYPE]).upper(), "")
        return super().operation(span)

    def counted(self, span: Span) -> Quantities:
        sent = span.attributes.get(_USAGE)
        return (usage.pick(sent, _PATHS) if isinstance(sent, dict) else {}) | super().counted(span)

    def cost(self, span: Span) -> Decimal | None:
        cost = span.attributes.get(_COST)
        return cost.get("total_cost") if isinstance(cost, dict) else super().cost(span)
