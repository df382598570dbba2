"""The browser's library, built for tests: modules for Node and one for a page, in a temporary folder."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.env import ROOT
from devstack.install import node_environment


def node(*arguments: str, text: str = "") -> str:
    """What Node said, run in the repository's root; AssertionError with all of it when it failed."""
    result = subprocess.run(
        ["node", *arguments],
        cwd=ROOT,
        env=node_environment(),
        input=text,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 0, f"$ node {' '.join(arguments)}\n{result.stdout}{result.stderr}"
    return result.stdout


@dataclass(frozen=True)
class Build:
    """The folder holds *.test.cjs and bridge.cjs for Node, browser.js for a page."""

    folder: Path

    @classmethod
    def into(cls, folder: Path) -> "Build":
        node("frontend/test/build.mjs", str(folder))
        return cls(folder)

    def ask(self, *questions: list[Any]) -> list[Any]:
        """Answers of the browser's library to `[function, argument…]`, see frontend/test/bridge.ts."""
        answers = json.loads(node(str(self.folder / "bridge.cjs"), text=json.dumps(questions)))
        assert len(answers) == len(questions)
        return list(answers)
