"""What is left to do for a project after somebody lost access to its keys. In the organization's scope.

Taking a grant away doesn't take back what was copied. Only a new ANY_LLM_KEY does, and new keys at the providers.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.audit.services import record
from apps.projects.models import Client, Project
from apps.projects.selectors import key_entries
from apps.projects.services import label
from apps.vault.models import Box, ProviderKey


@dataclass(frozen=True, slots=True)
class Exposed:
    """A provider key that was readable for them, and whether it was replaced since."""

    provider_key: ProviderKey
    is_replaced: bool


@dataclass(frozen=True, slots=True)
class Checklist:
    """The state of a project since `since`. `old_key_until` is when the last ANY_LLM_KEY from before stops opening
    anything; None for "until somebody says so" while `old_keys` are live."""

    project: Project
    since: datetime
    reason: str
    is_rotated: bool
    old_keys: int
    old_key_until: datetime | None
    provider_keys: list[Exposed]
    clients: list[Client]

    @property
    def is_key_done(self) -> bool:
        return self.is_rotated and not self.old_keys

    @property
    def are_providers_done(self) -> bool:
        return all(exposed.is_replaced for exposed in self.provider_keys)

    @property
    def is_done(self) -> bool:
        return self.is_key_done and self.are_providers_done


def checklist(project: Project) -> Checklist | None:
    """What is left to do; None for a project with nothing to do. Clears the mark once everything is done."""
    since = project.rotation_required_since
    if since is None:
        return None
    now = timezone.now()
    entries = key_entries([project.id]).get(project.id, [])
    live = [entry for entry in entries if entry.retire_at is None or entry.retire_at > now]
    # A key the command line set and nobody used yet is no replacement.
    heads = [entry for entry in live if entry.status == entry.Status.ACTIVE]
    old = [entry for entry in live if entry.created_at <= since]
    ends = [entry.retire_at for entry in old]
    # A local provider's box is empty: there is nothing to replace.
    sealed = Box.objects.exclude(sealed="").values("provider_key_id")
    exposed = ProviderKey.objects.filter(project=project, archived_at=None, deleted_at=None, pk__in=sealed).order_by(
        "provider"
    )
    found = Checklist(
        project=project,
        since=since,
        reason=project.rotation_required_reason,
        is_rotated=not live or any(entry.created_at > since for entry in heads),
        old_keys=len(old),
        old_key_until=max(end for end in ends if end) if ends and all(ends) else None,
        provider_keys=[Exposed(key, (key.updated_at or key.created_at) > since) for key in exposed],
        clients=list(Client.objects.filter(project=project).order_by("name")),
    )
    if found.is_done:
        _clear(project)
        return None
    return found


@transaction.atomic
def mark_done(*, project: Project, actor: User) -> bool:
    """Somebody says that enough was done; whether there was something. What was left is recorded."""
    current = Project.objects.select_for_update().get(pk=project.pk)
    left = checklist(current)
    if left is None:
        return False
    record(
        "project.rotation_dismissed",
        actor=actor,
        subject=label(current),
        project_id=current.id,
        rotated=left.is_key_done,
        providers=[exposed.provider_key.provider for exposed in left.provider_keys if not exposed.is_replaced],
    )
    _clear(current)
    return True


def _clear(project: Project) -> None:
    # Somebody else may have lost access since: that mark stays.
    Project.objects.filter(pk=project.pk, rotation_required_since=project.rotation_required_since).update(
        rotation_required_since=None, rotation_required_reason=""
    )
    project.rotation_required_since, project.rotation_required_reason = None, ""
