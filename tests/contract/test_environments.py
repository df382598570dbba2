"""An environment is used whole or not at all."""

from pathlib import Path

import pytest

from tests.contract import environments
from tests.contract.environments import LOCKS, python_of
from tests.contract.releases import CLIENTS, EMITTERS, SDKS, TRACERS, Release

RELEASES = [*CLIENTS, *SDKS, *TRACERS]


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.name)
def test_every_release_has_its_lock(release: Release) -> None:
    asked, locked = ((LOCKS / f"{release.name}{suffix}").read_text() for suffix in (".in", ".txt"))
    assert f"=={release.version}\n" in asked
    assert f"\n{release.package}=={release.version} \\\n" in locked


def test_a_lock_belongs_to_a_release() -> None:
    names = {release.name for release in RELEASES} | {EMITTERS.name}
    assert {path.name.removesuffix(".txt") for path in LOCKS.glob("*.txt")} == names
    assert {path.name.removesuffix(".in") for path in LOCKS.glob("*.in")} == names


def test_a_half_made_environment_is_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def uv(*arguments: str) -> None:
        said.append(arguments[0])
        if arguments[0] == "venv":
            Path(arguments[-1]).mkdir()
        elif "broken" in said:
            raise RuntimeError("the registry is gone")

    monkeypatch.setattr(environments, "FOLDER", tmp_path)
    monkeypatch.setattr(environments, "_uv", uv)
    said.append("broken")
    with pytest.raises(RuntimeError, match="the registry is gone"):
        python_of(CLIENTS[0])
    said.clear()
    python = python_of(CLIENTS[0])
    assert said == ["venv", "pip"]
    assert python.parent.parent.is_dir()
    assert not (tmp_path / f"{CLIENTS[0].name}.new").exists()
    assert python_of(CLIENTS[0]) == python
    assert said == ["venv", "pip"]


def test_a_failure_of_uv_is_told() -> None:
    with pytest.raises(RuntimeError, match="unrecognized subcommand"):
        environments._uv("no-such-command")
