"""Sessions in the database, under the digest of their key: a copy of the table opens nobody's session."""

import hashlib
from datetime import datetime
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from apps.accounts.models import Session

# In the session's data: where and when somebody signed in, as strings.
DEVICE = "device"


def digest(session_key: str) -> str:
    """What stands in the table for a cookie's value."""
    return hashlib.sha256(session_key.encode()).hexdigest()


class SessionStore(DatabaseSessionStore):
    """Django's database sessions, with `digest(session_key)` where Django has the key itself."""

    # Of the row that was read; None before that.
    last_seen_at: datetime | None = None

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def _get_session_from_db(self) -> Session | None:
        session = None
        if self.session_key:
            session = Session.objects.filter(
                session_key=digest(self.session_key), expire_date__gt=timezone.now()
            ).first()
        if session is None:
            self._session_key = None
        else:
            self.last_seen_at = session.last_seen_at
        return session

    def exists(self, session_key: str) -> bool:
        return super().exists(digest(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        device = data.get(DEVICE, {})
        return Session(
            session_key=digest(self._get_or_create_session_key()),  # type: ignore[attr-defined]  # the stubs lack it
            session_data=self.encode(data),
            expire_date=self.get_expiry_date(),
            user_id=data.get(SESSION_KEY),
            signed_in_at=parse_datetime(device["signed_in_at"]) if device else None,
            last_seen_at=timezone.now(),
            ip_address=device.get("ip_address"),
            user_agent=device.get("user_agent", ""),
        )

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            Session.objects.filter(session_key=digest(key)).delete()
