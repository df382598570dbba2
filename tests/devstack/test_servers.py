import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from psycopg.conninfo import make_conninfo

from devstack.install import ROOT
from devstack.servers import PostgresServer, Server, ServerError, ValkeyServer, postgres_program, with_owner


def write(server: Server) -> None:
    """Leave something in the server that `read` finds."""
    if isinstance(server, PostgresServer):
        with psycopg.connect(server.owner_url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 'hello' AS word")
    else:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "hello")


def read(server: Server) -> str:
    if isinstance(server, PostgresServer):
        with psycopg.connect(server.owner_url) as connection:
            row = connection.execute("SELECT word FROM kept").fetchone()
        assert row is not None
        return str(row[0])
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return str(client.get("kept"))


def family(server: Server) -> list[psutil.Process]:
    main = psutil.Process(server.pid)
    return [main, *main.children(recursive=True)]


def is_gone(process: psutil.Process) -> bool:
    """Ended; a zombie that its adoptive parent has not collected yet counts."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(params=[PostgresServer, ValkeyServer])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    # Valkey keeps nothing otherwise; PostgreSQL does, and is faster.
    server: Server = request.param(tmp_path / "data folder", durable=request.param is ValkeyServer)
    yield server
    server.kill()


def test_data_survives_a_stop(server: Server) -> None:
    server.start()
    write(server)
    url, processes = server.url, family(server)

    server.stop()

    assert all(is_gone(process) for process in processes)
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid
    server.start()
    assert server.url == url
    assert read(server) == "hello"


def test_data_survives_sigkill_to_every_process(server: Server) -> None:
    server.start()
    write(server)
    processes = family(server)

    server.kill()

    assert all(is_gone(process) for process in processes)
    server.start()
    assert read(server) == "hello"


def test_a_server_left_by_its_owner_is_replaced(server: Server, tmp_path: Path) -> None:
    """Its owner ends without a word; the next start with the same folder ends it and has a server of its own."""
    code = (
        "import sys; from pathlib import Path; from devstack import servers;"
        "server = getattr(servers, sys.argv[1])(Path(sys.argv[2])); server.start(); print(server.pid)"
    )
    owner = subprocess.run(
        [sys.executable, "-c", code, type(server).__name__, str(server.data_dir)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    orphan = psutil.Process(int(owner.stdout))
    assert orphan.is_running()

    server.start()

    assert is_gone(orphan)
    assert server.pid != orphan.pid
    write(server)
    assert read(server) == "hello"


def test_postgres_starts_over_a_stale_pid_file(tmp_path: Path) -> None:
    """After a container's restart the id in the file may be another process's: here, that of this test."""
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        cluster = server.data_dir / "cluster"
        lines = (cluster / "postmaster.pid").read_text().splitlines()
        server.kill()
        (cluster / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:], ""]))
        server.start()
        write(server)
        assert read(server) == "hello"


def test_a_cluster_cut_short_is_made_again(tmp_path: Path) -> None:
    half_made = tmp_path / "postgres" / "cluster.new"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("18\n")
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        write(server)
        assert read(server) == "hello"
    assert not half_made.exists()


def owners(connection: psycopg.Connection[tuple[str, str]]) -> dict[str, str]:
    """Of everything that is ours in a database, by name."""
    rows = connection.execute(
        "SELECT nspname, pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname ~ '^t_' UNION ALL"
        " SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace::regnamespace::text ~ '^(public|t_)'"
        " UNION ALL SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'anyllm'"
    )
    return dict(rows.fetchall())


def test_the_database_is_the_owners_and_the_runtime_role_can_do_nothing_yet(tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        with psycopg.connect(server.owner_url, autocommit=True) as owner:
            owner.execute("CREATE SCHEMA t_one")
            owner.execute("CREATE DATABASE for_tests")
        with psycopg.connect(server.url, autocommit=True) as runtime:
            for statement in ("CREATE SCHEMA t_two", "CREATE TABLE public.mine ()", "CREATE DATABASE mine"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    runtime.execute(statement)
            for statement in ("SET ROLE anyllm_owner", "SET SESSION AUTHORIZATION anyllm_owner"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    runtime.execute(statement)


def test_a_database_of_one_role_is_handed_over(tmp_path: Path) -> None:
    """As a folder that an earlier version made has it: all is the superuser's, and there are no other roles."""
    server = PostgresServer(tmp_path / "postgres", durable=False)
    with server, psycopg.connect(server.superuser_url, autocommit=True) as superuser:
        superuser.execute("ALTER DATABASE anyllm OWNER TO postgres")
        superuser.execute("DROP ROLE anyllm")
        superuser.execute("DROP ROLE anyllm_owner")
        superuser.execute("CREATE SCHEMA t_one")
        for schema in ("public", "t_one"):
            superuser.execute(f'CREATE TABLE {schema}."Kept" (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY)')
        assert set(owners(superuser).values()) == {"postgres"}

    with server, psycopg.connect(server.owner_url, autocommit=True) as owner:
        found = owners(owner)
        assert {"t_one", "Kept", "Kept_id_seq", "anyllm"} <= found.keys()
        assert set(found.values()) == {"anyllm_owner"}
        owner.execute('ALTER TABLE t_one."Kept" ADD COLUMN word text')


def test_of_a_server_with_one_known_role_both_are_made_where_that_may_be(tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        assert with_owner(server.url) == {"DATABASE_URL": server.url}
        first, second = with_owner(server.superuser_url), with_owner(server.superuser_url)
        assert first["DATABASE_URL"] != second["DATABASE_URL"]  # another password
        for urls in (first, second):
            with psycopg.connect(urls["DATABASE_URL"]) as runtime, psycopg.connect(urls["DATABASE_OWNER_URL"]) as owner:
                assert (runtime.info.user, owner.info.user) == ("anyllm_runtime", "postgres")
                assert runtime.info.dbname == owner.info.dbname == "anyllm"


def test_the_containers_statements_make_both_roles(tmp_path: Path) -> None:
    """docker/roles.sql, as the image's entry point runs it: by psql, as the superuser."""
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        postgres = make_conninfo(server.superuser_url, dbname="postgres")
        with psycopg.connect(postgres, autocommit=True) as superuser:
            for statement in ("DATABASE anyllm", "ROLE anyllm", "ROLE anyllm_owner"):
                superuser.execute(f"DROP {statement}")
        passwords = {"DATABASE_OWNER_PASSWORD": "of the owner", "DATABASE_PASSWORD": "it's the runtime's"}
        command = [postgres_program("psql"), "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--dbname={postgres}"]
        subprocess.run([*command, "--file=docker/roles.sql"], cwd=ROOT, env={**os.environ, **passwords}, check=True)
        with psycopg.connect(postgres) as superuser:
            roles = "SELECT rolname, rolsuper, rolcreaterole, rolpassword IS NOT NULL FROM pg_authid WHERE rolname ~ '^anyllm'"
            assert sorted(superuser.execute(roles)) == [
                ("anyllm", False, False, True),
                ("anyllm_owner", False, False, True),
            ]
            assert owners(superuser) == {"anyllm": "anyllm_owner"}


def test_postgres_below_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    with PostgresServer(folder, durable=False) as server:
        write(server)
        assert read(server) == "hello"
        with psycopg.connect(server.url) as connection:
            socket_dir = Path(connection.info.host)
        assert folder not in socket_dir.parents
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    assert not socket_dir.exists()


def test_only_this_user_reaches_the_servers(tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "postgres", durable=False) as postgres:
        socket_dir = postgres.data_dir / "socket"
        assert psutil.Process(postgres.pid).net_connections(kind="inet") == []
        assert stat.S_IMODE(socket_dir.stat().st_mode) == 0o700
    with ValkeyServer(tmp_path / "valkey", durable=False) as valkey:
        addresses = {c.laddr.ip for c in psutil.Process(valkey.pid).net_connections(kind="inet")}
        assert addresses == {"127.0.0.1"}
        assert stat.S_IMODE((valkey.data_dir / "valkey.conf").stat().st_mode) == 0o600
        password = valkey.url.split("@")[0].removeprefix("redis://:")
        assert not any(password in argument for argument in psutil.Process(valkey.pid).cmdline())
        with (
            redis.Redis.from_url(valkey.url.replace(password, "wrong")) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    with PostgresServer(folder, durable=False):
        pass
    (folder / "cluster" / "global" / "pg_control").unlink()

    server = PostgresServer(folder, durable=False)
    with pytest.raises(ServerError, match=r"(?s)postgres did not start.*pg_control"):
        server.start()

    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid


def test_postgres_by_root_without_setpriv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "postgres").mkdir()
    server = PostgresServer(tmp_path / "postgres", durable=False)
    with pytest.raises(ServerError, match="ordinary user, or set DATABASE_URL"):
        server._privileges()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts it as another user")
def test_postgres_by_root_sees_below_a_closed_folder(tmp_path: Path) -> None:
    """By access(2) too, which PostgreSQL uses and which drops capabilities by default."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    shutil.copy("/bin/true", closed)
    look = f"import os, sys; sys.exit(not (os.getuid() and os.access({str(closed / 'true')!r}, os.X_OK)))"

    as_nobody = PostgresServer(tmp_path / "postgres")._privileges()

    assert subprocess.run([*as_nobody, sys.executable, "-c", look], check=False).returncode == 0
