"""Fixtures that all tests share. The database has two organizations from the start (tests/cast.py); what a test adds is
rolled back, unless it asks for `committed`."""

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker, Settings

from apps.pricing.services import import_all
from tests.cast import Member, Workspace


@pytest.fixture(autouse=True)
def plain_static_files(settings: Settings) -> None:
    """Pages name static files as they are in the source: none are collected for tests."""
    settings.STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


@pytest.fixture(scope="session")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> tuple[Workspace, Workspace]:
    with django_db_blocker.unblock():
        import_all()
        return Workspace.make("Acme", "alice"), Workspace.make("Globex", "charlie")


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
