"""The emitters that are understood, and the one place that lists them."""

from collections.abc import Mapping
from functools import lru_cache

from apps.ledger.calls import Call
from apps.ledger.emitters.anthropic import Anthropic
from apps.ledger.emitters.anyllm import AnyLLM
from apps.ledger.emitters.base import RESOURCE_KEYS, SPAN_TYPE, Emitter, Span
from apps.ledger.emitters.langfuse import Langfuse
from apps.ledger.emitters.logfire import Logfire
from apps.ledger.emitters.mlflow import MLflow
from apps.ledger.emitters.openinference import OpenInference
from apps.ledger.emitters.openllmetry import OpenLLMetry
from apps.ledger.emitters.pydantic_ai import PydanticAI
from apps.ledger.emitters.semconv import SemConv
from apps.ledger.emitters.values import Kind
from apps.ledger.emitters.vercel import Vercel

# Spans of a scope that nobody claims are read by what marks them, else by OpenTelemetry's own conventions.
FALLBACK = SemConv()
EMITTERS: tuple[Emitter, ...] = (
    AnyLLM(),
    Anthropic(),
    Langfuse(),
    Logfire(),
    MLflow(),
    OpenInference(),
    OpenLLMetry(),
    PydanticAI(),
    Vercel(),
    FALLBACK,
)

# What is decoded, and nothing else.
KEYS: Mapping[str, Kind] = {key: kind for emitter in EMITTERS for key, kind in emitter.keys.items()}
SPAN_NAMES = frozenset(name for emitter in EMITTERS for name in emitter.span_names)
CHUNK_EVENTS = frozenset(name for emitter in EMITTERS for name in emitter.chunk_events)
# The first chunk has the first token.
FIRST_TOKEN_EVENTS = CHUNK_EVENTS.union(name for emitter in EMITTERS for name in emitter.first_token_events)

_APART = tuple((key, values) for emitter in EMITTERS for key, values in emitter.apart.items())
_MARKS = tuple((mark, emitter) for emitter in EMITTERS for mark in emitter.marks)

__all__ = [
    "CHUNK_EVENTS",
    "EMITTERS",
    "FIRST_TOKEN_EVENTS",
    "KEYS",
    "RESOURCE_KEYS",
    "SPAN_NAMES",
    "Span",
    "emitter_of",
    "is_apart",
    "keys_of",
    "read",
]


@lru_cache(maxsize=1024)
def emitter_of(scope: str) -> Emitter | None:
    """The emitter whose instrumentation scope this is; None for one that nobody claims."""
    return next((emitter for emitter in EMITTERS if emitter.claims(scope)), None)


@lru_cache(maxsize=1024)
def keys_of(scope: str) -> Mapping[str, Kind]:
    """The attributes that a call is read from below this scope, as far as that can be told from the scope alone."""
    return (emitter_of(scope) or FALLBACK).keys


def read(span: Span) -> Call | None:
    """The call that a span describes; None for a span that describes none."""
    if span.attributes.get(SPAN_TYPE) == "pending_span":
        return None
    emitter = emitter_of(span.scope)
    if emitter is None:
        emitter = next((emitter for mark, emitter in _MARKS if mark in span.attributes), FALLBACK)
    return emitter.read(span)


def is_apart(span: Span) -> bool:
    """Whether it is a tool's or an agent's: what runs below it is no part of the call above it."""
    attributes = span.attributes
    return bool(attributes) and any(str(attributes.get(key, "")).lower() in values for key, values in _APART)
