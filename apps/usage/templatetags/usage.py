"""Amounts, quantities and durations as people read them."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from html import escape
from typing import Any
from urllib.parse import urlencode

from django import template
from django.utils.safestring import SafeString

from apps.analytics.charts import Chart
from apps.analytics.templatetags.analytics import plain, rate
from apps.usage import words
from apps.vault.providers import label_of

register = template.Library()

# Written before the amount; others by their code.
# A hyphen is too short for a minus sign beside figures.
MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NO-BREAK SPACE}"
SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£"}
CENTS = Decimal("0.01")
MINUTE = timedelta(minutes=1)


@register.filter
def get(mapping: Mapping[Any, Any], key: Any) -> Any:
    """What a mapping has for a key, None if nothing."""
    return mapping.get(key)


@register.simple_tag
def money(amount: Decimal | None, currency: str = "USD") -> str:
    """To the cent, and below that to three digits that say something: $1,234.50, $0.0123, $0.00000008."""
    if amount is None:
        return "—"
    places = 2
    if amount and abs(amount) < 1:
        places = max(2, 2 - amount.adjusted())
    rounded = amount.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return _with_currency(_at_least_cents(rounded), currency)


@register.simple_tag
def exact(amount: Decimal | None, currency: str = "USD") -> str:
    """Every digit there is: $0.000003225."""
    return "—" if amount is None else _with_currency(_at_least_cents(amount), currency)


def _at_least_cents(amount: Decimal) -> str:
    text = f"{amount:,f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def _with_currency(text: str, currency: str) -> str:
    sign, digits = (MINUS, text[1:]) if text.startswith("-") else ("", text)
    symbol = SYMBOLS.get(currency or "USD")
    return f"{sign}{symbol}{digits}" if symbol else f"{currency} {sign}{digits}"


@register.simple_tag
def change(amount: Decimal, currency: str = "USD", *, short: bool = False) -> str:
    """A difference with its sign, exact or as short as `money`: +$1.20."""
    text = money(amount, currency) if short else exact(amount, currency)
    return f"+{text}" if amount > 0 else text


@register.filter
def count(number: int | None) -> str:
    """1,234,567; "—" for what is not known."""
    return "—" if number is None else f"{number:,}"


@register.filter
def short(number: int | None) -> str:
    """Large numbers in three digits: 812, 45.2k, 1.24M."""
    if number is None:
        return "0"
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if abs(number) >= size:
            value = number / size
            places = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
            return f"{value:.{places}f}{unit}"
    return str(number)


@register.filter
def percent(share: Decimal) -> str:
    """A share of 1: 12%, and "under 1%" or "over 99%" where rounding would say none or all."""
    if 0 < share < Decimal("0.01"):
        return "under 1%"
    if Decimal("0.99") < share < 1:
        return "over 99%"
    return f"{share * 100:.0f}%"


@register.filter
def provider_label(name: str) -> str:
    """OpenAI for openai."""
    return label_of(name)


@register.filter
def signed(number: int | None) -> str:
    """With its sign: +12, 0."""
    if not number:
        return "0"
    return f"+{number:,}" if number > 0 else f"{MINUS}{-number:,}"


@register.filter
def milliseconds(value: float | None) -> str:
    """870 ms, 4.2 s, 3 min 20 s. In one piece: no line begins with a unit."""
    if value is None:
        return "—"
    if value < 1_000:
        return f"{value:.0f}{SPACE}ms" if value >= 10 or value == 0 else f"{value:.1f}{SPACE}ms"
    seconds = value / 1_000
    if seconds < 60:
        return f"{seconds:.1f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:,}{SPACE}min{SPACE}{rest}{SPACE}s" if rest else f"{minutes:,}{SPACE}min"


@register.filter
def lasting(length: timedelta) -> str:
    """As milliseconds, and of more than an hour 2 h 5 min, of more than a day 3 d 4 h."""
    minutes = round(length / MINUTE)
    if minutes < 60:
        return milliseconds(length / timedelta(milliseconds=1))
    whole, rest, units = (*divmod(minutes, 60), ("h", "min")) if minutes < 1_440 else (*divmod(minutes // 60, 24), "dh")
    return SPACE.join([f"{whole:,}", units[0], *([str(rest), units[1]] if rest else [])])


@register.filter
def decimal(value: Decimal) -> str:
    """A number without the zeros of its column: 2.5, 0.075, 600."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.filter
def meter(name: str) -> str:
    return words.meter(name)


@register.filter
def meter_within(name: str) -> str:
    """In a sentence: "cached input tokens"."""
    text = words.meter(name)
    return text[:1].lower() + text[1:]


@register.simple_tag
def per(units: int, name: str) -> str:
    return words.per(units, name)


@register.filter
def kind(name: str) -> str:
    return words.KINDS.get(name, name)


@register.filter
def is_moment(value: object) -> bool:
    return isinstance(value, datetime)


@register.filter
def is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal)


@register.filter
def is_whole(value: object) -> bool:
    return isinstance(value, int)


@register.filter
def month(name: str) -> str:
    """Sep 2026 for 2026-09."""
    return f"{date.fromisoformat(f'{name}-01'):%b %Y}"


@register.filter
def negated(amount: Decimal) -> Decimal:
    return -amount


@register.filter
def words_of(name: str) -> str:
    """service_tier → service tier."""
    return name.replace("_", " ")


@register.filter
def query(fields: Mapping[str, str]) -> str:
    """As an address has it."""
    return urlencode(fields)


_WORDS: dict[str, Callable[[Any], str]] = {
    "durations": milliseconds,
    "first_tokens": milliseconds,
    "throughputs": rate,
}


@register.simple_tag
def chart_rows(chart: Chart, base: str) -> SafeString:
    """The rows of a chart's table, each value linked to what is behind it, and in `data-value` for the script. Not in
    the template, since that takes ten times as long and a chart has up to a thousand values."""
    words = partial(exact, currency=chart.unit) if chart.is_money else _WORDS.get(chart.unit, count)
    address = escape(f"{base}ledger/?")

    def linked(text: str, query: str) -> str:
        return f'<a href="{address}{escape(query)}">{escape(text)}</a>' if query else escape(text)

    def cell(value: Decimal | float | None, query: str = "") -> str:
        if value is None:
            return '<td class="number">—</td>'
        return f'<td class="number" data-value="{plain(value)}">{linked(words(value), query)}</td>'

    made = []
    for row in chart.rows:
        made.append(f'<tr><th scope="row">{linked(row.label, row.query)}</th>')
        made += [cell(one.value, one.query) for one in row.cells]
        if row.total is not None:
            made.append(f'<td class="number">{escape(words(row.total))}</td>')
        if chart.has_unpriced:
            made.append(f'<td class="number">{count(row.unpriced or None)}</td>')
        if chart.has_before:
            made.append(cell(row.before))
        made.append("</tr>")
    return SafeString("".join(made))
