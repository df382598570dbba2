"""The ledger's filter as people choose it: what all pages of calls have, and what only its rows say."""

import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec
from django import forms

from apps.analytics.filters import NO_KEY_CHOICE, NOTHING, PERIODS, CallsForm, DashboardForm, text_field
from apps.analytics.periods import following
from apps.analytics.selectors import Granularity
from apps.ledger.calls import Ending
from apps.ledger.models import PriceStatus
from apps.ledger.selectors import NO_KEY, EventFilter
from apps.usage.words import ENDINGS
from apps.vault.providers import label_of

STATUSES = [
    ("", "Any status"),
    ("priced", "Priced"),
    ("unpriced", "Unpriced"),
    ("failed", "Failed"),
    ("duplicate", "Duplicates"),
    ("cancelled", "Cancelled"),
]


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
        return None if begin is None else (begin, following(begin, Granularity.HOUR))

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


def in_words(
    wanted: EventFilter, names: Mapping[uuid.UUID, str], zone: ZoneInfo, *, period: str = ""
) -> list[tuple[str, str]]:
    """What a filter asks for: (name, value). `names` are those of projects and provider keys; `period` is what its days
    are called where they go along with time."""
    of_projects = ", ".join(names.get(each, "a project that is gone") for each in wanted.project_ids or ())
    key = wanted.provider_key_id
    of_key = names.get(key, "a key that is gone") if key and key != NO_KEY else _said("" if key else None)
    chosen = [
        ("Projects", of_projects or "all"),
        *([("Period", period)] if period else _period(wanted, zone)),
        ("Provider", label_of(wanted.provider) if wanted.provider else _said(wanted.provider)),
        ("Model", _said(wanted.model)),
        ("Client", _said(wanted.client_name)),
        ("Provider key", of_key),
        ("Operation", _said(wanted.operation)),
        ("Status", str(wanted.status.label) if wanted.status else ""),
        ("Ended", ENDINGS[wanted.ending] if wanted.ending else ""),
        ("Error", _said(wanted.error_type)),
        ("Session", wanted.session or ""),
        ("User", wanted.user_label or ""),
    ]
    return [(name, value) for name, value in chosen if value]


def chosen_in_words(form: CallsForm, names: Mapping[uuid.UUID, str]) -> list[tuple[str, str]]:
    """All that a valid form asks for, its filter as `in_words` has it."""
    chosen = form.cleaned_data
    has_days = chosen["period"] == "custom" or chosen.get("hour")
    period = "" if has_days else dict(PERIODS)[chosen["period"]]
    said = in_words(form.wanted(), names, form.zone, period=period)
    for name, value in (form.asked_view if isinstance(form, DashboardForm) else {}).items():
        choices = dict(form.fields[name].choices)  # type: ignore[attr-defined]  # a ChoiceField
        said.append((str(form[name].label), str(choices[value])))
    return said


def _period(wanted: EventFilter, zone: ZoneInfo) -> list[tuple[str, str]]:
    if hour := _hour(wanted):
        return [("Hour", f"{hour.astimezone(zone):%-d %B %Y, %H:%M}")]
    return [
        ("From", f"{wanted.start.astimezone(zone):%-d %B %Y}" if wanted.start else ""),
        ("To", f"{_last_day(wanted, zone):%-d %B %Y}" if wanted.end else ""),
    ]


def _hour(wanted: EventFilter) -> datetime | None:
    """When the hour begins, where the period is one."""
    if wanted.start is None or wanted.end is None:
        return None
    # In UTC: times of one zone are compared by their clock, which shows an hour twice when it is set back.
    start, end = wanted.start.astimezone(UTC), wanted.end.astimezone(UTC)
    return wanted.start if end == following(start, Granularity.HOUR) else None


def _said(name: str | None) -> str:
    return "none was named" if name == "" else name or ""


def _last_day(wanted: EventFilter, zone: ZoneInfo) -> date:
    assert wanted.end is not None
    return (wanted.end.astimezone(zone) - timedelta(seconds=1)).date()


def fields_of(wanted: EventFilter, zone: ZoneInfo) -> dict[str, str]:
    """The form's fields for the same calls, as they stand in an address."""
    hour, has_days = _hour(wanted), wanted.start or wanted.end
    fields = {
        "hour": hour.isoformat() if hour else "",
        "project": str(wanted.project_ids[0]) if wanted.project_ids else "",
        "period": "custom" if has_days else "all",
        "from": f"{wanted.start.astimezone(zone):%Y-%m-%d}" if wanted.start else "",
        "to": f"{_last_day(wanted, zone)}" if wanted.end else "",
        "status": wanted.status.value if wanted.status else "",
        "provider": _field(wanted.provider),
        "model": _field(wanted.model),
        "client": _field(wanted.client_name),
        "key": NO_KEY_CHOICE if wanted.provider_key_id == NO_KEY else str(wanted.provider_key_id or ""),
        "operation": _field(wanted.operation),
        "ending": wanted.ending.value if wanted.ending else "",
        "error": _field(wanted.error_type),
        "session": wanted.session or "",
        "user": wanted.user_label or "",
    }
    return {name: value for name, value in fields.items() if value}


def _field(name: str | None) -> str:
    """As the form has it."""
    return NOTHING if name == "" else name or ""
