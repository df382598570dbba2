"""The two database roles. The tests' own connection is the runtime role's, as web's is."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction
from django.db.utils import OperationalError
from django.utils import timezone
from psycopg import errors
from pytest_django import DjangoDbBlocker, Settings

from apps.organizations import tasks
from apps.organizations.models import Membership, Organization
from apps.organizations.services import NoSpareSchemaError, create_organization
from tenancy import NotOwnerError, checks, provisioning, roles, tenant_scope
from tenancy.ids import new_schema_name
from tenancy.migrating import migrate_schema, migrate_tenants
from tenancy.models import SpareSchema
from tenancy.roles import append_only_tables, as_owner, is_split, runtime_role, schemas_to_grant
from tenancy.tasks import fill_pool
from tests.cast import Member, Workspace
from tests.faults.stack import wait_until

pytestmark = pytest.mark.skipif(
    not is_split(), reason="the database that was given has one role, which can't make another"
)

WRITING = [
    "UPDATE {table} SET id = id",
    "DELETE FROM {table}",
    "TRUNCATE {table}",
    "SELECT FROM {table} FOR UPDATE",
    "INSERT INTO {table} SELECT * FROM {table} ON CONFLICT (id) DO UPDATE SET id = excluded.id",
    "MERGE INTO {table} t USING {table} s ON t.id = s.id WHEN MATCHED THEN DELETE",
]
CHANGING = [
    "ALTER TABLE {table} ADD COLUMN note text",
    "ALTER TABLE {table} OWNER TO {role}",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "CREATE TRIGGER nothing BEFORE UPDATE ON {table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE RULE nothing AS ON INSERT TO {table} DO INSTEAD NOTHING",
    "CREATE INDEX ON {table} (id)",
    "DROP TABLE {table}",
    "DROP SCHEMA {schema} CASCADE",
    "CREATE TABLE {schema}.mine (id int)",
    "CREATE TABLE public.mine (id int)",
    "CREATE SCHEMA mine",
]
BECOMING = [
    "SET ROLE {owner}",
    "SET SESSION AUTHORIZATION {owner}",
    "GRANT {owner} TO {role}",
    "ALTER ROLE {role} SUPERUSER",
    "SET session_replication_role = replica",
]


def refused(statement: str) -> bool:
    """Whether PostgreSQL denies the runtime role the right to it. What it does not is taken back, with its locks."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
            transaction.set_rollback(True)
    except ProgrammingError as error:
        if not isinstance(error.__cause__, errors.InsufficientPrivilege):
            raise
        return True
    return False


def user() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return str(cursor.fetchone()[0])


def owner() -> str:
    with as_owner():
        return user()


def drop(*names: str) -> None:
    with as_owner():
        for name in names:
            provisioning.drop_schema(name)
            SpareSchema.objects.filter(schema_name=name).delete()


def made_at_once() -> str:
    return provisioning.build_schema().name


def made_by_migrations() -> str:
    name = new_schema_name()
    with as_owner(), connection.cursor() as cursor:
        cursor.execute(f'CREATE SCHEMA "{name}"')
    migrate_schema(name)
    return name


@pytest.fixture(scope="module", params=[made_at_once, made_by_migrations])
def schema(request: pytest.FixtureRequest, django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    make: Callable[[], str] = request.param
    with django_db_blocker.unblock():
        name = make()
        yield name
        drop(name)


def test_tests_run_as_web_does(db: None) -> None:
    assert user() == runtime_role()
    assert owner() not in {"", runtime_role()}


@pytest.mark.parametrize("statement", [*WRITING, *CHANGING])
def test_the_runtime_role_changes_no_ledger(db: None, schema: str, statement: str) -> None:
    tables = append_only_tables()
    assert "ledger_usageevent" in tables
    for table in tables:
        assert refused(statement.format(table=f"{schema}.{table}", schema=schema, role=runtime_role()))


def test_the_runtime_role_adds_to_ledgers_and_reads_them_and_does_all_with_other_rows(db: None, schema: str) -> None:
    with connection.cursor() as cursor:
        for table in append_only_tables():
            cursor.execute(f"INSERT INTO {schema}.{table} SELECT * FROM {schema}.{table}")
        for table in (f"{schema}.projects_project", "public.organizations_membership"):
            cursor.execute(f"INSERT INTO {table} SELECT * FROM {table} WHERE false")
            cursor.execute(f"UPDATE {table} SET id = id WHERE false")
            cursor.execute(f"DELETE FROM {table} WHERE false")
            assert refused(f"TRUNCATE {table} CASCADE")


@pytest.mark.parametrize("statement", BECOMING)
def test_the_runtime_role_cannot_become_the_owner(db: None, statement: str) -> None:
    assert refused(statement.format(owner=owner(), role=runtime_role()))


def test_in_an_organization_that_somebody_made_in_a_browser_the_ledger_is_append_only(alice: Member) -> None:
    answer = alice.browser().post("/o/new/", {"name": "Initech"})
    organization = Organization.objects.get(pk=answer["Location"].split("/")[2])
    with tenant_scope(organization):
        for table in append_only_tables():
            assert not refused(f"INSERT INTO {table} SELECT * FROM {table}")
            for statement in WRITING:
                assert refused(statement.format(table=table))


def test_a_table_that_a_migration_adds_comes_with_rights(db: None, schema: str) -> None:
    with as_owner(), connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {schema}.vault_box, {schema}.vault_grant, {schema}.vault_providerkey")
        cursor.execute(f"DELETE FROM {schema}.django_migrations WHERE app = 'vault'")
        cursor.execute(f"CREATE TABLE {schema}.made_by_hand (id int)")
    migrate_schema(schema)
    for table in ("vault_box", "made_by_hand"):
        assert not refused(f"DELETE FROM {schema}.{table}")
    assert refused(f"DELETE FROM {schema}.ledger_usageevent")


def test_migrate_mends_rights_in_schemas_that_have_nothing_to_migrate(db: None) -> None:
    """After a move to two roles no schema has any; a table may become append-only without a migration."""
    assert schemas_to_grant() == []
    lax, closed = provisioning.build_schema().name, provisioning.build_schema().name
    try:
        with as_owner(), connection.cursor() as cursor:
            cursor.execute(f"GRANT UPDATE, DELETE ON {lax}.ledger_usageevent TO {runtime_role()}")
            cursor.execute(f"REVOKE ALL ON SCHEMA {closed} FROM {runtime_role()}")
            assert schemas_to_grant() == sorted([lax, closed])
        assert not refused(f"DELETE FROM {lax}.ledger_usageevent")
        assert refused(f"SELECT FROM {closed}.projects_project")

        said: list[str] = []
        migrate_tenants(said.append)
        assert said == [f"  {name}: granted" for name in sorted([lax, closed])]
        assert refused(f"DELETE FROM {lax}.ledger_usageevent")
        assert not refused(f"SELECT FROM {closed}.projects_project")
        with as_owner():
            assert schemas_to_grant() == []
    finally:
        drop(lax, closed)


def test_the_owner_works_beside_the_callers_transaction(db: None) -> None:
    SpareSchema.objects.create(schema_name="of the caller", schema_version="x")
    with as_owner():
        assert not SpareSchema.objects.filter(schema_name="of the caller").exists()
        SpareSchema.objects.create(schema_name="of the owner", schema_version="")
    try:
        with transaction.atomic():
            assert SpareSchema.objects.filter(schema_name__startswith="of the").count() == 2
            with as_owner():
                SpareSchema.objects.filter(schema_name="of the owner").update(migration_error="seen")
            transaction.set_rollback(True)
        assert SpareSchema.objects.get(schema_name="of the owner").migration_error == "seen"
    finally:
        with as_owner():
            SpareSchema.objects.filter(schema_name="of the owner").delete()


def test_the_owner_does_not_wait_for_good_for_whom_it_works_for(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "LOCK_SECONDS", 0.05)
    spare = SpareSchema.objects.select_for_update()[0]
    with pytest.raises(OperationalError, match="lock timeout"), as_owner():
        SpareSchema.objects.filter(pk=spare.pk).update(migration_error="")
    assert user() == runtime_role()


def test_the_connection_is_the_threads_and_comes_back(db: None) -> None:
    seen: list[str] = []

    def look() -> None:
        seen.append(str(connection.settings_dict["USER"]))

    def fail() -> None:
        outer = connection.settings_dict
        with as_owner():
            assert connection.settings_dict is outer
        assert user() != runtime_role()
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        raise ZeroDivisionError

    before = connection.settings_dict
    with pytest.raises(ZeroDivisionError), as_owner():
        fail()
    assert seen == [runtime_role()]
    assert connection.settings_dict is before
    assert user() == runtime_role()


def test_nothing_of_the_owner_is_left_open(db: None) -> None:
    def sessions() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)", [backends])
            return int(cursor.fetchone()[0])

    backends: list[int] = []
    for _ in range(3):
        with as_owner(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backends.append(cursor.fetchone()[0])
    wait_until(lambda: sessions() == 0, "the owner's connections are closed")


def test_a_sign_up_that_finds_no_spare_makes_one_that_outlives_it(alice: Member) -> None:
    before = set(SpareSchema.objects.values_list("schema_name", flat=True))
    with transaction.atomic():
        SpareSchema.objects.all().delete()
        organization = create_organization(name="Initech", owner=alice.user)
        assert organization.schema_name not in before
        transaction.set_rollback(True)
    try:
        after = set(SpareSchema.objects.values_list("schema_name", flat=True))
        assert after == before | {organization.schema_name}
    finally:
        drop(organization.schema_name)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was queued, by name."""
    queued: list[str] = []
    monkeypatch.setattr(fill_pool, "delay", lambda: queued.append("tenancy.fill_pool"))
    return queued


@pytest.fixture
def not_owner(settings: Settings) -> None:
    """A process that was not given DATABASE_OWNER_URL, as web."""
    settings.DATABASE_OWNER = {}


def test_without_the_owners_credentials_a_sign_up_needs_a_spare(
    not_owner: None, alice: Member, asked: list[str]
) -> None:
    assert create_organization(name="Initech", owner=alice.user).is_ready

    SpareSchema.objects.all().delete()
    with pytest.raises(NoSpareSchemaError):
        create_organization(name="Initrode", owner=alice.user)
    assert asked == ["tenancy.fill_pool"]
    answer = alice.browser().post("/o/new/", {"name": "Initrode"})
    assert answer.status_code == 503
    assert "Try again in a minute" in answer.content.decode()
    assert not Organization.objects.filter(name="Initrode").exists()


@pytest.mark.parametrize("work", [provisioning.build_schema, provisioning.fill_pool, migrate_tenants, tasks.delete_due])
def test_without_the_owners_credentials_its_work_is_refused(
    not_owner: None, db: None, work: Callable[[], object]
) -> None:
    with pytest.raises(NotOwnerError, match="DATABASE_OWNER_URL"):
        work()
    with pytest.raises(CommandError, match="DATABASE_OWNER_URL"):
        call_command("migrate", verbosity=0)


def test_where_all_is_one_roles_everything_goes_on_and_a_check_warns(
    by_owner: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(checks.check_database(["default"])) == []

    monkeypatch.setitem(settings.DATABASES, "default", {**settings.DATABASES["default"], "USER": user()})
    for credentials in (dict[str, str](), settings.DATABASE_OWNER):
        settings.DATABASE_OWNER = credentials
        with transaction.atomic():
            before = connection.settings_dict
            with as_owner():
                assert connection.settings_dict is before
            name = provisioning.build_schema().name
            assert not refused(f"DELETE FROM {name}.ledger_usageevent")
            transaction.set_rollback(True)
        assert schemas_to_grant() == []
        [warning] = checks.check_database(["default"])
        assert warning.id == "tenancy.W001"
        assert not warning.is_serious()
        assert user() in warning.msg


def test_what_is_due_is_deleted_by_a_worker(committed: tuple[Workspace, Workspace]) -> None:
    """Not in a test's transaction: what the runtime role stored, the owner removes."""
    due = create_organization(name="Due", owner=committed[0].owner.user)
    Organization.objects.filter(pk=due.pk).update(
        status=Organization.Status.DELETING, delete_after=timezone.now() - timedelta(seconds=1)
    )
    assert refused(f"DROP SCHEMA {due.schema_name}")
    assert tasks.delete_due() == 1
    due.refresh_from_db()
    assert (due.status, due.schema_version) == (Organization.Status.DELETED, "")
    assert not Membership.objects.filter(organization=due).exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace(%s)", [due.schema_name])
        assert cursor.fetchone() == (None,)
