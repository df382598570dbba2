"""What these pages change that no other app does. Callers are in the organization's scope."""

import uuid

from django.db import transaction
from django.http import Http404
from django.utils import timezone

from apps.accounts.models import User
from apps.audit.services import record
from apps.directory import ingest_tokens
from apps.directory.models import IngestToken
from apps.projects.models import Project
from apps.projects.services import check_not_archived, label, lock_project, organization_id


@transaction.atomic
def make_ingest_token(*, project: Project, name: str, actor: User) -> tuple[IngestToken, str]:
    """A token and its text, to be shown to who asked and to be forgotten. Raises IngestTokenError,
    ProjectArchivedError."""
    project = lock_project(project.id)
    check_not_archived(project)
    token, text = ingest_tokens.issue(
        organization_id=organization_id(), project_id=project.id, name=name, user_id=actor.id
    )
    record("ingest_token.created", actor=actor, subject=label(project), project_id=project.id, token=token.name)
    return token, text


@transaction.atomic
def revoke_ingest_token(*, project: Project, token_id: uuid.UUID, actor: User) -> IngestToken:
    """Ends a token. Http404 where the project has no such token, or it was revoked before."""
    token = ingest_tokens.revoke(project_id=project.id, token_id=token_id)
    if token is None:
        raise Http404
    record("ingest_token.revoked", actor=actor, subject=label(project), project_id=project.id, token=token.name)
    return token


@transaction.atomic
def set_hides_labels(*, project: Project, hides: bool, actor: User) -> bool:
    """Whether of sessions and users only fingerprints are stored from now on; whether that is a change."""
    project = lock_project(project.id)
    if project.hides_labels == hides:
        return False
    project.hides_labels = hides
    project.updated_at = timezone.now()
    project.save(update_fields=["hides_labels", "updated_at"])
    kept = "only fingerprints" if hides else "labels as they are sent"
    record("project.labels_changed", actor=actor, subject=label(project), project_id=project.id, kept=kept)
    return True
