"""A machine is a folder of small programs that say what they are, or fail."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack import chromium
from devstack.chromium import ensure, find, main
from devstack.install import CommandError, run

Machine = Callable[..., Path]


@pytest.fixture
def playwrights_own(tmp_path: Path) -> Path:
    return tmp_path / "playwright" / "chrome"


@pytest.fixture
def program(tmp_path: Path, playwrights_own: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Puts a program on the PATH of a machine that has nothing else; a name with a slash is a whole path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    def program(name: str, script: str = "exit 0") -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    # The Python that asks Playwright where its own is, and installs it there unless it is broken.
    python = program("python", f'case "$*" in -c*) echo {playwrights_own} ;; *) echo "no way out" >&2; exit 7 ;; esac')
    monkeypatch.setattr(sys, "executable", str(python))
    return program


def test_the_one_that_is_named_comes_first(program: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    program("chromium")
    named = program("my-browser")
    monkeypatch.setenv("CHROMIUM", str(named))
    assert find() == named


@pytest.mark.parametrize("script", [None, "exit 1"])
def test_a_named_one_that_does_not_start_is_an_error(
    script: str | None, program: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("chromium")
    named = program("my-browser", script) if script else tmp_path / "nowhere"
    monkeypatch.setenv("CHROMIUM", str(named))
    with pytest.raises(CommandError, match=f"CHROMIUM={named} does not start"):
        find()


def test_programs_on_the_path_in_their_order(program: Machine) -> None:
    chrome = program("google-chrome")
    assert find() == chrome
    browser = program("chromium-browser")
    assert find() == browser
    chromium = program("chromium")
    assert find() == chromium


def test_one_that_does_not_start_is_passed_over(program: Machine) -> None:
    program("chromium-browser", 'echo "please install the snap" >&2; exit 1')
    chrome = program("google-chrome")
    assert find() == chrome


def test_playwrights_own_comes_last(program: Machine, playwrights_own: Path) -> None:
    assert find() is None
    own = program(str(playwrights_own))
    assert find() == own
    on_the_path = program("google-chrome")
    assert find() == on_the_path


def test_root_on_debian_installs_its_package(program: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    said, place = tmp_path / "said", tmp_path / "bin" / "chromium"
    shell = f'echo "$*" >>{said}\n[ "$1" = update ] || {{ echo "#!/bin/sh" >{place}; /bin/chmod 755 {place}; }}'
    program("apt-get", shell)
    assert ensure() == place
    assert said.read_text().splitlines() == ["update", "install -y --no-install-recommends chromium"]
    assert ensure() == place
    assert len(said.read_text().splitlines()) == 2, "what is there is not installed again"


def test_others_get_playwrights_own(program: Machine, playwrights_own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[tuple[str, ...]] = []

    def running(*command: str) -> str:
        if command[1] == "-m":
            installed.append(command[1:])
            program(str(playwrights_own))
        return run(*command)

    # What counts is that there is a browser afterwards, not what the installation says: here, that it failed.
    monkeypatch.setattr(chromium, "run", running)
    assert ensure() == playwrights_own
    assert installed == [("-m", "playwright", "install", "chromium")]


def test_without_any_way_it_says_what_to_run(
    program: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program("apt-get", 'echo "mirror is down"; exit 100')
    assert main() == 1
    said = capsys.readouterr().out
    assert "mirror is down" in said
    assert "no way out" in said
    assert "apt-get install -y chromium" in said
    assert "playwright install --with-deps chromium" in said
    assert "CHROMIUM=/path/to/chromium" in said
