"""What vendors bill: one meter a quantity, and how meters nest.

Quantities are reported inclusively: `input` holds the cached tokens, `output` the reasoning tokens, as
OpenTelemetry's `gen_ai.usage.*` and most vendors count. A price, however, is for what no finer price covers, so
rating first takes each quantity apart (`exclusive`).
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache


class Meter(StrEnum):
    """One billed quantity. The unit is in the name; tokens where nothing else is said."""

    INPUT = "input"
    OUTPUT = "output"
    CACHE_READ = "cache_read"
    CACHE_WRITE = "cache_write"
    CACHE_WRITE_1H = "cache_write_1h"
    REASONING = "reasoning"
    CITATION = "citation"
    AUDIO_IN = "audio_in"
    AUDIO_OUT = "audio_out"
    CACHE_AUDIO_READ = "cache_audio_read"
    IMAGE_IN = "image_in"
    IMAGE_OUT = "image_out"
    CACHE_IMAGE_READ = "cache_image_read"
    VIDEO_IN = "video_in"
    VIDEO_OUT = "video_out"
    CHARACTER_IN = "character_in"
    MESSAGE_IN = "message_in"
    AUDIO_SECOND = "audio_second"
    AUDIO_SECOND_IN = "audio_second_in"
    PAGE_IN = "page_in"
    ANNOTATED_PAGE_IN = "annotated_page_in"
    WEB_SEARCH = "web_search"
    STORAGE_SEARCH = "storage_search"
    REQUEST = "request"
    # How long the call took, in milliseconds. No vendor bills it; what own hardware costs an hour is a price for it.
    DURATION = "duration"

    # Enum hashes by name in Python code; the plain string's hash is the same for lookups and a fifth of the time.
    __hash__ = str.__hash__


# What each meter is a part of. Without a price of its own a meter costs what its nearest priced parent costs.
PARENTS: Mapping[Meter, tuple[Meter, ...]] = {
    Meter.CACHE_READ: (Meter.INPUT,),
    Meter.CACHE_WRITE: (Meter.INPUT,),
    Meter.CACHE_WRITE_1H: (Meter.CACHE_WRITE,),
    Meter.AUDIO_IN: (Meter.INPUT,),
    Meter.IMAGE_IN: (Meter.INPUT,),
    Meter.VIDEO_IN: (Meter.INPUT,),
    Meter.CACHE_AUDIO_READ: (Meter.CACHE_READ, Meter.AUDIO_IN),
    Meter.CACHE_IMAGE_READ: (Meter.CACHE_READ, Meter.IMAGE_IN),
    Meter.REASONING: (Meter.OUTPUT,),
    Meter.CITATION: (Meter.OUTPUT,),
    Meter.AUDIO_OUT: (Meter.OUTPUT,),
    Meter.IMAGE_OUT: (Meter.OUTPUT,),
    Meter.VIDEO_OUT: (Meter.OUTPUT,),
    Meter.AUDIO_SECOND_IN: (Meter.AUDIO_SECOND,),
    Meter.ANNOTATED_PAGE_IN: (Meter.PAGE_IN,),
}


def _generations(meter: Meter) -> list[Meter]:
    """The meter's ancestors, nearest first."""
    found: list[Meter] = []
    nearest: Iterable[Meter] = PARENTS.get(meter, ())
    while nearest:
        found += [parent for parent in nearest if parent not in found]
        nearest = [parent for child in nearest for parent in PARENTS.get(child, ())]
    return found


ANCESTORS: Mapping[Meter, tuple[Meter, ...]] = {meter: tuple(_generations(meter)) for meter in Meter}
_PARTS: Mapping[Meter, tuple[Meter, ...]] = {
    meter: tuple(part for part in Meter if meter in ANCESTORS[part]) for meter in Meter
}
# The finest first: a meter's parts come before it.
_ORDER = {meter: -len(ANCESTORS[meter]) for meter in Meter}
# All input tokens, however they are split: what a price tier's threshold is compared with.
INPUT_TOKENS = frozenset((Meter.INPUT, *_PARTS[Meter.INPUT]))

# What every call has, whatever it used. Hardly anybody bills for these: without a price they are no gap.
OF_EVERY_CALL = frozenset((Meter.REQUEST, Meter.DURATION))

# Parts that some vendors count beside the whole instead of within it: Anthropic's `input_tokens` leaves out what
# the cache served or stored, Gemini's candidates leave out the thoughts.
_BESIDE = frozenset(
    (
        Meter.CACHE_READ,
        Meter.CACHE_WRITE,
        Meter.CACHE_WRITE_1H,
        Meter.CACHE_AUDIO_READ,
        Meter.CACHE_IMAGE_READ,
        Meter.REASONING,
    )
)


def exclusive(quantities: Mapping[Meter, int]) -> tuple[dict[Meter, int], bool]:
    """Each quantity without what its parts hold, and whether some parts can't have been within their whole.

    {input: 1200, cache_read: 1000} → {cache_read: 1000, input: 200}, False
    {input: 200, cache_read: 1000} → {cache_read: 1000, input: 200}, True: counted beside

    No quantity becomes negative: where cached or reasoning tokens exceed the whole they were counted beside it;
    where other parts do, the whole is used up. Raises ValueError for a negative quantity.
    """
    own: dict[Meter, int] = {}
    beside = False
    for meter, parts in _nested(tuple(quantities)):
        whole = quantities[meter]
        if whole < 0:
            raise ValueError(f"{meter} is negative: {whole}.")
        within = outside = 0
        for part in parts:
            within += own[part]
            if part in _BESIDE:
                outside += own[part]
        if within > whole:
            beside = True
            if outside > whole:
                within -= outside
        own[meter] = max(whole - within, 0)
    return own, beside


@lru_cache(maxsize=1024)
def _nested(meters: tuple[Meter, ...]) -> list[tuple[Meter, list[Meter]]]:
    """The finest first, each with those of the others that are its parts. Calls have few combinations of meters."""
    return [
        (meter, [part for part in _PARTS[meter] if part in meters]) for meter in sorted(meters, key=_ORDER.__getitem__)
    ]
