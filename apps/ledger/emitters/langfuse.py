"""Langfuse's SDK: one JSON of usage, of the provider's shape or of Langfuse's own, and no provider.

In Langfuse's shape every count stands beside the others: `input` leaves out what `input_*` hold. Anthropic's leaves
the cached tokens out as well. OpenAI's shape is inclusive.
"""

from collections.abc import Mapping
from decimal import Decimal

from apps.ledger.calls import Ending
from apps.ledger.emitters import usage
from apps.ledger.emitters.base import Emitter, Fields, Names, Quantities, Span, within_input
from apps.ledger.emitters.semconv import TOOLS_AND_AGENTS
from apps.ledger.emitters.values import MOMENT, TIER, WORD, costs, counts, quoted
from apps.pricing.meters import Meter

_TYPE = "langfuse.observation.type"
_OPERATIONS = {"generation": "chat", "embedding": "embeddings"}
_USAGE = "langfuse.observation.usage_details"
_COST = "langfuse.observation.cost_details"
_LEVEL = "langfuse.observation.level"
_STARTED = "langfuse.observation.completion_start_time"

_OWN: Mapping[Meter, Names] = {
    Meter.INPUT: ("input",),
    Meter.OUTPUT: ("output",),
    Meter.CACHE_READ: ("input_cache_read", "input_cached_tokens", "cache_read_input_tokens"),
    Meter.CACHE_WRITE: ("input_cache_creation", "cache_creation_input_tokens"),
    Meter.CACHE_WRITE_1H: ("input_cache_creation_1h", "cache_creation_ephemeral_1h_input_tokens"),
    Meter.AUDIO_IN: ("input_audio", "input_audio_tokens"),
    Meter.AUDIO_OUT: ("output_audio", "output_audio_tokens"),
    Meter.REASONING: ("output_reasoning", "output_reasoning_tokens"),
}
_CACHE_WRITE_5M = ("input_cache_creation_5m", "cache_creation_ephemeral_5m_input_tokens")
_BESIDE_INPUT = (Meter.CACHE_READ, Meter.CACHE_WRITE, Meter.AUDIO_IN)
_BESIDE_OUTPUT = (Meter.AUDIO_OUT, Meter.REASONING)
_ANTHROPIC = ("cache_read_input_tokens", "cache_creation_input_tokens")


class Langfuse(Emitter):
    name = "langfuse"
    scopes = ("langfuse-sdk", "langfuse*")
    marks = (_TYPE,)
    fields = Fields(
        model=("langfuse.observation.model.name",),
        first_token_at=(_STARTED,),
        session=("session.id", "langfuse.session.id"),
        user=("user.id", "langfuse.user.id", "enduser.id"),
    )
    extra = {
        _TYPE: WORD,
        _USAGE: counts(*dict.fromkeys((*usage.all_paths(usage.PATHS), *usage.all_paths(_OWN), *_CACHE_WRITE_5M))),
        _COST: costs("total"),
        _LEVEL: TIER,
        _STARTED: quoted(MOMENT),
    }
    apart = {_TYPE: TOOLS_AND_AGENTS}

    def operation(self, span: Span) -> str:
        return _OPERATIONS.get(str(span.attributes.get(_TYPE, "")).lower(), "")

    def quantities(self, span: Span) -> tuple[Quantities, bool]:
        sent = span.attributes.get(_USAGE)
        if not isinstance(sent, dict):
            return {}, True
        if "input" in sent or "output" in sent:
            return _own(sent)
        meters = usage.pick(sent, usage.PATHS)
        beside = [sent[name] for name in _ANTHROPIC if name in sent]
        if Meter.INPUT in meters and any(beside):
            meters[Meter.INPUT] += sum(beside)
            return within_input(meters)[0], False
        return within_input(meters)

    def ending(self, span: Span) -> Ending:
        return Ending.ERROR if span.attributes.get(_LEVEL) == "error" else super().ending(span)

    def cost(self, span: Span) -> Decimal | None:
        cost = span.attributes.get(_COST)
        return cost.get("total") if isinstance(cost, dict) else None


def _own(sent: Mapping[str, int]) -> tuple[Quantities, bool]:
    """Langfuse's shape. What OpenAI's details say within it ({"completion_tokens_details": …}) is inside the whole."""
    meters = usage.pick(sent, _OWN)
    writes = meters.get(Meter.CACHE_WRITE_1H, 0) + next((sent[name] for name in _CACHE_WRITE_5M if name in sent), 0)
    if writes > meters.get(Meter.CACHE_WRITE, 0):
        meters[Meter.CACHE_WRITE] = writes
    for whole, parts in ((Meter.INPUT, _BESIDE_INPUT), (Meter.OUTPUT, _BESIDE_OUTPUT)):
        if whole in meters:
            meters[whole] += sum(meters.get(part, 0) for part in parts)
    cached = meters.get(Meter.CACHE_READ, 0) + meters.get(Meter.CACHE_WRITE, 0)
    return usage.pick(sent, usage.PATHS) | meters, not cached
