"""Changes and rates as people read them. Amounts, quantities and durations: the library `usage`."""

from decimal import Decimal

from django import template

from apps.analytics.insights import relative
from apps.analytics.models import SavedView

register = template.Library()

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
# From here on a percentage is harder to read than a factor.
MANY_TIMES = 10


@register.simple_tag
def delta(before: Decimal | float | None, after: Decimal | float | None) -> str:
    """By how much it changed: +12%, "no change", "new", and from MANY_TIMES on a factor; "" where nothing was or is."""
    if before is None or after is None or not (before or after):
        return ""
    change = relative(before, after)
    if change is None:
        return "new"
    if abs(change) < 0.0005:
        return "no change"
    if change >= MANY_TIMES:
        return f"{TIMES}{change + 1:,.0f}"
    share = abs(change) * 100
    text = f"{share:.1f}" if share < 10 else f"{share:.0f}"
    return f"{MINUS if change < 0 else '+'}{text}%"


@register.filter
def rate(value: float | None) -> str:
    """Tokens a second: 54.2/s."""
    if value is None:
        return "—"
    return f"{value:,.0f}/s" if value >= 100 else f"{value:.1f}/s"


@register.filter
def estimate(value: float) -> Decimal:
    """An estimate as an amount: three digits, since it knows no more."""
    return Decimal(f"{value:.3g}")


@register.filter
def page_name(page: str) -> str:
    """What one of SavedView.Page is called."""
    return SavedView.Page(page).label


@register.filter
def item(sequence: list[object], place: int) -> object:
    """The element at a place."""
    return sequence[place]


@register.filter
def plain(value: Decimal | float) -> str:
    """For a script, every digit."""
    return f"{value:f}" if isinstance(value, Decimal) else repr(value)
