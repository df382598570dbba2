"""Forms of organizations. What they let through is checked again by services."""

from typing import Any

from django import forms

from apps.organizations.currencies import CURRENCIES
from apps.organizations.models import Organization
from apps.organizations.zones import ZONES


class NameForm(forms.Form):
    name = forms.CharField(
        max_length=255,
        label="Name",
        help_text="Your company or team. You can change it later.",
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )


class SettingsForm(forms.Form):
    name = forms.CharField(max_length=255, label="Name")
    time_zone = forms.CharField(
        max_length=64,
        label="Time zone",
        help_text="When days and months begin in usage, budgets and reports. Type a city to find yours.",
        widget=forms.TextInput(attrs={"list": "time-zones", "autocomplete": "off", "spellcheck": "false"}),
    )
    currency = forms.ChoiceField(
        choices=[(code, f"{code}, {name}") for code, name in CURRENCIES.items()],
        label="Display currency",
        help_text="What amounts are shown in. Costs are kept in US dollars, as providers charge them.",
    )
    requires_second_factor = forms.BooleanField(
        required=False,
        label="Ask every member for a second factor",
        help_text="Members without one see nothing here until they set one up.",
    )

    @classmethod
    def of(cls, organization: Organization) -> "SettingsForm":
        """The form with what is stored."""
        return cls(initial={name: getattr(organization, name) for name in cls.base_fields})

    def clean_time_zone(self) -> Any:
        wanted = str(self.cleaned_data["time_zone"]).strip().replace(" ", "_").lower()
        for zone in ZONES:
            # "berlin" is what people type.
            if wanted in (zone.lower(), zone.rpartition("/")[2].lower()):
                return zone
        raise forms.ValidationError("Choose a time zone from the list, such as Europe/Berlin.")
