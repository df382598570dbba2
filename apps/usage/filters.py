"""Which calls a page is about: what stands in its address, and the ledger's filter that it means."""

import uuid
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator

from apps.ledger.calls import Ending
from apps.ledger.models import PriceStatus
from apps.ledger.selectors import EventFilter

DEFAULT_PERIOD = "30"
PERIODS = [
    ("today", "Today"),
    ("7", "Last 7 days"),
    ("30", "Last 30 days"),
    ("month", "This month"),
    ("last-month", "Last month"),
    ("year", "This year"),
    ("all", "All time"),
    ("custom", "From … to …"),
]
STATUSES = [
    ("", "Any status"),
    ("priced", "Priced"),
    ("unpriced", "Unpriced"),
    ("failed", "Failed"),
    ("duplicate", "Duplicates"),
    ("cancelled", "Cancelled"),
]
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2100, 1, 1)
# Those that stand behind "More filters".
MORE = ("provider", "model", "client", "key", "session", "user")

_TEXT = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}


class FilterForm(forms.Form):
    """A filter as people choose it. Days are the organization's; the last day of a period is part of it.

    `from` and `to` count only where the period is "custom", as it is where they are given without one.
    """

    project = forms.ChoiceField(required=False)
    period = forms.ChoiceField(required=False, choices=PERIODS)
    status = forms.ChoiceField(required=False, choices=STATUSES)
    provider = forms.CharField(
        required=False, max_length=64, widget=forms.TextInput(attrs={**_TEXT, "list": "known-providers"})
    )
    model = forms.CharField(
        required=False, max_length=256, widget=forms.TextInput(attrs={**_TEXT, "list": "known-models"})
    )
    client = forms.CharField(
        required=False, max_length=255, widget=forms.TextInput(attrs={**_TEXT, "list": "known-clients"})
    )
    key = forms.ChoiceField(required=False, label="Provider key")
    session = forms.CharField(required=False, max_length=200, widget=forms.TextInput(attrs=_TEXT))
    user = forms.CharField(required=False, max_length=200, widget=forms.TextInput(attrs=_TEXT))

    def __init__(
        self,
        data: Any,
        *,
        zone: ZoneInfo,
        today: date,
        projects: dict[uuid.UUID, str],
        keys: list[tuple[str, list[tuple[str, str]]]],
        period: str = DEFAULT_PERIOD,
    ) -> None:
        given = {name: data.get(name, "") for name in (*self.base_fields, "from", "to")}
        given["period"] = given["period"] or ("custom" if given["from"] or given["to"] else period)
        super().__init__(given)
        self.zone, self.today, self.projects = zone, today, projects
        for name, label in (("from", "First day"), ("to", "Last day")):
            self.fields[name] = forms.DateField(
                required=False,
                label=label,
                widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
                validators=[MinValueValidator(FIRST_DAY), MaxValueValidator(LAST_DAY)],
            )
        choices = [("", "All projects"), *((str(project), name) for project, name in projects.items())]
        self.fields["project"].choices = choices  # type: ignore[attr-defined]  # a ChoiceField
        self.fields["key"].choices = [("", "Any"), *keys]  # type: ignore[attr-defined]  # a ChoiceField
        for field in self.fields.values():
            field.error_messages["invalid_choice"] = "This is none of the choices."

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for name, value in cleaned.items():
            if isinstance(value, str) and "\0" in value:
                self.add_error(name, "This can't be part of a name.")
        first, last = cleaned.get("from"), cleaned.get("to")
        if first and last and last < first:
            self.add_error("to", "The last day comes before the first.")
        return cleaned

    @property
    def days(self) -> tuple[date | None, date | None]:
        """The first and the last day; None without bound."""
        today = self.today
        first_of_month = today.replace(day=1)
        match self.cleaned_data["period"]:
            case "today":
                return today, today
            case "7" | "30" as number:
                return today - timedelta(days=int(number) - 1), today
            case "month":
                return first_of_month, today
            case "last-month":
                last = first_of_month - timedelta(days=1)
                return last.replace(day=1), last
            case "year":
                return today.replace(month=1, day=1), today
            case "custom":
                return self.cleaned_data.get("from"), self.cleaned_data.get("to")
            case _:
                return None, None

    @property
    def is_narrowed(self) -> bool:
        """Whether more than a period was chosen."""
        return any(self.cleaned_data.get(name) for name in ("project", "status", *MORE))

    @property
    def shows_more(self) -> bool:
        """Whether one of the filters behind "More filters" is in use, or wrong."""
        return any(self.data.get(name) for name in MORE)

    def wanted(self) -> EventFilter:
        """The ledger's filter. Of a valid form only."""
        chosen = self.cleaned_data
        first, last = self.days
        status = chosen["status"]
        return EventFilter(
            project_ids=(uuid.UUID(chosen["project"]),) if chosen["project"] else None,
            start=self._begin(first) if first else None,
            end=self._begin(last + timedelta(days=1)) if last else None,
            provider=chosen["provider"] or None,
            model=chosen["model"] or None,
            client_name=chosen["client"] or None,
            provider_key_id=uuid.UUID(chosen["key"]) if chosen["key"] else None,
            status=PriceStatus(status) if status in PriceStatus.values else None,
            ending=Ending.CANCELLED if status == Ending.CANCELLED.value else None,
            session=chosen["session"] or None,
            user_label=chosen["user"] or None,
        )

    def _begin(self, day: date) -> datetime:
        return datetime.combine(day, time(), self.zone)
