"""What things are called that calls name, and what there is to choose from. Callers are in the organization's scope."""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import connection

from apps.ledger.selectors.filters import projects_with_events
from apps.projects.models import Client, Project
from apps.projects.services import label
from apps.vault.models import ProviderKey
from apps.vault.providers import label_of

# Of each project, among how many of its latest calls names are looked for: a bound on the cost, not a promise.
RECENT = 1_000
MOST_SUGGESTIONS = 200


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What can be typed into a filter: names that recent calls have."""

    providers: list[str]
    models: list[str]
    clients: list[str]
    operations: list[str]


def suggestions() -> Suggestions:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT DISTINCT recent.provider, recent.model, recent.operation
              FROM unnest(%s::uuid[]) AS project (id)
             CROSS JOIN LATERAL (SELECT e.provider, e.model, e.operation FROM ledger_usageevent e
                                  WHERE e.project_id = project.id
                                  ORDER BY e.occurred_at DESC, e.id DESC LIMIT %s) AS recent
            """,
            [projects_with_events(), RECENT],
        )
        found = cursor.fetchall()
    clients = Client.objects.order_by("name").values_list("name", flat=True).distinct()
    providers, models, operations = (sorted({row[place] for row in found} - {""}) for place in range(3))
    return Suggestions(
        providers=providers[:MOST_SUGGESTIONS],
        models=models[:MOST_SUGGESTIONS],
        clients=list(clients[:MOST_SUGGESTIONS]),
        operations=operations[:MOST_SUGGESTIONS],
    )


def projects() -> list[Project]:
    """All there are or were, by name: usage of deleted ones stays."""
    return list(Project.objects.order_by("name", "environment", "created_at"))


def project_names(found: Iterable[Project]) -> dict[uuid.UUID, str]:
    """Each project as it is called: "Assistant (production)", and whether it is gone."""
    return {each.id: f"{label(each)}, deleted" if each.deleted_at else label(each) for each in found}


def everything() -> dict[uuid.UUID, str]:
    """What each project and each provider key is called."""
    keys = {each.id: provider_key_label(each) for each in ProviderKey.objects.all()}
    return project_names(projects()) | keys


def provider_keys(names: dict[uuid.UUID, str]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Provider keys, grouped by their project: (project, [(id, "OpenAI, archived")])."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for key in ProviderKey.objects.order_by("project__name", "project_id", "provider", "created_at"):
        groups.setdefault(names.get(key.project_id, "…"), []).append((str(key.id), provider_key_label(key)))
    return list(groups.items())


def provider_key_label(key: ProviderKey) -> str:
    state = "deleted" if key.deleted_at else "archived" if key.archived_at else ""
    name = label_of(key.provider)
    return f"{name}, {state}" if state else name
