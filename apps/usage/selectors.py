"""What the usage pages show beside the ledger's own rows. Callers are in the organization's scope."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from apps.analytics.names import provider_key_label
from apps.directory.models import IngestToken
from apps.ledger.completeness import Completeness, Fetch, completeness, missing_reports, silent
from apps.ledger.models import UsageEvent
from apps.ledger.selectors import EventFilter
from apps.projects.models import Client
from apps.vault.models import ProviderKey
from apps.vault.providers import label_of


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


@dataclass(frozen=True, slots=True)
class Missing:
    """How many reports never came, as far as their numbers tell, and how many keys and clients were fetched and then
    silent."""

    reports: int
    silent: int


def doubts(wanted: EventFilter) -> Doubts:
    """Of the projects and the period of a filter, whatever else it asks for. It reads every event of these."""
    period = _period(wanted)
    return Doubts(completeness(period), _silent(period)[:MOST_SILENT])


def missing(wanted: EventFilter) -> Missing:
    """As `doubts`, of what is missing only: it reads events with a number, and those since a fetch."""
    period = _period(wanted)
    return Missing(missing_reports(period), len(_silent(period)))


def _period(wanted: EventFilter) -> EventFilter:
    return EventFilter(project_ids=wanted.project_ids, start=wanted.start, end=wanted.end)


def _silent(period: EventFilter) -> list[tuple[str, uuid.UUID, datetime]]:
    fetches = _fetches(period)
    return [(fetches[each], each.project_id, each.at) for each in silent(list(fetches))]


def _fetches(period: EventFilter) -> dict[Fetch, str]:
    """The last fetch of each provider key, and of each client, within the period; and what to call it."""
    keys = ProviderKey.objects.filter(archived_at=None, deleted_at=None, project__archived_at=None)
    clients = Client.objects.filter(project__archived_at=None)
    if period.project_ids is not None:
        keys = keys.filter(project_id__in=period.project_ids)
        clients = clients.filter(project_id__in=period.project_ids)
    fetches = {
        Fetch(key.project_id, key.last_used_at, provider_key_id=key.id, provider=key.provider): (
            f"The key for {label_of(key.provider)}"
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
