"""The ledger's filter as people choose it: what all pages of calls have, and what only its rows say."""

from datetime import datetime, timedelta
from typing import Any, ClassVar

import msgspec
from django import forms

from apps.analytics.filters import CallsForm, text_field
from apps.ledger.calls import Ending
from apps.ledger.models import PriceStatus
from apps.ledger.selectors import EventFilter

STATUSES = [
    ("", "Any status"),
    ("priced", "Priced"),
    ("unpriced", "Unpriced"),
    ("failed", "Failed"),
    ("duplicate", "Duplicates"),
    ("cancelled", "Cancelled"),
]
HOUR = timedelta(hours=1)


class FilterForm(CallsForm):
    """`hour`, where a chart's point leads here, counts instead of the period: when it begins (2026-05-01T10:00Z)."""

    FIRST: ClassVar[tuple[str, ...]] = ("project", "period", "status")
    MORE: ClassVar[tuple[str, ...]] = (*CallsForm.MORE, "session", "user")

    status = forms.ChoiceField(required=False, choices=STATUSES)
    session = text_field(200)
    user = text_field(200)
    hour = forms.CharField(required=False, widget=forms.HiddenInput)

    def clean_hour(self) -> datetime | None:
        given = self.cleaned_data["hour"]
        if not given:
            return None
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None or not 2000 <= moment.year < 2100:
            raise forms.ValidationError("An hour is written as 2026-05-01T10:00Z.")
        return moment.astimezone(self.zone)

    @property
    def chosen_hour(self) -> tuple[datetime, datetime] | None:
        """When the hour begins and ends that is asked for, if one is."""
        begin: datetime | None = self.cleaned_data.get("hour")
        return None if begin is None else (begin, begin + HOUR)

    @property
    def narrowing(self) -> tuple[str, ...]:
        return (*super().narrowing, "status")

    def wanted(self) -> EventFilter:
        chosen, found = self.cleaned_data, super().wanted()
        status = chosen["status"]
        changes: dict[str, Any] = {"session": chosen["session"] or None, "user_label": chosen["user"] or None}
        if status in PriceStatus.values:
            changes["status"] = PriceStatus(status)
        elif status:
            changes["ending"] = Ending(status)
        if self.chosen_hour is not None:
            changes["start"], changes["end"] = self.chosen_hour
        return msgspec.structs.replace(found, **changes)
