"""Reads of projects. Callers are in the organization's scope."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db.models import Count, Max, Q
from django.http import Http404

from apps.directory.models import ProjectKeyEntry
from apps.projects.models import Project

# The order of environments wherever they stand side by side.
ENVIRONMENTS = (Project.Environment.DEVELOPMENT, Project.Environment.STAGING, Project.Environment.PRODUCTION)


def access_project(project_id: uuid.UUID) -> Project:
    """A project of the organization, archived ones included; Http404 when there is none, or it was deleted for good."""
    project = Project.objects.filter(id=project_id, deleted_at=None).first()
    if project is None:
        raise Http404
    return project


def key_entries(project_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[ProjectKeyEntry]]:
    """The live generations of each project as the directory has them, newest first."""
    entries: dict[uuid.UUID, list[ProjectKeyEntry]] = {}
    found = ProjectKeyEntry.objects.filter(project_id__in=project_ids, status__in=ProjectKeyEntry.LIVE)
    for entry in found.order_by("-generation"):
        entries.setdefault(entry.project_id, []).append(entry)
    return entries


@dataclass(frozen=True, slots=True)
class Sibling:
    """A place in the row of environments: `project` is None where there is none yet."""

    environment: Project.Environment
    project: Project | None

    @property
    def label(self) -> str:
        return str(self.environment.label)


def siblings(project: Project) -> list[Sibling]:
    """The environments of a project's name in their order, without archived ones (but for the project itself)."""
    of_name = Project.objects.filter(Q(archived_at=None) | Q(id=project.id), name=project.name, deleted_at=None)
    # The project itself wins over a newer one in its place: it is the one that is looked at.
    by_environment = {other.environment: other for other in sorted(of_name, key=lambda other: other.id == project.id)}
    return [Sibling(environment, by_environment.get(environment)) for environment in ENVIRONMENTS]


@dataclass(slots=True)
class Environment:
    """A project as the overview shows it."""

    project: Project
    entries: list[ProjectKeyEntry]

    @property
    def head(self) -> ProjectKeyEntry | None:
        return next((entry for entry in self.entries if entry.status != ProjectKeyEntry.Status.RETIRING), None)

    @property
    def retiring(self) -> list[ProjectKeyEntry]:
        return [entry for entry in self.entries if entry.status == ProjectKeyEntry.Status.RETIRING]


@dataclass(slots=True)
class Group:
    """Projects of one name: its environments, those that exist, and those that could be added."""

    name: str
    environments: list[Environment] = field(default_factory=list)

    @property
    def places(self) -> list[tuple[Project.Environment, Environment | None]]:
        """Every environment in its order, with None where there is no project for it yet."""
        by_environment = {environment.project.environment: environment for environment in self.environments}
        return [(environment, by_environment.get(environment)) for environment in ENVIRONMENTS]


def overview(*, archived: bool = False) -> list[Group]:
    """Projects by name with their environments in order; each project has `provider_keys_count` and `last_used_at`."""
    projects = (
        Project.objects.filter(archived_at__isnull=not archived, deleted_at=None)
        .annotate(
            provider_keys_count=Count(
                "provider_keys",
                filter=Q(provider_keys__archived_at=None, provider_keys__deleted_at=None),
                distinct=True,
            ),
            last_used_at=Max("keys__last_used_at"),
        )
        .order_by("name")
    )
    entries = key_entries([project.id for project in projects])
    groups: dict[str, Group] = {}
    for project in sorted(projects, key=lambda project: ENVIRONMENTS.index(Project.Environment(project.environment))):
        group = groups.setdefault(project.name, Group(project.name))
        group.environments.append(Environment(project, entries.get(project.id, [])))
    return sorted(groups.values(), key=lambda group: group.name.casefold())


def names() -> list[str]:
    """Of the projects there are, for another environment of one of them."""
    return list(Project.objects.filter(archived_at=None).order_by("name").values_list("name", flat=True).distinct())


def archived_count() -> int:
    return Project.objects.filter(archived_at__isnull=False, deleted_at=None).count()


def head_generation(project: Project) -> int | None:
    """Of the key that new programs use; None without one."""
    head = ProjectKeyEntry.objects.filter(
        project_id=project.id, status__in=[ProjectKeyEntry.Status.ACTIVE, ProjectKeyEntry.Status.UNPROVEN]
    )
    return head.values_list("generation", flat=True).first()
