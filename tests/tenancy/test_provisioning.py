"""Making schemas, the pool of spare ones, and migrating them all."""

import threading
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from pytest_django import DjangoAssertNumQueries, Settings

from apps.organizations.models import Organization
from apps.organizations.services import create_organization
from tenancy import provisioning
from tenancy.ids import SCHEMA_NAME, new_schema_name
from tenancy.migrating import migrate_schema, migrate_tenants
from tenancy.models import SpareSchema
from tenancy.roles import as_owner
from tenancy.scope import schema_scope
from tenancy.versions import current_version
from tests.cast import Member, Workspace

# Everything that makes two schemas equal: columns with types, defaults and nullability, indexes, constraints.
CATALOG = """
    SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
           a.attidentity::text, coalesce(pg_get_expr(d.adbin, d.adrelid), '')
      FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
      LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
     WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'index', tablename, indexname, replace(indexdef, %(schema)s, ''), '', '', '' FROM pg_indexes
     WHERE schemaname = %(schema)s
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname, replace(pg_get_constraintdef(oid), %(schema)s, ''),
           '', '', ''
      FROM pg_constraint WHERE connamespace = %(schema)s::regnamespace AND contype <> 'n'
"""


def catalog(schema: str) -> set[tuple[str, ...]]:
    with schema_scope(schema), connection.cursor() as cursor:
        cursor.execute(CATALOG, {"schema": schema})
        return set(cursor.fetchall())


def test_a_schema_made_at_once_equals_one_made_by_its_migrations(committed: tuple[Workspace, Workspace]) -> None:
    """Not in a test's transaction: some indexes are made concurrently."""
    made, migrated = provisioning.build_schema(), new_schema_name()
    with as_owner():
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE SCHEMA "{migrated}"')
        try:
            migrate_schema(migrated)
            assert catalog(made.name) == catalog(migrated)
            assert len(catalog(made.name)) > 50
            assert made.version == current_version()
        finally:
            for name in (made.name, migrated):
                provisioning.drop_schema(name)


def test_schema_names_say_nothing_and_do_not_repeat() -> None:
    names = {new_schema_name() for _ in range(100)}
    assert len(names) == 100
    assert all(SCHEMA_NAME.fullmatch(name) for name in names)


def test_an_organization_takes_a_spare_schema(alice: Member) -> None:
    SpareSchema.objects.all().delete()
    spare = provisioning.build_schema()
    SpareSchema.objects.create(schema_name=spare.name, schema_version=spare.version)
    organization = create_organization(name="Initech", owner=alice.user)
    assert organization.schema_name == spare.name
    assert not SpareSchema.objects.filter(schema_name=spare.name).exists()
    assert organization.is_ready


def test_a_spare_that_is_behind_is_not_taken(alice: Member) -> None:
    SpareSchema.objects.all().delete()
    spare = provisioning.build_schema()
    SpareSchema.objects.create(schema_name=spare.name, schema_version="older")
    organization = create_organization(name="Initech", owner=alice.user)
    assert organization.schema_name != spare.name


def test_a_sign_up_that_fails_gives_the_spare_back(alice: Member) -> None:
    SpareSchema.objects.all().delete()
    spare = provisioning.build_schema()
    SpareSchema.objects.create(schema_name=spare.name, schema_version=spare.version)
    with transaction.atomic():
        create_organization(name="Initech", owner=alice.user)
        transaction.set_rollback(True)
    assert SpareSchema.objects.filter(schema_name=spare.name).exists()


def test_two_organizations_at_once_get_two_schemas(committed: tuple[Workspace, Workspace]) -> None:
    owner = committed[0].owner.user
    provisioning.fill_pool()
    made: list[Organization] = []
    barrier = threading.Barrier(4)

    def sign_up() -> None:
        try:
            barrier.wait(timeout=30)
            made.append(create_organization(name="Twin", owner=owner))
        finally:
            connection.close()

    threads = [threading.Thread(target=sign_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({organization.schema_name for organization in made}) == 4


def test_the_pool_is_filled_to_its_size_and_no_further(by_owner: None, settings: Settings) -> None:
    SpareSchema.objects.all().delete()
    settings.SPARE_SCHEMAS = 2
    assert provisioning.fill_pool() == 2
    assert provisioning.fill_pool() == 0
    assert SpareSchema.objects.count() == 2


@pytest.fixture
def behind(by_owner: None, acme: Workspace, globex: Workspace) -> list[str]:
    """Acme's and Globex's schemas as if they were one version behind, with a migration that is still to run."""
    SpareSchema.objects.all().delete()
    Organization.objects.exclude(pk__in=[acme.organization.pk, globex.organization.pk]).update(
        schema_version=current_version()
    )
    schemas = [acme.organization.schema_name, globex.organization.schema_name]
    for schema in schemas:
        with schema_scope(schema), connection.cursor() as cursor:
            cursor.execute("DROP TABLE vault_box, vault_grant, vault_providerkey")
            cursor.execute("DELETE FROM django_migrations WHERE app = 'vault'")
    Organization.objects.filter(schema_name__in=schemas).update(schema_version="older")
    return schemas


def tables(schema: str) -> set[str]:
    with schema_scope(schema), connection.cursor() as cursor:
        return {table.name for table in connection.introspection.get_table_list(cursor)}


def test_all_tenants_are_migrated_and_then_skipped(
    behind: list[str], django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    report = migrate_tenants()
    assert sorted(report.migrated) == sorted(behind)
    assert report.failed == []
    assert all("vault_grant" in tables(schema) for schema in behind)
    # One for organizations, one for spares, one for all rights; none of a tenant.
    with django_assert_num_queries(3):
        assert migrate_tenants().migrated == []


def test_a_failing_tenant_is_reported_and_passed_over_and_can_be_repeated(behind: list[str]) -> None:
    broken, sound = behind
    with schema_scope(broken), connection.cursor() as cursor:
        cursor.execute("CREATE TABLE vault_grant (id int)")  # in the way of the migration
    report = migrate_tenants()
    assert report.migrated == [sound]
    assert [name for name, _ in report.failed] == [broken]
    organization = Organization.objects.get(schema_name=broken)
    assert "vault_grant" in organization.migration_error
    assert organization.schema_version == "older"

    output = StringIO()
    with pytest.raises(CommandError, match="run this again"):
        call_command("migrate", stdout=output, verbosity=1)
    assert f"{broken}: FAILED" in output.getvalue()

    with schema_scope(broken), connection.cursor() as cursor:
        cursor.execute("DROP TABLE vault_grant")
    assert migrate_tenants().migrated == [broken]
    organization.refresh_from_db()
    assert organization.migration_error == ""
    assert organization.schema_version == current_version()


def test_only_tables_of_the_schema_are_listed(acme: Workspace) -> None:
    assert "organizations_organization" not in tables(acme.organization.schema_name)
    with connection.cursor() as cursor:
        public = {table.name for table in connection.introspection.get_table_list(cursor)}
    assert "organizations_organization" in public
    assert "projects_project" not in public


def test_nothing_is_left_to_migrate(db: None) -> None:
    """Models and migrations agree; `makemigrations` would have nothing to write."""
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == []
