"""The programs that use a project, by the names they give. Callers are in the organization's scope.

Names that come with requests are registered by the release of a provider key itself (apps/sdk/api.py).
"""

import uuid

from django.db import IntegrityError, transaction
from django.http import Http404

from apps.accounts.models import User
from apps.audit.services import record
from apps.projects.models import Client, Project
from apps.projects.services import label, lock_project
from web.errors import DomainError

# How many a project has at most: names come from programs, and a program may make up a new one for each run.
MOST_CLIENTS = 200
LONGEST_NAME = 255


class ClientError(DomainError):
    status = 422
    code = "invalid_client"


class ClientExistsError(DomainError):
    status = 409
    code = "client_exists"


def client_name(text: str) -> str | None:
    """A name as it is stored: trimmed, at most 255 characters; None for what is no name."""
    name = text.strip()[:LONGEST_NAME].rstrip()
    return name if name and name.isprintable() else None


@transaction.atomic
def add_client(*, project: Project, name: str, actor: User) -> Client:
    """Registers a client by hand. Raises ClientError, and ClientExistsError where the project has it."""
    name = check_name(name)
    project = lock_project(project.id)
    if project.clients.count() >= MOST_CLIENTS:
        raise ClientError(f"A project has at most {MOST_CLIENTS} clients. Remove some that are gone.")
    try:
        with transaction.atomic():
            client = Client.objects.create(project=project, name=name, is_default=not project.clients.exists())
    except IntegrityError as error:
        raise _exists(name) from error
    _record("added", client, project, actor)
    return client


@transaction.atomic
def rename_client(*, project: Project, client_id: uuid.UUID, name: str, actor: User) -> Client:
    """Renames a client. A program that goes on giving the old name is registered again under it."""
    name = check_name(name)
    project = lock_project(project.id)
    client = _client(project, client_id)
    client.name = name
    try:
        with transaction.atomic():
            client.save(update_fields=["name"])
    except IntegrityError as error:
        raise _exists(name) from error
    _record("changed", client, project, actor)
    return client


@transaction.atomic
def make_default(*, project: Project, client_id: uuid.UUID, actor: User) -> Client:
    """Makes a client the project's default, and no other."""
    project = lock_project(project.id)
    client = _client(project, client_id)
    project.clients.filter(is_default=True).update(is_default=False)
    client.is_default = True
    client.save(update_fields=["is_default"])
    _record("changed", client, project, actor)
    return client


@transaction.atomic
def remove_client(*, project: Project, client_id: uuid.UUID, actor: User) -> None:
    """Takes a client off the list. It can't use the project less than before: its key does not change."""
    project = lock_project(project.id)
    client = _client(project, client_id)
    _record("removed", client, project, actor)
    client.delete()


def check_name(text: str) -> str:
    name = text.strip()
    if client_name(name) != name:
        raise ClientError("A client's name has 1 to 255 characters that can be seen.")
    return name


def _client(project: Project, client_id: uuid.UUID) -> Client:
    client = Client.objects.filter(project=project, id=client_id).first()
    if client is None:
        raise Http404
    return client


def _exists(name: str) -> ClientExistsError:
    return ClientExistsError(f"The project has a client {name} already.")


def _record(what: str, client: Client, project: Project, actor: User) -> None:
    record(f"client.{what}", actor=actor, subject=label(project), project_id=project.id, client=client.name)
