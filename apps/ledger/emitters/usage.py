"""The usage object of a provider's response, which several emitters pass on as JSON.

OpenAI's chat and responses APIs have it with the cached tokens inside the input; Anthropic's beside it, under names
that nobody else has.
"""

from collections.abc import Mapping

from apps.ledger.emitters.base import Names, Quantities
from apps.pricing.meters import Meter

PATHS: Mapping[Meter, Names] = {
    Meter.INPUT: ("prompt_tokens", "input_tokens"),
    Meter.OUTPUT: ("completion_tokens", "output_tokens"),
    Meter.CACHE_READ: (
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
        "cache_read_input_tokens",
    ),
    Meter.CACHE_WRITE: ("cache_creation_input_tokens",),
    Meter.CACHE_WRITE_1H: ("cache_creation.ephemeral_1h_input_tokens",),
    Meter.REASONING: ("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens"),
    Meter.AUDIO_IN: ("prompt_tokens_details.audio_tokens",),
    Meter.AUDIO_OUT: ("completion_tokens_details.audio_tokens",),
}


def all_paths(paths: Mapping[Meter, Names]) -> Names:
    return tuple(path for names in paths.values() for path in names)


def pick(usage: Mapping[str, int], paths: Mapping[Meter, Names]) -> Quantities:
    """Of each meter the first path that is there."""
    found = {meter: next((usage[name] for name in names if name in usage), None) for meter, names in paths.items()}
    return {meter: count for meter, count in found.items() if count is not None}
