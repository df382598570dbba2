"""What the usage pages show beside the ledger's own rows: names, and what there is to choose from. Callers are in the
organization's scope."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from apps.directory.models import IngestToken
from apps.ledger.completeness import Completeness, Fetch, completeness, silent
from apps.ledger.models import UsageEvent
from apps.ledger.selectors import EventFilter
from apps.ledger.selectors.filters import projects_with_events
from apps.projects.models import Client, Project
from apps.projects.services import label
from apps.vault.models import ProviderKey
from apps.vault.providers import BY_NAME

# Of each project, among how many of its latest calls names are looked for: a bound on the cost, not a promise.
RECENT = 1_000
MOST_SUGGESTIONS = 200


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What can be typed into a filter: names that recent calls have."""

    providers: list[str]
    models: list[str]
    clients: list[str]


def suggestions() -> Suggestions:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT recent.provider, recent.model
              FROM unnest(%s::uuid[]) AS project (id)
             CROSS JOIN LATERAL (SELECT e.provider, e.model FROM ledger_usageevent e
                                  WHERE e.project_id = project.id
                                  ORDER BY e.occurred_at DESC, e.id DESC LIMIT %s) AS recent
            """,
            [projects_with_events(), RECENT],
        )
        found = cursor.fetchall()
    clients = Client.objects.order_by("name").values_list("name", flat=True).distinct()
    return Suggestions(
        providers=sorted({provider for provider, _ in found if provider})[:MOST_SUGGESTIONS],
        models=sorted({model for _, model in found if model})[:MOST_SUGGESTIONS],
        clients=list(clients[:MOST_SUGGESTIONS]),
    )


def projects() -> list[Project]:
    """All there are or were, by name: usage of deleted ones stays."""
    return list(Project.objects.order_by("name", "environment", "created_at"))


def project_names(found: Iterable[Project]) -> dict[uuid.UUID, str]:
    """Each project as it is called: "Assistant (production)", and whether it is gone."""
    return {each.id: f"{label(each)}, deleted" if each.deleted_at else label(each) for each in found}


def provider_keys(names: dict[uuid.UUID, str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Provider keys, grouped by their project: (project, [(id, "OpenAI, added 3 May 2026")])."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for key in ProviderKey.objects.order_by("project__name", "project_id", "provider", "created_at"):
        groups.setdefault(names.get(key.project_id, "…"), []).append((str(key.id), provider_key_label(key)))
    return list(groups.items())


def provider_key_label(key: ProviderKey) -> str:
    state = "deleted" if key.deleted_at else "archived" if key.archived_at else ""
    name = provider_label(key.provider)
    return f"{name}, {state}" if state else name


def provider_label(name: str) -> str:
    """As people write it: OpenAI for openai; the name itself where we know no other."""
    known = BY_NAME.get(name)
    return known.label if known else name


def provider_key_of(event: UsageEvent) -> str:
    """The provider key that a call used, "" where its report says none."""
    if event.provider_key_id is None:
        return ""
    key = ProviderKey.objects.filter(id=event.provider_key_id).first()
    return f"{provider_key_label(key)} ({key.id})" if key else str(event.provider_key_id)


def reporter(event: UsageEvent) -> str:
    """What a call was reported with: a generation of the project's ANY_LLM_KEY, or an ingest token by its name."""
    if event.ingest_token_id is not None:
        token = IngestToken.objects.filter(id=event.ingest_token_id, project_id=event.project_id).first()
        return f"the ingest token {token}" if token else "an ingest token that is gone"
    return f"the ANY_LLM_KEY, generation {event.key_generation}" if event.key_generation else ""


# Silent keys and clients that are named.
MOST_SILENT = 20


@dataclass(frozen=True, slots=True)
class Doubts:
    """What may be missing from the calls of a period, or wrong about them."""

    known: Completeness
    # What was fetched, and nothing was reported since: what it is, of which project, when.
    silent: list[tuple[str, uuid.UUID, datetime]]

    @property
    def number(self) -> int:
        """Kinds of doubts that there are."""
        known = self.known
        return sum(map(bool, (known.gaps, known.skewed, known.late, known.possible_duplicates, self.silent)))


def doubts(wanted: EventFilter) -> Doubts:
    """Of the projects and the period of a filter, whatever else it asks for."""
    period = EventFilter(project_ids=wanted.project_ids, start=wanted.start, end=wanted.end)
    fetches = _fetches(period)
    found = silent(list(fetches))
    return Doubts(completeness(period), [(fetches[each], each.project_id, each.at) for each in found[:MOST_SILENT]])


def _fetches(period: EventFilter) -> dict[Fetch, str]:
    """The last fetch of each provider key, and of each client, within the period; and what to call it."""
    keys = ProviderKey.objects.filter(archived_at=None, deleted_at=None, project__archived_at=None)
    clients = Client.objects.filter(project__archived_at=None)
    if period.project_ids is not None:
        keys = keys.filter(project_id__in=period.project_ids)
        clients = clients.filter(project_id__in=period.project_ids)
    fetches = {
        Fetch(key.project_id, key.last_used_at, provider_key_id=key.id, provider=key.provider): (
            f"The key for {provider_label(key.provider)}"
        )
        for key in keys
        if key.last_used_at is not None and _is_within(period, key.last_used_at)
    }
    fetches |= {
        Fetch(each.project_id, each.last_seen_at, client_name=each.name): f"The client {each.name}"
        for each in clients
        if each.last_seen_at is not None and _is_within(period, each.last_seen_at)
    }
    return dict(sorted(fetches.items(), key=lambda pair: pair[0].at, reverse=True))


def _is_within(period: EventFilter, at: datetime) -> bool:
    return (period.start is None or period.start <= at) and (period.end is None or at < period.end)
