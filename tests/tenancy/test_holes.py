"""Each way in which a schema per tenant leaks by itself, held shut. The list is that of docs/tenancy.md."""

import asyncio
import threading
import uuid
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from django.core.checks import CheckMessage, run_checks
from django.db import ProgrammingError, connection, transaction
from django_tenants.utils import schema_context, tenant_context  # noqa: TID251 - shown to be refused

from apps.organizations.models import Organization
from apps.projects.models import Project
from apps.projects.services import create_project
from tenancy import (
    NoTenantError,
    TenancyError,
    TenantNotReadyError,
    TenantSchemaMissingError,
    WrongTenantError,
    current_scope,
    tenant_scope,
)
from tenancy.ids import new_schema_name
from tenancy.scope import TenantRef, no_tenant
from tests.cast import Workspace


def names() -> set[str]:
    return set(Project.objects.values_list("name", flat=True))


@pytest.fixture
def two(acme: Workspace, globex: Workspace) -> tuple[Organization, Organization]:
    for workspace, name in ((acme, "of acme"), (globex, "of globex")):
        with tenant_scope(workspace.organization):
            create_project(name=name)
    return acme.organization, globex.organization


def test_each_scope_reads_its_own_rows(two: tuple[Organization, Organization]) -> None:
    acme, globex = two
    with tenant_scope(acme):
        assert names() == {"production", "of acme"}
        with tenant_scope(globex):
            assert names() == {"production", "of globex"}
        assert names() == {"production", "of acme"}


def test_django_tenants_own_ways_are_refused(two: tuple[Organization, Organization]) -> None:
    acme, _ = two
    with pytest.raises(TenancyError), schema_context(acme.schema_name):
        pass
    with pytest.raises(TenancyError), tenant_context(acme):
        pass
    with pytest.raises(TenancyError), acme:
        pass
    with pytest.raises(TenancyError):
        acme.activate()
    with pytest.raises(TenancyError):
        connection.set_schema(acme.schema_name)  # type: ignore[attr-defined]
    assert current_scope() is None


def test_a_scope_object_is_for_one_entry_and_decorates_nothing(two: tuple[Organization, Organization]) -> None:
    acme, _ = two
    scope = tenant_scope(acme)
    with scope:
        pass
    with pytest.raises(RuntimeError, match="once"), scope:
        pass
    assert not callable(scope)


def test_a_scope_ends_when_its_block_raises(two: tuple[Organization, Organization]) -> None:
    acme, _ = two
    with pytest.raises(ZeroDivisionError), tenant_scope(acme):
        raise ZeroDivisionError
    assert current_scope() is None


def test_a_new_thread_has_no_tenant(two: tuple[Organization, Organization]) -> None:
    acme, _ = two
    seen: list[object] = []
    with tenant_scope(acme):
        thread = threading.Thread(target=lambda: seen.append(current_scope()))
        thread.start()
        thread.join()
    assert seen == [None]


def test_threads_in_two_tenants_do_not_swap(committed: tuple[Workspace, Workspace]) -> None:
    barrier = threading.Barrier(2)
    wrong: list[tuple[str, set[uuid.UUID]]] = []

    def work(workspace: Workspace) -> None:
        try:
            for _ in range(50):
                with tenant_scope(workspace.organization):
                    barrier.wait(timeout=30)
                    ids = set(Project.objects.values_list("id", flat=True))
                    if workspace.project.id not in ids:
                        wrong.append((workspace.organization.name, ids))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[workspace]) for workspace in committed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_gathered_tasks_keep_their_own_tenant(committed: tuple[Workspace, Workspace]) -> None:
    """They share a thread and so a connection; the scope is each task's own."""

    async def read(workspace: Workspace, entered: asyncio.Event, other_entered: asyncio.Event) -> bool:
        with tenant_scope(workspace.organization):
            entered.set()
            await other_entered.wait()
            found = await sync_to_async(lambda: list(Project.objects.values_list("id", flat=True)))()
        return found == [workspace.project.id]

    async def both() -> list[bool]:
        first, second = asyncio.Event(), asyncio.Event()
        try:
            return list(await asyncio.gather(read(committed[0], first, second), read(committed[1], second, first)))
        finally:
            await sync_to_async(lambda: connection.close())()

    assert asyncio.run(both()) == [True, True]


def test_a_lazy_query_of_one_tenant_does_not_read_another(two: tuple[Organization, Organization]) -> None:
    acme, globex = two
    with tenant_scope(acme):
        query = Project.objects.filter(name__startswith="of")
    with tenant_scope(globex):
        for use in (
            list,
            lambda q: q.count(),
            lambda q: q.exists(),
            lambda q: q.update(name="x"),
            lambda q: q.delete(),
        ):
            with pytest.raises(WrongTenantError):
                use(query.all())
        assert names() == {"production", "of globex"}


def test_a_row_of_one_tenant_is_not_saved_in_another(two: tuple[Organization, Organization]) -> None:
    acme, globex = two
    with tenant_scope(acme):
        project = Project.objects.get(name="of acme")
    with tenant_scope(globex):
        for use in (project.save, project.delete, project.refresh_from_db):
            with pytest.raises(WrongTenantError):
                use()
        with pytest.raises(WrongTenantError):
            Project.objects.bulk_update([project], ["name"])
        with pytest.raises(WrongTenantError):
            Project.objects.bulk_create([project])
        assert names() == {"production", "of globex"}


def test_tenant_rows_are_out_of_reach_outside_a_scope(two: tuple[Organization, Organization]) -> None:
    acme, _ = two
    with pytest.raises(NoTenantError):
        list(Project.objects.all())
    with pytest.raises(NoTenantError):
        Project(name="nobody's").save()
    with tenant_scope(acme):
        project = Project.objects.get(name="of acme")
    with pytest.raises(NoTenantError):
        project.save()


def test_what_runs_on_commit_runs_where_it_was_registered(
    two: tuple[Organization, Organization], django_capture_on_commit_callbacks: type
) -> None:
    acme, globex = two
    seen: list[set[str]] = []
    with django_capture_on_commit_callbacks(execute=True), tenant_scope(acme), transaction.atomic():
        with tenant_scope(globex):
            transaction.on_commit(lambda: seen.append(names()))
        transaction.on_commit(partial(lambda: seen.append(names())))
    assert seen == [{"production", "of globex"}, {"production", "of acme"}]


def test_a_table_missing_in_the_tenant_is_an_error_even_where_public_has_one(by_owner: None) -> None:
    """Reading would fall through to `public`; the check E002 keeps such tables from existing there."""

    def errors() -> list[CheckMessage]:
        return [found for found in run_checks(tags=["database"], databases=["default"]) if found.is_serious()]

    assert errors() == []
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE public.projects_project (id uuid PRIMARY KEY)")
    [error] = errors()
    assert error.id == "tenancy.E002"
    assert error.hint


def test_a_schema_that_does_not_exist_answers_nothing(two: tuple[Organization, Organization]) -> None:
    gone = TenantRef(uuid.uuid4(), new_schema_name())
    with tenant_scope(gone), pytest.raises(TenantSchemaMissingError):
        Organization.objects.count()


def test_only_a_ready_organization_can_be_entered(two: tuple[Organization, Organization]) -> None:
    acme, _ = two
    for status in (Organization.Status.SUSPENDED, Organization.Status.DELETING):
        acme.status = status
        with pytest.raises(TenantNotReadyError):
            tenant_scope(acme)
    acme.status = Organization.Status.READY


def test_the_path_follows_rollbacks(two: tuple[Organization, Organization]) -> None:
    """A rolled-back transaction takes a SET inside it back; what the server then holds is seen, not remembered."""
    acme, globex = two
    with tenant_scope(acme):
        assert "of acme" in names()
        with transaction.atomic():
            with tenant_scope(globex):
                assert "of globex" in names()
            transaction.set_rollback(True)
        assert "of acme" in names()
    with pytest.raises(ProgrammingError), transaction.atomic(), tenant_scope(globex), connection.cursor() as cursor:
        cursor.execute("SELECT * FROM nothing_of_this_name")
    with tenant_scope(acme):
        assert "of acme" in names()


def test_after_a_scope_the_connection_is_on_public(two: tuple[Organization, Organization]) -> None:
    acme, _ = two
    with tenant_scope(acme):
        names()
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        assert cursor.fetchone() == ("public",)


def test_leaving_the_tenant_for_shared_work(two: tuple[Organization, Organization]) -> None:
    acme, _ = two
    with tenant_scope(acme), no_tenant():
        with pytest.raises(NoTenantError):
            names()
        assert Organization.objects.count() >= 2
