"""Session and user labels of calls, of projects that keep only enough of them to tell one from another."""

import re
import uuid
from collections.abc import Iterable

from django.utils.crypto import salted_hmac

from apps.ledger.calls import Call
from tenancy.sql import Statement

_HIDDEN = re.compile(r"[0-9a-f]{16}")
_HIDES = Statement("SELECT hides_labels FROM {tenant}.projects_project WHERE id = $1")


def hide_labels(project_id: uuid.UUID, calls: Iterable[Call]) -> None:
    """Hides the calls' labels if their project says so. One statement, and none where no call has a label."""
    labelled = [call for call in calls if call.session or call.user]
    if labelled and _HIDES.fetch_one(project_id) != ("f",):
        for call in labelled:
            call.session, call.user = hidden(project_id, call.session), hidden(project_id, call.user)


def hidden(project_id: uuid.UUID, label: str) -> str:
    """A label that tells one user or session from another and nobody's name."""
    return salted_hmac("ledger.labels", f"{project_id}:{label}", algorithm="sha256").hexdigest()[:16] if label else ""


def is_hidden(label: str) -> bool:
    """Whether it looks as if it had been: a label that was sent may look so, too."""
    return _HIDDEN.fullmatch(label) is not None
