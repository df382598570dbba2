"""The trail in words. Callers are in the organization's scope."""

import string
import uuid
from dataclasses import dataclass

from django.db.models import QuerySet

from apps.audit.actions import ACTIONS
from apps.audit.models import Entry

# What entries can be narrowed to: the beginning of an action, and its name.
KINDS = {
    "organization": "Organization",
    "member": "Members",
    "project": "Projects",
    "project_key": "ANY_LLM_KEYs",
    "grant": "Who holds keys",
    "provider_key": "Provider keys",
    "client": "Clients",
    "usage": "Usage",
    "view": "Shared views",
    "export": "Exports",
    "ingest_token": "Ingest tokens",
    "price": "Prices",
    "repricing": "Re-pricings",
}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a sentence; `is_value` for what names somebody or something."""

    text: str
    is_value: bool


@dataclass(frozen=True, slots=True)
class Line:
    """An entry to be read: who, and what they did."""

    entry: Entry
    actor: str
    parts: list[Part]


def entries(*, person: str = "", kind: str = "") -> QuerySet[Entry]:
    """Newest first, by a person (the id of an actor) and of a kind. Unknown ones find nothing."""
    found = Entry.objects.order_by("-created_at", "-id")
    if kind:
        found = found.filter(action__startswith=f"{kind}.") if kind in KINDS else found.none()
    if person:
        try:
            found = found.filter(actor_id=uuid.UUID(person))
        except ValueError:
            found = found.none()
    return found


def people() -> list[tuple[str, str]]:
    """Everybody who did something: id and the address they had last, by address."""
    found = (
        Entry.objects.exclude(actor_id=None)
        .order_by("actor_id", "-created_at")
        .distinct("actor_id")
        .values_list("actor_id", "actor")
    )
    return sorted(((str(actor_id), actor) for actor_id, actor in found), key=lambda pair: pair[1])


def line(entry: Entry) -> Line:
    return Line(entry, entry.actor or "any-llm platform", words(entry))


def words(entry: Entry) -> list[Part]:
    """The sentence of an entry without its subject; what the entry does not know is "…"."""
    sentence = ACTIONS.get(entry.action, entry.action)
    values = {**entry.detail, "subject": entry.subject}
    parts = []
    for text, name, _, _ in string.Formatter().parse(sentence):
        if text:
            parts.append(Part(text, is_value=False))
        if name:
            value = values.get(name)
            parts.append(Part("…" if value in (None, "") else str(value), is_value=True))
    return parts
