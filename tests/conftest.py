"""Fixtures that all tests share. The database has two organizations from the start (tests/cast.py); what a test adds is
rolled back, unless it asks for `committed`."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, transaction
from django.test.utils import setup_databases, teardown_databases
from pytest_django import DjangoDbBlocker, Settings

from apps.pricing.services import import_all
from tenancy.provisioning import fill_pool
from tenancy.roles import as_owner
from tests.cast import Member, Workspace


@pytest.fixture(autouse=True)
def plain_static_files(settings: Settings) -> None:
    """Pages name static files as they are in the source: none are collected for tests. What is exported is gone after
    each."""
    settings.STORAGES = {
        "exports": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_modify_db_settings: None, django_db_blocker: DjangoDbBlocker
) -> Iterator[None]:
    """The test database, made by the owner; what is in it is used as the runtime role. Spare schemas are what sign-ups
    take, which gives them back in the end."""
    with django_db_blocker.unblock(), as_owner():
        made = setup_databases(verbosity=0, interactive=False)
        fill_pool()
    yield
    with django_db_blocker.unblock():
        connections.close_all()
        # A thread that a test left may still be connected. The server is thrown away anyway.
        with suppress(DatabaseError):
            teardown_databases(made, verbosity=0)


@pytest.fixture(scope="session")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> tuple[Workspace, Workspace]:
    with django_db_blocker.unblock():
        import_all()
        return Workspace.make("Acme", "alice"), Workspace.make("Globex", "charlie")


@pytest.fixture
def by_owner(db: None) -> Iterator[None]:
    """The test acts as the database's owner, who may change tables and ledgers, and all it does is rolled back."""
    with as_owner(), transaction.atomic():
        # As the tests' other transaction: what must be the outermost one may be inside it.
        connections[DEFAULT_DB_ALIAS].atomic_blocks[-1]._from_testcase = True  # type: ignore[attr-defined]  # of Django's own tests
        yield
        transaction.set_rollback(True)


@pytest.fixture
def acme(db: None, cast: tuple[Workspace, Workspace]) -> Workspace:
    return cast[0]


@pytest.fixture
def globex(db: None, cast: tuple[Workspace, Workspace]) -> Workspace:
    return cast[1]


@pytest.fixture
def alice(acme: Workspace) -> Member:
    return acme.owner


@pytest.fixture
def charlie(globex: Workspace) -> Member:
    return globex.owner


@pytest.fixture
def committed(
    cast: tuple[Workspace, Workspace], django_db_blocker: DjangoDbBlocker
) -> Iterator[tuple[Workspace, Workspace]]:
    """Acme and Globex without a surrounding transaction, for tests of several threads or processes. What those add
    stays, so they add it where no other test looks."""
    with django_db_blocker.unblock():
        yield cast
