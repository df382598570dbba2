"""What every measurement needs: a stack, a web server on it that is ready, and what else ran on the machine."""

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.measure import tree_seconds
from tests.faults.stack import Program, Stack, wait_until

WSGI = "benchmarks.wsgi:application"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Noise:
    """What else ran on the machine meanwhile."""

    def __init__(self) -> None:
        self.load_before = os.getloadavg()[0]
        self._busy, self._mine, self._at = self._now(), tree_seconds(os.getpid()), time.monotonic()

    def report(self) -> dict[str, object]:
        seconds = (time.monotonic() - self._at) * (os.cpu_count() or 1)
        return {
            "machine": f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}",
            "load_average": {"before": round(self.load_before, 2), "after": round(os.getloadavg()[0], 2)},
            "others_percent": round(
                100 * max(0.0, self._now() - self._busy - (tree_seconds(os.getpid()) - self._mine)) / seconds, 1
            ),
        }

    @staticmethod
    def _now() -> float:
        times = psutil.cpu_times()
        return float(times.user + times.nice + times.system)


@contextmanager
def stack_of(tenants: int) -> Iterator[Stack]:
    """A stack in a temporary folder; its PostgreSQL is that of DATABASE_URL, where it is set."""
    given = {name: os.environ[name] for name in ("DATABASE_URL",) if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="anyllm-benchmarks-") as folder:
        say(f"PostgreSQL (durable), Valkey, organizations: {tenants} …")
        with Stack(Path(folder), tenants=tenants, environment=given) as stack:
            yield stack


def web_command(stack: Stack) -> str:
    """The Procfile's, with the empty view added."""
    command = stack.commands["web"]
    assert command.endswith(" config.wsgi:application"), command
    return command.replace("config.wsgi:application", WSGI)


def start(stack: Stack, name: str, command: str, port: int, **environment: str) -> Program:
    web = stack.program(name, command=command, PORT=str(port), **environment)
    web.start()
    wait_until(lambda: stack.is_ready(port), f"{name} is ready")
    return web
