"""The one-command start: servers, migrations, and every process of the Procfile, until Ctrl-C."""

import errno
import fcntl
import http.client
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO

import psutil
import psycopg
from honcho.colour import get_colours
from honcho.environ import parse_procfile
from honcho.printer import Message, Printer

from config.env import Environment
from devstack.environment import OWNERS, write_environment
from devstack.install import ROOT, VENV, CommandError, run, say, step
from devstack.servers import PostgresServer, Server, ServerError, ValkeyServer, end, with_owner

HOST = "127.0.0.1"
READY_SECONDS = 120
STOP_SECONDS = 10
# In the environment of every process of a stack: the folder it belongs to.
MARK = "DEVSTACK_VAR"


class StackError(Exception):
    """The stack can't start, or has ended by itself; the text is for the person who typed the command."""


class Supervisor:
    """Runs commands side by side, shows their output and keeps it in a log file each.

    `ended` is a queue of (name, exit status), a row for each that ends.
    """

    def __init__(self, logs: Path, output: TextIO) -> None:
        self.ended: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self._logs = logs
        self._printer = Printer(output, width=8)
        self._print_lock = threading.Lock()
        self._colours = get_colours()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._relays: list[threading.Thread] = []

    def run(self, name: str, command: str, environment: dict[str, str]) -> None:
        """Start a Procfile line, in a session of its own: a Ctrl-C reaches us, and we stop it in order."""
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command}"],  # no shell stays in between, so signals reach the program
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes.append(process)
        log = self._logs / f"{name}.log"
        if log.exists():
            log.replace(log.with_suffix(".log.1"))
        relay = threading.Thread(target=self._relay, args=(name, process, log, next(self._colours)), daemon=True)
        relay.start()
        self._relays.append(relay)
        self.watch(name, process)

    def watch(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Report its end, too, for a process that somebody else started and will stop."""

        # Not the end of its output: children that outlive it may hold that open.
        def wait() -> None:
            self.ended.put((name, process.wait()))

        threading.Thread(target=wait, daemon=True).start()

    def stop(self) -> None:
        """Ask all to end, wait for 10 seconds, end the rest with what they started."""
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes:
            try:
                process.wait(max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                continue
        for process in self._processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in self._processes:
            process.wait()
        for relay in self._relays:
            relay.join(2)

    def _relay(self, name: str, process: subprocess.Popen[bytes], log: Path, colour: str) -> None:
        assert process.stdout is not None
        with process.stdout as output, log.open("wb") as file:
            for line in output:
                file.write(line)
                file.flush()
                now = datetime.now().astimezone()
                message = Message(type="line", data=line, time=now, name=name, colour=colour)
                try:
                    with self._print_lock:
                        self._printer.write(message)
                except OSError as error:
                    # The terminal was closed. make, where it leads the session, keeps the news to itself.
                    if error.errno == errno.EIO:
                        os.kill(os.getpid(), signal.SIGHUP)


def up() -> int:
    """Run the stack until it is stopped or fails; the exit status."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    var = ROOT / "var"
    try:
        port = _port()
        with _stoppable(), _only_one(var), ExitStack() as stack:
            _end_left_over(var)
            _check_port(port)
            _run_stack(var, port, stack)
    except KeyboardInterrupt:
        say("Stopped. The data is in var/, `make up` goes on with it.")
        return 0
    except (StackError, ServerError, CommandError) as error:
        say(f"\n{error}")
    return 1


def _run_stack(var: Path, port: int, stack: ExitStack) -> None:
    servers: dict[str, Server] = {}
    with step("PostgreSQL and Valkey"):
        for variable, name, kind in (
            ("DATABASE_URL", "postgres", PostgresServer),
            ("REDIS_URL", "valkey", ValkeyServer),
        ):
            if variable not in os.environ and f"{variable}_FILE" not in os.environ:
                servers[variable] = stack.enter_context(kind(var / name))
    postgres, valkey = servers.get("DATABASE_URL"), servers.get("REDIS_URL")
    write_environment(
        var / "dev.env",
        port=port,
        database_url=postgres.url if postgres else None,
        database_owner_url=postgres.owner_url if isinstance(postgres, PostgresServer) else None,
        redis_url=valkey.url if valkey else None,
    )
    environment = {
        **os.environ,
        **(_roles() if postgres is None else {}),
        "ENV_FILE": str(var / "dev.env"),
        "HOST": HOST,  # shells and build tools set it to other things
        "PORT": str(port),
        "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        MARK: str(var),
    }
    processes = parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes
    stack.callback(_end_left_over, var)
    with step("Migrations, prices, schema pool"):
        run("sh", "-c", processes.pop("release"), env=environment)
    # As in production: what answers requests can't act as the database's owner.
    without_owner = {**environment, "DATABASE_OWNER_URL": ""}
    logs = var / "log"
    logs.mkdir(exist_ok=True)
    supervisor = Supervisor(logs, sys.stdout)
    stack.callback(supervisor.stop)
    for server in servers.values():
        assert server.process is not None
        supervisor.watch(server.program, server.process)
    for name, command in processes.items():
        supervisor.run(name, command, environment if name in OWNERS else without_owner)
    _wait_until_ready(supervisor, port)
    _show_box(port)
    _raise_ended(*supervisor.ended.get())


def _roles() -> dict[str, str]:
    """Both of the database's URLs, where the environment has it: as given, or with a role made beside the one given."""
    env = Environment(os.environ, None)
    if env.text("DATABASE_OWNER_URL", ""):
        return {}
    try:
        return with_owner(env.text("DATABASE_URL"))
    except psycopg.Error as error:
        raise StackError(f"The database that DATABASE_URL names can't be used: {error}") from error


def _wait_until_ready(supervisor: Supervisor, port: int) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not _is_ready(port):
        try:
            _raise_ended(*supervisor.ended.get(timeout=0.2))
        except queue.Empty:
            if time.monotonic() > deadline:
                raise StackError(
                    f"http://{HOST}:{port}/readyz has not answered in {READY_SECONDS} s. var/log/ has the logs."
                ) from None


def _raise_ended(name: str, status: int) -> None:
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    raise StackError(f"{name} {how}, so everything is stopped. Its log is in var/.")


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _show_box(port: int) -> None:
    # By name: browsers allow security keys on localhost, and on no number.
    site = f"http://localhost:{port}"
    lines = [
        f"Open   {site}",
        "Try    .venv/bin/python manage.py demo --json --provider-key openai=sk-…",
        f"Mail   {site}/dev/mail/ shows what would have been sent",
        "Look   var/log/ has the logs, var/postgres/ and var/valkey/ the data",
        "Stop   Ctrl-C",
    ]
    width = max(map(len, lines))
    edge = "─" * (width + 2)
    say("\n".join(["", f"╭{edge}╮", *(f"│ {line:<{width}} │" for line in lines), f"╰{edge}╯", ""]))


def _port() -> int:
    text = os.environ.get("PORT", "8000")
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise StackError(f"PORT={text} is no port: it must be a number from 1 to 65535.")
    return int(text)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        # A port whose last connections are still closing can be listened on.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise StackError(
                f"Port {port} of {HOST} can't be used: {os.strerror(error.errno or 0)}."
                f" End what uses it, or choose another: make up PORT={port % 65535 + 1}"
            ) from error


@contextmanager
def _only_one(var: Path) -> Iterator[None]:
    """Hold this clone's lock; StackError when another process has it."""
    try:
        var.mkdir(mode=0o700, exist_ok=True)
        var.chmod(0o700)
        file = (var / "up.lock").open("a+")
    except PermissionError as error:
        raise StackError(f"{var} belongs to another user: {error}") from error
    with file:
        try:
            # A record lock: it ends with this process and is not inherited by those it starts.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise StackError(f"This clone's stack is running already: {file.read().strip()}") from error
        file.truncate(0)
        file.write(f"process {os.getpid()}\n")
        file.flush()
        yield


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM and a closed terminal stop the stack as Ctrl-C does; while it stops, nothing interrupts that."""

    def stop(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        say("\nStopping …")
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_left_over(var: Path) -> None:
    """Kill what a stack of this folder left running, as one that was killed does. Servers see to their own."""
    while processes := [process for process in psutil.process_iter() if _belongs_to(process, var)]:
        end(processes)


def _belongs_to(process: psutil.Process, var: Path) -> bool:
    try:
        return process.pid != os.getpid() and process.environ().get(MARK) == str(var)
    except psutil.Error:  # ended, or somebody else's
        return False
