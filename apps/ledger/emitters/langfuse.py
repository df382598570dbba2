"""Langfuse's SDK: one JSON of usage, of the provider's shape or of Langfuse's own, and no provider.

In Langfuse's shape every count stands beside the others: `input` leaves out what `input_*` hold. Its handler for
LangChain takes every detail that a provider names out of `input` and `output`, down to 0, so each must be put back.
Anthropic's shape leaves the cached tokens out as well. OpenAI's is inclusive.
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


def _modalities(prefix: str, *names: str) -> Names:
    """Vertex AI's details, which have the modality in their name."""
    return tuple(f"{prefix}_modality_{spelled}" for name in names for spelled in (name, name.lower()))


# Of each meter the first that is there.
_OWN: Mapping[Meter, Names] = {
    Meter.INPUT: ("input",),
    Meter.OUTPUT: ("output",),
    Meter.CACHE_READ: (
        "input_cache_read",
        "input_cached_tokens",
        "input_flex_cache_read",
        "cache_read_input_tokens",
    ),
    Meter.CACHE_WRITE: ("input_cache_creation", "input_cache_creation_tokens", "cache_creation_input_tokens"),
    Meter.CACHE_WRITE_1H: (
        "input_cache_creation_1h",
        "input_ephemeral_1h_input_tokens",
        "cache_creation_ephemeral_1h_input_tokens",
    ),
    Meter.AUDIO_IN: ("input_audio", "input_audio_tokens", *_modalities("input", "AUDIO")),
    Meter.AUDIO_OUT: ("output_audio", "output_audio_tokens", *_modalities("output", "AUDIO")),
    Meter.REASONING: (
        "output_reasoning",
        "output_reasoning_tokens",
        "output_flex_reasoning",
        "thoughts_token_count",
    ),
}
_CACHE_WRITE_5M = (
    "input_cache_creation_5m",
    "input_ephemeral_5m_input_tokens",
    "cache_creation_ephemeral_5m_input_tokens",
)
_BESIDE_INPUT = (Meter.CACHE_READ, Meter.CACHE_WRITE, Meter.AUDIO_IN)
_BESIDE_OUTPUT = (Meter.AUDIO_OUT, Meter.REASONING)
# All of these together: what Vertex AI read from its cache, and parts of a whole that no meter stands for.
_CACHED = _modalities("cached", "TEXT", "IMAGE", "VIDEO", "AUDIO", "DOCUMENT")
_OTHER_INPUT = (
    *_modalities("input", "TEXT", "IMAGE", "VIDEO", "DOCUMENT"),
    *("input_text_tokens", "input_image_tokens", "input_video_tokens", "input_flex", "tool_use_prompt_token_count"),
)
_OTHER_OUTPUT = (*_modalities("output", "TEXT", "IMAGE", "VIDEO", "DOCUMENT"), "output_flex")
# Parts that stay inside their whole. Nobody takes them out.
_INSIDE: Mapping[Meter, Names] = {
    Meter.CACHE_READ: ("input_priority_cache_read", "cached_content_token_count"),
    Meter.REASONING: ("output_priority_reasoning",),
}
_TOTAL = "total"
_ALL = (
    *usage.all_paths(_OWN),
    *usage.all_paths(_INSIDE),
    *(*_CACHE_WRITE_5M, *_CACHED, *_OTHER_INPUT, *_OTHER_OUTPUT, _TOTAL),
)
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
        _USAGE: counts(*dict.fromkeys((*usage.all_paths(usage.PATHS), *_ALL))),
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
    """Langfuse's shape. What OpenAI's details say within it ({"completion_tokens_details": …}) is inside the whole.

    Nothing where `total` has more than all that is understood: the rest was used, too, and has another name.
    """
    meters = usage.pick(sent, _OWN)
    if Meter.CACHE_READ not in meters and (cached := _sum(sent, _CACHED)):
        meters[Meter.CACHE_READ] = cached
    writes = meters.get(Meter.CACHE_WRITE_1H, 0) + next((sent[name] for name in _CACHE_WRITE_5M if name in sent), 0)
    if writes > meters.get(Meter.CACHE_WRITE, 0):
        meters[Meter.CACHE_WRITE] = writes
    for whole, parts in ((Meter.INPUT, _BESIDE_INPUT), (Meter.OUTPUT, _BESIDE_OUTPUT)):
        if whole in meters:
            meters[whole] += sum(meters.get(part, 0) for part in parts)
    for whole, names in ((Meter.OUTPUT, _OTHER_OUTPUT), (Meter.INPUT, _OTHER_INPUT)):
        if whole in meters:
            others = _sum(sent, names)
            # Some overlap: a text that was cached is a text. More than `total` they can't be.
            meters[whole] += min(others, max(0, sent[_TOTAL] - _whole(meters))) if _TOTAL in sent else others
    if sent.get(_TOTAL, 0) > _whole(meters):
        return {}, True
    cached = meters.get(Meter.CACHE_READ, 0) + meters.get(Meter.CACHE_WRITE, 0)
    return usage.pick(sent, _INSIDE) | usage.pick(sent, usage.PATHS) | meters, not cached


def _sum(sent: Mapping[str, int], names: Names) -> int:
    return sum(sent.get(name, 0) for name in names)


def _whole(meters: Mapping[Meter, int]) -> int:
    return meters.get(Meter.INPUT, 0) + meters.get(Meter.OUTPUT, 0)
