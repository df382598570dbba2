"""Other stores of spans from PyPI, beside ours: on the same PostgreSQL server, each in a database and an environment of
its own (var/benchmarks/, made from locks/ on first use), started as their documentation says.

`python -m benchmarks.rivals` renews the lock files.
"""

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from benchmarks.client import HOST, LoadGenerator
from benchmarks.otlp import Spans
from config.env import ROOT
from devstack.servers import free_port
from tests.contract.environments import python_by, renew_locks
from tests.faults.stack import Program, Stack, wait_until

LOCKS = Path(__file__).parent / "locks"
FOLDER = ROOT / "var" / "benchmarks"
START_SECONDS = 300.0
# Rows are waited for until none has come for so long.
QUIET_SECONDS = 15.0
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Rival:
    """A server of spans. `{port}`, `{database}` and `{folder}` in its command and environment stand for what it is
    given; its spans are rows of the table `spans`."""

    name: str
    lock: str
    command: str
    environment: Mapping[str, str]
    health: str
    headers: Mapping[str, str] = field(default_factory=dict)


RIVALS = (
    Rival(
        name="arize-phoenix",
        lock="arize-phoenix.txt",
        command="-m phoenix.server.main serve",
        environment={
            "PHOENIX_HOST": HOST,
            "PHOENIX_PORT": "{port}",
            "PHOENIX_GRPC_PORT": "{other_port}",
            "PHOENIX_SQL_DATABASE_URL": "{database}",
            "PHOENIX_WORKING_DIR": "{folder}",
            "PHOENIX_TELEMETRY_ENABLED": "false",
        },
        health="/healthz",
    ),
    Rival(
        name="mlflow",
        lock="mlflow.txt",
        command=(
            f"-m mlflow server --host {HOST} --port {{port}} --backend-store-uri '{{database}}'"
            " --artifacts-destination {folder}"
        ),
        environment={"MLFLOW_DISABLE_TELEMETRY": "true"},
        health="/health",
        headers={"x-mlflow-experiment-id": "0"},  # the one that there always is
    ),
)


class Running:
    """A rival that has been started in the stack, and the rows it has stored."""

    def __init__(self, stack: Stack, rival: Rival, folder: Path) -> None:
        self.rival = rival
        self.port = free_port()
        # The role that the product runs as may not make databases.
        server = stack.environment.get("DATABASE_OWNER_URL", stack.environment["DATABASE_URL"])
        database = rival.name.replace("-", "_")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        place = {
            "port": str(self.port),
            "other_port": str(free_port()),
            "database": _url(server, database),
            "folder": str(folder / rival.name),
        }
        python = python_by(LOCKS / rival.lock, FOLDER)
        self.program: Program = stack.program(
            rival.name,
            command=f"{python} {rival.command.format(**place)}",
            **{name: value.format(**place) for name, value in rival.environment.items()},
        )
        self._connection = psycopg.connect(place["database"], autocommit=True)
        self.program.start()
        wait_until(self._is_ready, f"{rival.name} is ready", START_SECONDS)

    def _is_ready(self) -> bool:
        if not self.program.is_running:
            raise SystemExit(f"{self.rival.name} ended:\n{self.program.log.read_text(errors='replace')[-3000:]}")
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", self.rival.health)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def rows(self) -> int:
        [(count,)] = self._connection.execute("SELECT count(*) FROM spans").fetchall()
        return int(count)

    def measure(self, generator: LoadGenerator, spans: Spans, connections: int) -> tuple[int, float]:
        """The rows that a load left in the database, and the seconds from its start until the last of them stood
        there: some are acknowledged before they are stored."""
        generator.connect(self.port, connections)
        before = self.rows()
        sample = generator.run(spans, None)
        ended = time.perf_counter()
        started = ended - sample.seconds
        stored, last = self.rows() - before, time.perf_counter()
        while stored < spans.spans and time.perf_counter() - last < QUIET_SECONDS:
            time.sleep(LOOK_SECONDS)
            now = self.rows() - before
            if now > stored:
                stored, last = now, time.perf_counter()
        return stored, last - started


def _url(server: str, database: str) -> str:
    """Another database of that server, in the form that SQLAlchemy reads."""
    given = {name: str(value) for name, value in conninfo_to_dict(server).items() if value is not None}
    user = ":".join(quote(given[name], safe="") for name in ("user", "password") if name in given)
    rest = "&".join(f"{name}={quote(given[name], safe='')}" for name in ("host", "port") if name in given)
    return f"postgresql://{user}@/{database}?{rest}"


if __name__ == "__main__":
    renew_locks(LOCKS, "python -m benchmarks.rivals")
