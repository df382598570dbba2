"""The system checks of tenant models, each shown to fail."""

from typing import Any

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.db import connection, models
from django.test.utils import isolate_apps
from pytest_django import Settings

from tenancy import checks
from tenancy.rows import TenantModel


@pytest.fixture
def all_models(monkeypatch: pytest.MonkeyPatch) -> list[type[models.Model]]:
    """What the checks see as the project's models; tests add to it."""
    found = list(apps.get_models(include_auto_created=True))
    monkeypatch.setattr("tenancy.checks.apps.get_models", lambda **_: found)
    return found


def ids() -> list[str | None]:
    return [message.id for message in checks.check_models(None)]


def test_the_project_passes_all_of_them() -> None:
    assert [message for message in run_checks() if message.is_serious()] == []


@isolate_apps("apps.projects")
def test_a_tenant_model_derives_from_tenant_model(all_models: list[type[models.Model]]) -> None:
    class Loose(models.Model):  # noqa: DJ008
        class Meta:
            app_label = "projects"

    all_models.append(Loose)
    assert ids() == ["tenancy.E003"]


@pytest.mark.parametrize("constraint", [True, False])
def test_no_foreign_key_leaves_the_tenant(all_models: list[type[models.Model]], constraint: bool) -> None:
    with isolate_apps("apps.projects"):

        class Pointing(TenantModel):
            organization = models.ForeignKey(
                "organizations.Organization", on_delete=models.CASCADE, db_constraint=constraint
            )

            class Meta:
                app_label = "projects"

    field: Any = Pointing._meta.get_field("organization")
    field.remote_field.model = apps.get_model("organizations.Organization")
    all_models.append(Pointing)
    assert ids() == (["tenancy.E004"] if constraint else [])


def test_an_app_is_shared_or_a_tenants(settings: Settings) -> None:
    settings.SHARED_APPS = [*settings.SHARED_APPS, "apps.vault"]
    assert ids() == ["tenancy.E005"]


def test_tenant_tables_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MOST_TENANT_TABLES", 1)
    assert ids() == ["tenancy.E006"]


def test_a_server_that_hides_search_path_is_refused(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        """A server before PostgreSQL 18, or a pooler that keeps the setting to itself."""

        info = type("Info", (), {"parameter_status": staticmethod(lambda _: None)})

    def serious() -> list[str | None]:
        return [message.id for message in checks.check_database(["default"]) if message.is_serious()]

    assert serious() == []
    real = connection

    class Connection:
        connection = Silent

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    monkeypatch.setattr("tenancy.checks.connection", Connection())
    assert serious() == ["tenancy.E001"]
