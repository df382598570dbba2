"""Forms of the account pages."""

import zoneinfo
from functools import cache
from typing import Any

from django import forms

from apps.accounts.models import User, canonical_email


@cache
def time_zones() -> list[tuple[str, str]]:
    """Zones that are named after a place, and UTC; as choices."""
    places = sorted(
        name
        for name in zoneinfo.available_timezones()
        if "/" in name and not name.startswith(("Etc/", "SystemV/", "US/", "posix/", "right/"))
    )
    return [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in places)]


class ProfileForm(forms.ModelForm):  # type: ignore[type-arg]  # at run time it takes none
    time_zone = forms.ChoiceField(
        label="Time zone", help_text="Times on pages are shown in it. Reports use their organization's own."
    )

    class Meta:
        model = User
        fields = ("name", "time_zone")
        labels = {"name": "Name"}
        help_texts = {"name": "Members of your organizations see it."}
        widgets = {"name": forms.TextInput(attrs={"autocomplete": "name"})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["time_zone"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = time_zones()


class DeleteAccountForm(forms.Form):
    """The address, typed once more: a click alone deletes nothing."""

    confirmation = forms.CharField(
        label="Your e-mail address",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false", "inputmode": "email"}
        ),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.fields["confirmation"].help_text = f"Type {user.email} to confirm."

    def clean_confirmation(self) -> str:
        typed = canonical_email(self.cleaned_data["confirmation"])
        if typed != self.user.email:
            raise forms.ValidationError("That isn't the address of this account.")
        return typed
