"""Anthropic's SDK, which makes spans itself as soon as the application traces anything.

OpenTelemetry's conventions, and what is written to the cache for an hour.
"""

from apps.ledger.emitters import semconv
from apps.ledger.emitters.semconv import SemConv
from apps.pricing.meters import Meter


class Anthropic(SemConv):
    name = "anthropic"
    scopes = ("com.anthropic.sdk.*",)
    fields = semconv.FIELDS.also(
        meters={Meter.CACHE_WRITE_1H: ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",)}
    )
