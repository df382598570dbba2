import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(4))
@pytest.mark.xdist_group("together")
def test_together(number):
    with (pathlib.Path(__file__).parent / "processes").open("a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
"""


@pytest.mark.parametrize(("plugins", "processes"), [(["-p", "tests.plugins.groups"], 1), ([], 2)])
def test_a_group_stays_together(plugins: list[str], processes: int, tmp_path: Path) -> None:
    """And without the plugin it does not: once this fails for the second case, the plugin is no longer needed."""
    for name in "ab":
        (tmp_path / f"test_{name}.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", "--dist", "loadgroup", *plugins]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    # Three processes would import them all, and need none of them.
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    result = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    assert len(set((tmp_path / "processes").read_text().split())) == processes
