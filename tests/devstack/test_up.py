import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from honcho.environ import parse_procfile

from apps.analytics.tasks import make_export
from config.celery import app as celery
from devstack import up
from devstack.install import ROOT
from devstack.up import MARK, Supervisor


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with nothing in it, for what fails before anything is started."""
    monkeypatch.setattr(up, "ROOT", tmp_path)
    monkeypatch.setenv("PORT", "8000")
    return tmp_path


@pytest.fixture
def terminal() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervisor(tmp_path: Path, terminal: io.StringIO) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path, terminal)
    yield supervisor
    supervisor.stop()


def is_gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def environment(var: Path) -> dict[str, str]:
    return {**os.environ, MARK: str(var)}


def test_the_procfile_has_what_is_started() -> None:
    procfile = parse_procfile((ROOT / "Procfile").read_text())
    assert set(procfile.processes) == {"web", "worker", "exporter", "beat", "release"}


def test_every_queue_has_one_program() -> None:
    queues = re.findall(r"--queues (\S+)", (ROOT / "Procfile").read_text())
    routed = [route["queue"] for route in celery.conf.task_routes.values()]
    assert sorted(queues) == sorted({celery.conf.task_default_queue, *routed})
    assert celery.amqp.router.route({}, make_export.name)["queue"].name == "exports"


def test_a_port_in_use_is_an_error_before_anything_starts(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("PORT", str(port))
        assert up.up() == 1
    said = capsys.readouterr().out
    assert f"Port {port} of 127.0.0.1 can't be used" in said
    assert "make up PORT=" in said
    assert [path.name for path in (root / "var").iterdir()] == ["up.lock"]


@pytest.mark.parametrize("port", ["", "http", "0", "65536", "-1"])
def test_a_port_must_be_one(
    port: str, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", port)
    assert up.up() == 1
    assert f"PORT={port} is no port" in capsys.readouterr().out
    assert list(root.iterdir()) == []


def test_a_database_of_ones_own_keeps_the_roles_it_is_given(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_OWNER_URL", "postgresql://owner@/nowhere")
    assert up._roles() == {}
    monkeypatch.delenv("DATABASE_OWNER_URL")
    (tmp_path / "url").write_text(f"postgresql://somebody@/nowhere?host={tmp_path}\n")
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))
    with pytest.raises(up.StackError, match="DATABASE_URL names can't be used"):
        up._roles()


def test_a_second_stack_of_the_same_clone_is_an_error(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; from pathlib import Path; from devstack import up\n"
        "with up._only_one(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(root / "var")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        assert up.up() == 1
        assert f"running already: process {first.pid}" in capsys.readouterr().out
        first.kill()
    # What a killed one leaves behind is no lock.
    with up._only_one(root / "var"):
        assert (root / "var" / "up.lock").read_text() == f"process {os.getpid()}\n"


def test_what_a_killed_stack_left_is_ended_and_nothing_else(tmp_path: Path) -> None:
    command = ["sh", "-c", "sleep 1000 & echo started; wait"]

    def start(var: Path) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(command, env=environment(var), stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        return process

    with start(tmp_path / "ours") as ours, start(tmp_path / "others") as others:
        children = psutil.Process(ours.pid).children()
        assert len(children) == 1

        up._end_left_over(tmp_path / "ours")

        assert ours.wait() == -signal.SIGKILL
        assert is_gone(children[0])
        assert others.poll() is None
        up._end_left_over(tmp_path / "others")


def test_a_process_that_ends_is_reported_and_its_output_kept(
    supervisor: Supervisor, tmp_path: Path, terminal: io.StringIO
) -> None:
    (tmp_path / "web.log").write_text("the run before\n")

    supervisor.run("web", "sh -c 'echo out of cheese; exit 7'", environment(tmp_path))
    supervisor.run("worker", "sleep 1000", environment(tmp_path))

    assert supervisor.ended.get(timeout=30) == ("web", 7)
    supervisor.stop()
    assert (tmp_path / "web.log").read_text() == "out of cheese\n"
    assert (tmp_path / "web.log.1").read_text() == "the run before\n"
    assert "web      | out of cheese" in terminal.getvalue()
    assert supervisor.ended.get(timeout=30) == ("worker", -signal.SIGTERM)


def test_stopping_ends_the_children_of_what_does_not_listen(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "STOP_SECONDS", 0.2)
    code = (
        "import signal, subprocess; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(subprocess.Popen(['sleep', '1000']).pid, flush=True); signal.pause()"
    )
    supervisor.run("worker", f'{sys.executable} -c "{code}"', environment(tmp_path))
    log = tmp_path / "worker.log"
    while not log.is_file() or not log.read_text().endswith("\n"):
        assert supervisor.ended.empty()
    child = psutil.Process(int(log.read_text()))

    supervisor.stop()

    assert supervisor.ended.get(timeout=30) == ("worker", -signal.SIGKILL)
    deadline = time.monotonic() + 30
    while not is_gone(child):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_stack_once(number: signal.Signals) -> None:
    """Whoever presses Ctrl-C again while it stops does not cut that short."""
    before = signal.getsignal(number)
    done = []

    def run() -> None:
        try:
            os.kill(os.getpid(), number)
            done.append("went on")
        finally:
            os.kill(os.getpid(), number)
            done.append("stopped in order")

    with pytest.raises(KeyboardInterrupt), up._stoppable():
        run()
    assert done == ["stopped in order"]
    assert signal.getsignal(number) is before


def test_the_box_says_where_the_pages_and_the_mail_are(capsys: pytest.CaptureFixture[str]) -> None:
    up._show_box(8123)
    box = capsys.readouterr().out
    assert "http://localhost:8123 " in box
    assert "http://localhost:8123/dev/mail/" in box
