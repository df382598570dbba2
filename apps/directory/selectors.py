"""Reads of the key directory."""

import uuid

from apps.directory.models import ProjectKeyEntry
from apps.organizations.models import Organization


def organization_of(project_id: uuid.UUID) -> Organization | None:
    """The organization that a project belongs to; None for a project that never had a key."""
    entry = ProjectKeyEntry.objects.select_related("organization").filter(project_id=project_id).first()
    return entry.organization if entry else None
