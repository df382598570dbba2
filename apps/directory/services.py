"""What changes the key directory."""

import uuid

from django.db import IntegrityError, transaction

from apps.directory.models import IngestToken, ProjectKeyEntry
from web.errors import DomainError


class KeyInUseError(DomainError):
    status = 409
    code = "key_in_use"


def register_key(
    *,
    public_key: bytes,
    organization_id: uuid.UUID,
    project_id: uuid.UUID,
    generation: int,
    status: ProjectKeyEntry.Status,
) -> ProjectKeyEntry:
    """Enters a new generation; KeyInUseError when any project has or had this key, or has this generation."""
    try:
        with transaction.atomic():
            return ProjectKeyEntry.objects.create(
                public_key=public_key,
                organization_id=organization_id,
                project_id=project_id,
                generation=generation,
                status=status,
            )
    except IntegrityError as error:
        raise KeyInUseError("This key is in use, or the project has a newer one. Make a new key.") from error


def lock_entries(project_id: uuid.UUID) -> list[ProjectKeyEntry]:
    """All generations of a project's key, retired ones too, newest first, as they are until the transaction ends.

    Newest first is also how proving a key locks them (challenges.py).
    """
    return list(ProjectKeyEntry.objects.select_for_update().filter(project_id=project_id).order_by("-generation"))


def set_suspended(project_id: uuid.UUID, suspended: bool) -> None:
    """Whether an archived project's keys and ingest tokens are passed over. Their status and timers stay and run as
    they are."""
    for model in (ProjectKeyEntry, IngestToken):
        model._default_manager.filter(project_id=project_id).update(is_suspended=suspended)


def retire_key(*, project_id: uuid.UUID, generation: int) -> bool:
    """Ends a generation for good; whether it was live. The next request with it is refused."""
    return bool(
        ProjectKeyEntry.objects.filter(
            project_id=project_id, generation=generation, status__in=ProjectKeyEntry.LIVE
        ).update(status=ProjectKeyEntry.Status.RETIRED)
    )
