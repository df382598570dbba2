"""The base tasks: one organization, or none by declaration."""

import uuid
from typing import Any

import pytest
from celery import shared_task
from kombu import Connection

from apps.organizations.models import Organization
from apps.projects.models import Project
from tenancy import NoTenantError, TenantNotReadyError, current_scope, tenant_scope
from tenancy.tasks import SharedTask, TenantTask
from tests.cast import Workspace

seen: list[object] = []


@shared_task(name="tests.count_projects", base=TenantTask)
def count_projects(name: str) -> int:
    return Project.objects.filter(name=name).count()


@shared_task(name="tests.shared", base=SharedTask)
def shared() -> None:
    seen.append(current_scope())


def test_a_task_runs_in_the_organization_it_names(acme: Workspace, globex: Workspace) -> None:
    with tenant_scope(globex.organization):
        assert count_projects(organization_id=acme.organization.pk, name="production") == 1
        assert current_scope() is not None
    assert count_projects(organization_id=str(acme.organization.pk), name="nothing") == 0
    assert current_scope() is None


def through_a_broker(task: TenantTask, **kwargs: Any) -> Any:
    """What the task comes to when it is queued, and run with what came out of the queue."""
    with Connection("memory://") as broker, broker.SimpleQueue("celery") as queue:
        task.apply_async(kwargs=kwargs, connection=broker)
        message = queue.get(timeout=1)
        message.ack()
        assert message.headers["task"] == task.name
        args, sent, _ = message.payload
        return task(*args, **sent)


def test_what_is_queued_is_what_runs(acme: Workspace) -> None:
    assert through_a_broker(count_projects, organization_id=str(acme.organization.pk), name="production") == 1
    through_a_broker(shared)
    assert seen.pop() is None


def test_arguments_that_the_body_does_not_take_are_refused_when_queued(acme: Workspace) -> None:
    for wrong in ({}, {"name": "production", "number": 1}):
        with pytest.raises(TypeError):
            count_projects.delay(organization_id=str(acme.organization.pk), **wrong)


def test_a_task_without_an_organization_is_refused_when_queued_and_when_run(db: None) -> None:
    with pytest.raises(NoTenantError, match="organization_id"):
        count_projects.delay(name="production")
    with pytest.raises(NoTenantError, match="organization_id"):
        count_projects(name="production")
    with pytest.raises(NoTenantError, match="takes no"):
        shared.delay(organization_id=uuid.uuid4())


def test_a_task_of_an_organization_thatis_gone_or_not_ready_fails(acme: Workspace) -> None:
    with pytest.raises(Organization.DoesNotExist):
        count_projects(organization_id=uuid.uuid4(), name="production")
    Organization.objects.filter(pk=acme.organization.pk).update(status=Organization.Status.SUSPENDED)
    with pytest.raises(TenantNotReadyError):
        count_projects(organization_id=acme.organization.pk, name="production")


def test_a_shared_task_has_no_tenant_even_when_called_from_one(acme: Workspace) -> None:
    with tenant_scope(acme.organization):
        shared()
    assert seen.pop() is None
