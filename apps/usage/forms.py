"""Forms of the usage pages. What a field may hold is checked again by services."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from apps.analytics.exports.formats import WRITERS
from apps.analytics.exports.sources import SOURCES
from apps.analytics.exports.sources.base import Source
from apps.analytics.exports.wanted import Content, Format, Wanted
from apps.analytics.filters import FIRST_DAY, LAST_DAY
from apps.analytics.selectors import Dimension, Granularity
from apps.directory.ingest_tokens import LONGEST_NAME
from apps.ledger.selectors import EventFilter
from apps.pricing.feeds.base import Rate
from apps.pricing.meters import Meter
from apps.usage import words
from apps.usage.services import LONGEST_RETENTION, SHORTEST_RETENTION

_NAME = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}
# What a price that is typed is for.
PER = {Meter.REQUEST: 1_000, Meter.DURATION: 3_600_000}
MILLION = 1_000_000
# Those that are asked for at once; the others stand behind "More prices".
FIRST_PRICES = (Meter.INPUT, Meter.OUTPUT)


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=LONGEST_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Of the program or collector that reports with it.",
    )


class PeriodForm(forms.Form):
    """What holds from a day on, for good or to the end of another."""

    provider = forms.CharField(
        max_length=64,
        help_text="As calls name it: openai, bedrock.",
        widget=forms.TextInput(attrs={**_NAME, "list": "known-providers"}),
    )
    model = forms.CharField(max_length=256, widget=forms.TextInput(attrs={**_NAME, "list": "known-models"}))
    note = forms.CharField(
        max_length=200, label="Why", help_text="Kept with it: the number of a contract, say.", widget=forms.TextInput()
    )

    def __init__(self, data: Any = None, *, zone: ZoneInfo, **options: Any) -> None:
        super().__init__(data, **options)
        self.zone = zone
        for name, label, text in (
            ("from", "First day", "Earlier calls can be re-priced afterwards."),
            ("to", "Last day", "Leave it empty for good."),
        ):
            self.fields[name] = forms.DateField(
                required=name == "from",
                label=label,
                help_text=text,
                widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
                validators=[MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)],
            )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        first, last = cleaned.get("from"), cleaned.get("to")
        if first and last and last < first:
            self.add_error("to", "The last day comes before the first.")
        return cleaned

    @property
    def start(self) -> datetime:
        return self._begin(self.cleaned_data["from"])

    @property
    def end(self) -> datetime | None:
        last = self.cleaned_data.get("to")
        return self._begin(last + timedelta(days=1)) if last else None

    def _begin(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.zone)


class PriceForm(PeriodForm):
    """What the organization itself pays for a model. A price that is left out is its parent's, not 0."""

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["model"].help_text = "As calls name it, or * for all models of the provider."
        for meter in words.PRICED_BY_HAND:
            self.fields[f"price_{meter}"] = forms.DecimalField(
                required=False,
                min_value=Decimal(0),
                max_digits=18,
                decimal_places=10,
                label=words.METERS[meter],
                help_text=f"US dollars {words.per(PER.get(meter, MILLION), meter)}",
                widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
            )

    @property
    def first_prices(self) -> Iterator[forms.BoundField]:
        return (self[f"price_{meter}"] for meter in FIRST_PRICES)

    @property
    def other_prices(self) -> Iterator[forms.BoundField]:
        return (self[f"price_{meter}"] for meter in words.PRICED_BY_HAND if meter not in FIRST_PRICES)

    @property
    def shows_more(self) -> bool:
        return any(field.value() not in (None, "") or field.errors for field in self.other_prices)

    @property
    def rates(self) -> dict[Meter, Rate]:
        """Those that were given. Of a valid form."""
        given = {meter: self.cleaned_data[f"price_{meter}"] for meter in words.PRICED_BY_HAND}
        return {meter: Rate(price, PER.get(meter, MILLION)) for meter, price in given.items() if price is not None}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if not self.errors and not self.rates:
            self.add_error(f"price_{Meter.INPUT}", "Give at least one price; 0 is one, too.")
        return cleaned


class DiscountForm(PeriodForm):
    """A discount on list prices, in percent: 15 is 15 percent off, -10 a surcharge."""

    percent = forms.DecimalField(
        label="Percent off",
        min_value=Decimal(-900),
        max_value=Decimal("99.999999"),
        max_digits=9,
        decimal_places=6,
        help_text="15 is 15 percent off the list price. Below 0 is a surcharge.",
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["model"].required = False
        self.fields["model"].help_text = "Leave it empty for all models of the provider."

    @property
    def multiplier(self) -> Decimal:
        return 1 - Decimal(self.cleaned_data["percent"]) / 100


class LookupForm(forms.Form):
    """Which model's list price."""

    provider = forms.CharField(max_length=64, widget=forms.TextInput(attrs={**_NAME, "list": "known-providers"}))
    model = forms.CharField(max_length=256, widget=forms.TextInput(attrs={**_NAME, "list": "known-models"}))


class RetentionForm(forms.Form):
    """How long calls are kept: for good, or for so many days."""

    keep = forms.ChoiceField(
        choices=[("good", "For good"), ("days", "For a number of days")], widget=forms.RadioSelect, label="Keep calls"
    )
    days = forms.IntegerField(
        required=False,
        min_value=SHORTEST_RETENTION,
        max_value=LONGEST_RETENTION,
        label="Days",
        help_text=f"From {SHORTEST_RETENTION} to {LONGEST_RETENTION:,}. 400 days keep a year and a month to compare.",
    )

    @classmethod
    def of(cls, days: int | None) -> "RetentionForm":
        return cls(initial={"keep": "days" if days else "good", "days": days})

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("keep") == "days" and cleaned.get("days") is None and "days" not in self.errors:
            self.add_error("days", "Say for how many days.")
        return cleaned

    @property
    def chosen(self) -> int | None:
        return self.cleaned_data["days"] if self.cleaned_data["keep"] == "days" else None


class ExportForm(forms.Form):
    """What is in a file, and how it is written. The calls are chosen in a FilterForm beside it."""

    content = forms.ChoiceField(
        label="What is in it",
        choices=[(name.value, source.label) for name, source in SOURCES.items()],
        widget=forms.RadioSelect,
    )
    format = forms.ChoiceField(choices=[(name.value, writer.label) for name, writer in WRITERS.items()])
    granularity = forms.ChoiceField(
        required=False,
        label="A row for each",
        choices=[*((each.value, each.value.capitalize()) for each in Granularity), ("", "All time together")],
    )
    by = forms.MultipleChoiceField(
        required=False,
        label="And for each",
        choices=[(each.value, each.value.replace("_", " ").capitalize()) for each in Dimension],
        widget=forms.CheckboxSelectMultiple,
    )

    @property
    def contents(self) -> Iterator[tuple[forms.boundfield.BoundWidget, Source]]:
        return zip(self["content"], SOURCES.values(), strict=True)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("content") == Content.FOCUS and cleaned.get("granularity") not in (
            Granularity.HOUR,
            Granularity.DAY,
        ):
            self.add_error("granularity", "FOCUS has a row for each hour or day.")
        return cleaned

    def wanted(self, calls: EventFilter, zone: ZoneInfo) -> Wanted:
        """Of a valid form only. What the content has no use for is left out."""
        chosen = self.cleaned_data
        content = Content(chosen["content"])
        granularity = chosen["granularity"] if content is not Content.ROWS else ""
        by = chosen["by"] if content is Content.SUMS else []
        return Wanted(
            content=content,
            format=Format(chosen["format"]),
            filter=calls,
            zone=zone.key,
            granularity=Granularity(granularity) if granularity else None,
            by=tuple(dict.fromkeys(map(Dimension, by))),
        )
