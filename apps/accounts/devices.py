"""Signed-in browsers: what is kept of them, listing and ending them."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import ValidationError
from django.core.validators import validate_ipv46_address
from django.http import HttpRequest
from django.utils import timezone

from apps.accounts.models import Session, User
from apps.accounts.sessions import DEVICE, digest
from web.callers import address

# How often it is written down that a session is in use.
SEEN_EVERY = timedelta(minutes=1)
DELETED_AT_ONCE = 1000

# The first that matches: browsers name those that they are made of, or want to be taken for, behind their own.
BROWSERS = (
    ("Edge", r"\bEdg(?:e|A|iOS)?/"),
    ("Opera", r"\bOPR/"),
    ("Samsung Internet", r"\bSamsungBrowser/"),
    ("Firefox", r"\b(?:Firefox|FxiOS)/"),
    ("Chrome", r"\b(?:Chrome|CriOS|HeadlessChrome)/"),
    ("Safari", r"\bSafari/"),
)
SYSTEMS = (
    ("iPhone", r"\biPhone\b"),
    ("iPad", r"\biPad\b"),
    ("Android", r"\bAndroid\b"),
    ("Windows", r"\bWindows\b"),
    ("ChromeOS", r"\bCrOS\b"),
    ("Mac", r"\bMacintosh\b"),
    ("Linux", r"\bLinux\b"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A signed-in browser. `id` is the digest of its session's key, which opens nothing."""

    id: str
    name: str
    ip_address: str | None
    signed_in_at: datetime | None
    last_seen_at: datetime
    is_current: bool


def device_name(user_agent: str) -> str:
    """A browser and a system in words, such as `Firefox on Linux`. Browsers say what they like: it is a hint."""
    browser = next((name for name, pattern in BROWSERS if re.search(pattern, user_agent)), "")
    system = next((name for name, pattern in SYSTEMS if re.search(pattern, user_agent)), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or "Unknown browser"


def remember_device(sender: object, request: HttpRequest, user: User, **_: Any) -> None:
    """Receiver of `user_logged_in`: where and when, into the session that just began."""
    request.session[DEVICE] = {
        "signed_in_at": timezone.now().isoformat(),
        "ip_address": _ip_address(request),
        "user_agent": request.META.get("HTTP_USER_AGENT", "")[:256].replace("\0", ""),
    }


def forget_other_devices(sender: object, request: HttpRequest, user: User, **_: Any) -> None:
    """Receiver of what changes a password: Django refuses the other sessions, and here they go from the list."""
    end_other_sessions(user=user, current=request.session)


def devices(*, user: User, current: SessionBase) -> list[Device]:
    """The one that asks first, then those seen last."""
    here = digest(current.session_key or "")
    rows = Session.objects.filter(user=user, expire_date__gt=timezone.now()).order_by("-last_seen_at")
    found = [
        Device(
            id=row.session_key,
            name=device_name(row.user_agent),
            ip_address=row.ip_address,
            signed_in_at=row.signed_in_at,
            last_seen_at=row.last_seen_at,
            is_current=row.session_key == here,
        )
        for row in rows
    ]
    return sorted(found, key=lambda device: not device.is_current)


def end_session(*, user: User, device_id: str, current: SessionBase) -> bool:
    """Signs out another browser of this person; False when they have no such one."""
    others = Session.objects.filter(user=user).exclude(session_key=digest(current.session_key or ""))
    return bool(others.filter(session_key=device_id).delete()[0])


def end_other_sessions(*, user: User, current: SessionBase) -> int:
    """Signs out every browser but this one; how many."""
    others = Session.objects.filter(user=user).exclude(session_key=digest(current.session_key or ""))
    return others.delete()[0]


def mark_seen(session: SessionBase) -> None:
    """Writes down that a session is in use, without touching its data. Once a minute: the row was read anyway."""
    now = timezone.now()
    last_seen_at: datetime | None = getattr(session, "last_seen_at", None)
    if session.session_key and last_seen_at and now - last_seen_at >= SEEN_EVERY:
        Session.objects.filter(session_key=digest(session.session_key)).update(last_seen_at=now)


def delete_expired_sessions() -> int:
    """All that have ended by themselves, a batch at a time so that no lock is held for long; how many."""
    deleted = 0
    while True:
        expired = Session.objects.filter(expire_date__lt=timezone.now()).values("session_key")[:DELETED_AT_ONCE]
        count = Session.objects.filter(session_key__in=expired).delete()[0]
        deleted += count
        if count < DELETED_AT_ONCE:
            return deleted


def _ip_address(request: HttpRequest) -> str | None:
    """None for what a proxy, or somebody in its place, made up."""
    try:
        validate_ipv46_address(address(request))
    except ValidationError:
        return None
    return address(request)
