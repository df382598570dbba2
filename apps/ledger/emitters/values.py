"""The kinds of attributes that are read, each with what it keeps of a value: never more than it needs.

`accept` takes a scalar as it was sent and returns what is kept, or None when the value can't be right. What an
emitter sends as JSON is reduced here to the numbers asked for, so that the rest of it gets no further.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

Scalar = str | int | float | bool
Value = str | int | float | bool | Decimal | datetime | Mapping[str, int] | Mapping[str, Decimal]

# Far above any call there is; a count beyond it is a fault of the sender, not usage.
MOST_TOKENS = 10**12
MOST_DOLLARS = Decimal(10**9)
# Digits after the point that a cost is kept with.
COST_PLACES = Decimal("1e-12")


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """`about` is what docs/stored-data.md says of it."""

    about: str
    accept: Callable[[Scalar], Value | None]


_DIGITS = re.compile(r"[0-9]{1,13}")
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?")
_NAME = re.compile(r"[A-Za-z0-9_.:]{1,128}")
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TIER = re.compile(r"[a-z0-9_-]{1,32}")


def _count(sent: Scalar) -> int | None:
    """JavaScript emitters send whole numbers as doubles, some others as text."""
    match sent:
        case bool():
            return None
        case str():
            number = int(sent) if _DIGITS.fullmatch(sent) else -1
        case float():
            number = int(sent) if math.isfinite(sent) and sent.is_integer() else -1
        case _:
            number = sent
    return number if 0 <= number <= MOST_TOKENS else None


def _number(sent: Scalar) -> float | None:
    match sent:
        case bool():
            return None
        case str():
            number = float(sent) if _NUMBER.fullmatch(sent) else -1.0
        case _:
            number = float(sent) if -1 <= sent <= MOST_TOKENS else -1.0
    return number if 0 <= number <= MOST_TOKENS else None


def _cost(sent: Scalar) -> Decimal | None:
    """Exactly the digits that were sent; of a double, the shortest that make it."""
    text = sent if isinstance(sent, str) else repr(sent)
    if isinstance(sent, bool) or len(text) > 64:
        return None
    try:
        cost = Decimal(text)
    except InvalidOperation:
        return None
    if not cost.is_finite() or not 0 <= cost <= MOST_DOLLARS:
        return None
    exponent = cost.as_tuple().exponent
    # Also what keeps 1E-999999 from being written out.
    return cost.quantize(COST_PLACES) if isinstance(exponent, int) and exponent < -12 else cost


def _flag(sent: Scalar) -> bool | None:
    if isinstance(sent, str):
        return {"true": True, "false": False}.get(sent.lower())
    return sent if isinstance(sent, bool) else None


def clean(text: str, cap: int) -> str:
    """`text` without control characters and lone surrogates, no longer than `cap` characters."""
    if text.isprintable():
        return text[:cap]
    kept = (letter for letter in text[: 4 * cap] if unicodedata.category(letter) not in ("Cc", "Cs"))
    return "".join(kept)[:cap]


def text(cap: int) -> Kind:
    def accept(sent: Scalar) -> str | None:
        if not isinstance(sent, str):
            return None
        # Nearly always, and half the time.
        return sent if len(sent) <= cap and sent.isprintable() else clean(sent, cap)

    return Kind(f"text, at most {cap} characters", accept)


def identifier(cap: int) -> Kind:
    """A longer one is dropped: cut off, two could become the same."""

    def accept(sent: Scalar) -> str | None:
        return clean(sent, cap) if isinstance(sent, str) and len(sent) <= cap else None

    return Kind(f"id, dropped when longer than {cap} characters", accept)


def _matching(pattern: re.Pattern[str]) -> Callable[[Scalar], str | None]:
    def accept(sent: Scalar) -> str | None:
        return sent if isinstance(sent, str) and pattern.fullmatch(sent) else None

    return accept


def _tier(sent: Scalar) -> str | None:
    return _matching(_TIER)(sent.lower()) if isinstance(sent, str) else None


def _json(sent: Scalar) -> object:
    """What is in a JSON text; None when it is none."""
    if not isinstance(sent, str):
        return None
    try:
        return msgspec.json.decode(sent)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def quoted(kind: Kind) -> Kind:
    """The same, sent as JSON: "\\"gpt-5\\"". Taken without the quotes as well."""

    def accept(sent: Scalar) -> Value | None:
        if isinstance(sent, str) and sent.startswith('"'):
            inner = _json(sent)
            return kind.accept(inner) if isinstance(inner, str) else None
        return kind.accept(sent)

    return Kind(f"{kind.about}, JSON-quoted", accept)


def _moment(sent: Scalar) -> datetime | None:
    if not isinstance(sent, str) or len(sent) > 64:
        return None
    try:
        moment = datetime.fromisoformat(sent)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _picked(paths: tuple[str, ...], accept: Callable[[Scalar], Value | None]) -> Callable[[Scalar], Value | None]:
    """Of a JSON object what stands at `paths` ("a" or "a.b"), the rest is let go."""
    steps = {path: path.split(".") for path in paths}

    def pick(sent: Scalar) -> Value | None:
        whole = _json(sent)
        if not isinstance(whole, dict):
            return None
        found: dict[str, Any] = {}
        for path, names in steps.items():
            place: object = whole
            for name in names:
                place = place.get(name) if isinstance(place, dict) else None
            if isinstance(place, str | int | float) and (kept := accept(place)) is not None:
                found[path] = kept
        return found

    return pick


def counts(*paths: str) -> Kind:
    return Kind(f"JSON, of which the counts at {', '.join(paths)}", _picked(paths, _count))


def costs(*paths: str) -> Kind:
    return Kind(f"JSON, of which the amounts at {', '.join(paths)}", _picked(paths, _cost))


def _bit(sent: Scalar) -> int | None:
    return int(sent) if isinstance(sent, bool) else None


def flags(*paths: str) -> Kind:
    return Kind(f"JSON, of which whether {', '.join(paths)} is true", _picked(paths, _bit))


COUNT = Kind("count, 0 to 10¹²", _count)
NUMBER = Kind("number, 0 to 10¹²", _number)
COST = Kind("amount in US dollars, 0 to 10⁹, 12 decimals", _cost)
FLAG = Kind("true or false", _flag)
PROVIDER = text(64)
MODEL = text(256)
LABEL = text(200)
ID = identifier(128)
SOURCE = identifier(64)
# Names of exception classes and status codes. Anything else could be a sentence.
ERROR_TYPE = Kind("name of letters, digits, `_`, `.` and `:`, at most 128", _matching(_NAME))
# What a span is a record of. Compared, not stored.
WORD = Kind("word of letters, digits, `_`, `.` and `-`, at most 64", _matching(_WORD))
TIER = Kind("name of letters, digits, `_` and `-`, at most 32", _tier)
MOMENT = Kind("time in ISO 8601 with its offset", _moment)
