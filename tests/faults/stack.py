"""The product as it runs in production, by the Procfile's commands, on servers of its own that can be killed."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
from honcho.environ import parse_procfile

from config.env import ROOT
from devstack.browser import ProjectKeyPair
from devstack.environment import OWNERS
from devstack.servers import PostgresServer, ValkeyServer, end, free_port, with_owner

HOST = "127.0.0.1"
SECONDS = 30.0
STOP_SECONDS = 15.0


def wait_until(condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Returns when `condition` holds; AssertionError, naming it, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


class Program:
    """A shell command and every process below it, in a process group of its own."""

    def __init__(self, name: str, command: str, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self._process is None, f"{self.name} is running already"
        with self.log.open("ab") as log:
            # `exec`: no shell stays in between.
            self._process = subprocess.Popen(
                ["sh", "-c", f"exec {self._command}"],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def main(self) -> psutil.Process:
        assert self._process is not None, f"{self.name} is not running"
        return psutil.Process(self._process.pid)

    def tree(self) -> list[psutil.Process]:
        """The main process first."""
        return [self.main, *self.main.children(recursive=True)]

    def kill(self) -> None:
        """SIGKILL to all of it, at once; nothing when it is not running."""
        if self._process is None:
            return
        processes = self.tree() if self.is_running else []
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        end(processes)
        self._process.wait()
        self._process = None

    def stop(self) -> None:
        """Asks it to end; kills what has not after 15 seconds."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organization's project, as an application that uses it knows it; `schema` is for looking behind."""

    any_llm_key: str
    private_key: str
    token: str
    schema: str
    project_id: str
    provider_key_id: str
    provider: str
    secret: str

    @property
    def key(self) -> ProjectKeyPair:
        return ProjectKeyPair(bytes.fromhex(self.private_key))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Stack:
    """PostgreSQL and Valkey, both durable, a migrated database with organizations in it, and the programs of the
    Procfile, of which only those in `OWNERS` may act as the database's owner. Environment variables that the caller
    names come first; a DATABASE_URL among them is used in place of a PostgreSQL of our own. A context manager."""

    def __init__(self, folder: Path, *, tenants: int = 1, environment: Mapping[str, str] | None = None) -> None:
        self._stack = ExitStack()
        self._folder = folder
        self._tenant_count = tenants
        self.postgres = PostgresServer(folder / "postgres", durable=True)
        self.valkey = ValkeyServer(folder / "valkey", durable=True)
        self.port = free_port()
        self.exports = folder / "exports"
        given = dict(environment or {})
        # For what no program may do: the server's settings, other roles' statements.
        self._superuser_url = (
            given.get("DATABASE_OWNER_URL") or given.get("DATABASE_URL") or self.postgres.superuser_url
        )
        if "DATABASE_URL" not in given:
            given |= {"DATABASE_URL": self.postgres.url, "DATABASE_OWNER_URL": self.postgres.owner_url}
        elif "DATABASE_OWNER_URL" not in given:
            given |= {"DATABASE_OWNER_URL": "", **with_owner(given["DATABASE_URL"])}
        self.environment = {
            **os.environ,
            "ENV_FILE": str(ROOT / "tests" / "settings.env"),
            "REDIS_URL": self.valkey.url,
            "HOST": HOST,
            "PORT": str(self.port),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",
            "EXPORTS_FOLDER": str(self.exports),
            **given,
        }
        # Of the Procfile, by name.
        self.commands: dict[str, str] = parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes
        self.tenants: list[Tenant] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._superuser_url == self.postgres.superuser_url:
                stack.enter_context(self.postgres)
            stack.enter_context(self.valkey)
            self._run("sh", "-c", f"{self.commands['release']} --verbosity 0")
            if self._tenant_count:
                made = self.run("tests.faults.prepare", self._tenant_count)
                self.tenants = [Tenant(**tenant) for tenant in json.loads(made)]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, module: str, number: int) -> str:
        """What `main(number)` of a module prints, in a process with this stack's settings."""
        return self._run(
            sys.executable, "-c", f"import django; django.setup(); from {module} import main; main({number})"
        )

    def _run(self, *command: str) -> str:
        environment = {"DJANGO_SETTINGS_MODULE": "config.settings", **self.environment}
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
        return result.stdout

    def program(self, name: str, *, command: str | None = None, **environment: str) -> Program:
        """A line of the Procfile, or another command under its name; not started, ended with the stack."""
        roles = {} if name in OWNERS else {"DATABASE_OWNER_URL": ""}
        program = Program(
            name,
            command or self.commands[name],
            {**self.environment, **roles, **environment},
            self._folder / f"{name}.log",
        )
        self._stack.callback(program.kill)
        return program

    def request(
        self, method: str, path: str, body: object = None, *, token: str | None = None, port: int | None = None
    ) -> Answer:
        """One request on a connection of its own. Raises OSError and HTTPException, as a client sees them."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection = http.client.HTTPConnection(HOST, port or self.port, timeout=SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return Answer(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    def is_ready(self, port: int | None = None) -> bool:
        """Whether web says that it can serve."""
        try:
            return self.request("GET", "/readyz", port=port).status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def query(self, sql: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """Rows from the database, past the product and its roles."""
        with psycopg.connect(self._superuser_url, autocommit=True) as connection:
            cursor = connection.execute(sql, parameters)
            return [] if cursor.description is None else cursor.fetchall()
