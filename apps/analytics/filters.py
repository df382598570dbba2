"""Which calls a page is about: what stands in its address, and the ledger's filter that it means."""

import uuid
from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone

from apps.analytics import names
from apps.analytics.selectors import Dimension
from apps.ledger.calls import Ending
from apps.ledger.selectors import NO_KEY, EventFilter
from apps.organizations.access import MemberRequest

DEFAULT_PERIOD = "30"
PERIODS = [
    ("today", "Today"),
    ("yesterday", "Yesterday"),
    ("7", "Last 7 days"),
    ("30", "Last 30 days"),
    ("90", "Last 90 days"),
    ("month", "This month"),
    ("last-month", "Last month"),
    ("year", "This year"),
    ("all", "All time"),
    ("custom", "From … to …"),
]
ENDINGS = [
    ("", "In any way"),
    (Ending.OK.value, "As it should"),
    (Ending.ERROR.value, "With an error"),
    (Ending.CANCELLED.value, "Cancelled by the program"),
]
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2100, 1, 1)
# In an address, for calls that say nothing: of a text, and of a provider key.
NOTHING, NO_KEY_CHOICE = '""', "none"

TEXT = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}


def text_field(length: int, *, suggested: str = "", **options: Any) -> forms.CharField:
    """For a name that calls have; `suggested` is the id of a list of such."""
    attributes = {**TEXT, "list": suggested} if suggested else TEXT
    return forms.CharField(required=False, max_length=length, widget=forms.TextInput(attrs=attributes), **options)


class CallsForm(forms.Form):
    """A filter as people choose it. Days are the organization's; the last day of a period is part of it.

    `from` and `to` count only where the period is "custom", as it is where they are given without one. Names are taken
    as they stand; NOTHING stands for calls that name none.
    """

    # Which fields stand in the first row beside the days, and which behind "More filters".
    FIRST: ClassVar[tuple[str, ...]] = ("project", "period")
    MORE: ClassVar[tuple[str, ...]] = ("provider", "model", "client", "key", "operation", "ending", "error")

    project = forms.ChoiceField(required=False)
    period = forms.ChoiceField(required=False, choices=PERIODS)
    provider = text_field(64, suggested="known-providers")
    model = text_field(256, suggested="known-models")
    client = text_field(255, suggested="known-clients")
    key = forms.ChoiceField(required=False, label="Provider key")
    operation = text_field(32, suggested="known-operations")
    ending = forms.ChoiceField(required=False, label="Ended", choices=ENDINGS)
    error = text_field(128)

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
        self.fields["key"].choices = [("", "Any"), (NO_KEY_CHOICE, "None was named"), *keys]  # type: ignore[attr-defined]  # a ChoiceField
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
            case "yesterday":
                return today - timedelta(days=1), today - timedelta(days=1)
            case "7" | "30" | "90" as number:
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

    def first_row(self) -> list[forms.BoundField]:
        return [self[name] for name in self.FIRST]

    def day_fields(self) -> list[forms.BoundField]:
        return [self["from"], self["to"]]

    def more(self) -> list[forms.BoundField]:
        return [self[name] for name in self.MORE]

    @property
    def narrowing(self) -> tuple[str, ...]:
        """The fields that leave calls out, but for the period."""
        return ("project", *self.MORE)

    @property
    def is_narrowed(self) -> bool:
        """Whether more than a period was chosen."""
        return any(self.cleaned_data.get(name) for name in self.narrowing)

    @property
    def shows_more(self) -> bool:
        """Whether one of the filters behind "More filters" is in use, or wrong."""
        return any(self.data.get(name) for name in self.MORE)

    @property
    def asked(self) -> dict[str, str]:
        """The fields that leave calls out, as they stand in an address."""
        return self._given(self.narrowing)

    @property
    def asked_period(self) -> dict[str, str]:
        return self._given(("period", "from", "to"))

    @property
    def address(self) -> dict[str, str]:
        """All that was chosen, and nothing else, as it stands in an address. Days only where they count."""
        days = ("from", "to") if self.data["period"] == "custom" else ()
        return self._given((*self.base_fields, *days))

    def _given(self, names: tuple[str, ...]) -> dict[str, str]:
        return {name: str(self.data[name]) for name in names if self.data.get(name)}

    def wanted(self) -> EventFilter:
        """The ledger's filter. Of a valid form only."""
        chosen = self.cleaned_data
        first, last = self.days
        return EventFilter(
            project_ids=(uuid.UUID(chosen["project"]),) if chosen["project"] else None,
            start=self.midnight(first) if first else None,
            end=self.midnight(last + timedelta(days=1)) if last else None,
            provider=_named(chosen["provider"]),
            model=_named(chosen["model"]),
            client_name=_named(chosen["client"]),
            provider_key_id=_key(chosen["key"]),
            operation=_named(chosen["operation"]),
            ending=Ending(chosen["ending"]) if chosen["ending"] else None,
            error_type=_named(chosen["error"]),
        )

    def midnight(self, day: date) -> datetime:
        """When the day begins."""
        return datetime.combine(day, time(), self.zone)


class DashboardForm(CallsForm):
    """What a page of sums is about, and how it shows it: by which dimension, of which measure, against what."""

    FIRST: ClassVar[tuple[str, ...]] = ("project", "period", "compare")

    compare = forms.ChoiceField(
        required=False, label="Compare with", choices=[("", "The period before"), ("no", "Nothing")]
    )
    by = forms.ChoiceField(
        required=False,
        choices=[("project", "Project"), ("provider", "Provider"), ("model", "Model"), ("client", "Client")],
    )
    of = forms.ChoiceField(required=False, choices=[("cost", "Cost"), ("tokens", "Tokens"), ("calls", "Calls")])

    @property
    def compares(self) -> bool:
        return bool(self.cleaned_data["compare"] != "no")

    @property
    def dimension(self) -> Dimension:
        """By project, and by model where there is only one project."""
        chosen = self.cleaned_data["by"]
        return Dimension(chosen or ("model" if self.cleaned_data["project"] or len(self.projects) < 2 else "project"))

    @property
    def measure(self) -> str:
        return self.cleaned_data["of"] or "cost"

    @property
    def asked_view(self) -> dict[str, str]:
        return self._given(("compare", "by", "of"))


def _named(value: str) -> str | None:
    return "" if value == NOTHING else value or None


def _key(value: str) -> uuid.UUID | None:
    return NO_KEY if value == NO_KEY_CHOICE else uuid.UUID(value) if value else None


def zone_of(request: MemberRequest) -> ZoneInfo:
    """What days and months mean here."""
    return ZoneInfo(request.organization.time_zone)


def choices(request: MemberRequest) -> dict[str, Any]:
    """What a CallsForm of this organization needs beside the request's data."""
    projects = names.project_names(names.projects())
    zone = zone_of(request)
    return {
        "zone": zone,
        "today": timezone.now().astimezone(zone).date(),
        "projects": projects,
        "keys": names.provider_keys(projects),
    }
