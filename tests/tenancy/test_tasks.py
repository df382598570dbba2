"""The base tasks: one organization, or none by declaration."""

import uuid
from typing import Any

import pytest
from celery import Celery, shared_task

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


def test_a_task_is_queued_with_its_organization(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, Any]] = []
    monkeypatch.setattr(Celery, "send_task", lambda _, name, args, kwargs, **options: sent.append((name, kwargs)))
    count_projects.delay(organization_id="1", name="production")
    count_projects.apply_async(kwargs={"organization_id": "2", "name": "production"}, expires=10)
    shared.delay()
    assert sent == [
        ("tests.count_projects", {"organization_id": "1", "name": "production"}),
        ("tests.count_projects", {"organization_id": "2", "name": "production"}),
        ("tests.shared", {}),
    ]
    with pytest.raises(TypeError):
        count_projects.delay(organization_id="1", nome="production")
    assert len(sent) == 3


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
