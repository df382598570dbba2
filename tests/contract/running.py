"""The platform as it runs in production, with a database of its own."""

import http.client
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from honcho.environ import parse_procfile
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from tests.contract.children import Answering, Child

ROOT = Path(__file__).resolve().parents[2]
CONTROL = Path(__file__).with_name("control.py")
HOST = "127.0.0.1"
READY_SECONDS = 60
# Of the role that makes and changes tables; the programs that only use them are not given it.
OWNER_URL = "DATABASE_OWNER_URL"


@dataclass(frozen=True)
class Platform:
    """A running server: where it is, its log and its database's, the database, and the process that changes it."""

    origin: str
    web_log: Path
    database_log: Path | None
    control: Answering
    database: psycopg.Connection[dict[str, Any]]

    def usage(self) -> list[dict[str, Any]]:
        """Every usage event of every tenant, with its schema."""
        tables = self.database.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'ledger_usageevent'")
        schemas = [row["schemaname"] for row in tables]
        one = sql.SQL("SELECT {name} AS schema, e.* FROM {schema}.ledger_usageevent e")
        parts = [one.format(name=sql.Literal(name), schema=sql.Identifier(name)) for name in schemas]
        return self.database.execute(sql.SQL(" UNION ALL ").join(parts)).fetchall() if parts else []

    def tables_holding(self, schema: str, *texts: str) -> set[str]:
        """The tables, of this schema and of the shared one, that hold any of `texts`: as text or as bytes. Not the
        price list, which is the same for everybody."""
        tables = self.database.execute(
            "SELECT schemaname, tablename FROM pg_tables"
            " WHERE schemaname IN ('public', %s) AND NOT starts_with(tablename, 'pricing_')",
            [schema],
        ).fetchall()
        needles = [form for text in texts for form in (text, text.encode().hex())]
        query = sql.SQL(
            "SELECT count(*) AS found FROM (SELECT t::text AS line FROM {} t) lines"
            " WHERE EXISTS (SELECT FROM unnest(%s::text[]) needle WHERE strpos(line, needle) > 0)"
        )
        holding = set()
        for table in tables:
            name = sql.Identifier(table["schemaname"], table["tablename"])
            if self.database.execute(query.format(name), [needles]).fetchall() != [{"found": 0}]:
                holding.add(table["tablename"])
        return holding


@contextmanager
def platform(folder: Path) -> Iterator[Platform]:
    """Start the Procfile's web command with two processes, against a new database that is dropped afterwards."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    with ExitStack() as stack:
        urls = stack.enter_context(_database(f"contract_{worker}_{os.getpid()}"))
        port = free_port()
        origin = f"http://{HOST}:{port}"
        environment = {
            **os.environ,
            **urls,
            "REDIS_URL": _redis_of(worker),
            "SITE_URL": origin,
            "HOST": HOST,
            "PORT": str(port),
            "WEB_WORKERS": "2",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            # What must never be in a log is looked for at the most talkative level.
            "LOG_LEVEL": "DEBUG",
        }
        control = stack.enter_context(
            Answering.beside_us(CONTROL, environment=environment, folder=ROOT, log=folder / "control.log")
        )
        control.ask("prepare")
        command = parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes["web"]
        shell = ["sh", "-c", f"exec {command}"]
        # As it is deployed: web is not the database's owner.
        of_web = {name: value for name, value in environment.items() if name != OWNER_URL}
        web = stack.enter_context(Child(shell, environment=of_web, folder=ROOT, log=folder / "web.log"))
        _wait_until_ready(web, port)
        owner = urls.get(OWNER_URL, urls["DATABASE_URL"])
        database = stack.enter_context(psycopg.connect(owner, autocommit=True, row_factory=dict_row))
        yield Platform(origin, web.log, _database_log(), control, database)


@contextmanager
def _database(name: str) -> Iterator[dict[str, str]]:
    """The connection strings of a new database, on the server that DATABASE_URL names: of each role that there is."""
    servers = {variable: os.environ[variable] for variable in ("DATABASE_URL", OWNER_URL) if variable in os.environ}
    owner = servers.get(OWNER_URL, servers["DATABASE_URL"])
    identifier = sql.Identifier(name)
    # Waits a moment for backends whose clients are gone.
    drop = sql.SQL("DROP DATABASE IF EXISTS {}").format(identifier)
    with psycopg.connect(make_conninfo(owner, dbname="postgres"), autocommit=True) as connection:
        connection.execute(drop)
        connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
        try:
            yield {variable: make_conninfo(server, dbname=name) for variable, server in servers.items()}
        finally:
            connection.execute(drop)


def _database_log() -> Path | None:
    """The server's log where it is the one that the tests start; None where DATABASE_URL names another."""
    log = os.environ.get("POSTGRES_LOG")
    return Path(log) if log else None


def _redis_of(worker: str) -> str:
    """A numbered database apart from the other tests': they count failures of the same address in theirs."""
    number = 8 + int(worker.removeprefix("gw")) % 8
    return urlunsplit(urlsplit(os.environ["REDIS_URL"])._replace(path=f"/{number}"))


def free_port() -> int:
    """Free now, and below the range that outgoing connections take theirs from, so that it stays so."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


def _wait_until_ready(web: Child, port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(port):
        try:
            web.process.wait(0.1)
        except subprocess.TimeoutExpired:
            if time.monotonic() < deadline:
                continue
        raise web.failure("The web server is not ready")


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
