"""An environment for each client release, made from its lock file on first use and kept in var/contract/.

`locks/<release>.in` says what a user would install, `locks/<release>.txt` every package of it with its hash.
`python -m tests.contract.environments` renews the .txt files.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from tests.contract.releases import Bundle, Release

ROOT = Path(__file__).resolve().parents[2]
LOCKS = Path(__file__).parent / "locks"
FOLDER = ROOT / "var" / "contract"


def python_of(release: Release | Bundle) -> Path:
    """The Python that has this release, or all of a bundle; its environment is made when it is not there."""
    return python_by(LOCKS / f"{release.name}.txt", FOLDER)


def python_by(lock: Path, folder: Path) -> Path:
    """The Python that has what a lock file says, in an environment below `folder` that is made when it is not there.

    It is made beside its place and renamed when complete, one process at a time: none is ever used half-made.
    """
    version = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:16]
    place = folder / f"{lock.stem}-{version}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / f"{lock.stem}.lock").open("a") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if not place.is_dir():
            new = folder / f"{lock.stem}.new"
            shutil.rmtree(new, ignore_errors=True)
            _uv("venv", "--quiet", "--python", sys.executable, str(new))
            python = str(new / "bin" / "python")
            _uv("pip", "sync", "--quiet", "--require-hashes", "--python", python, str(lock))
            new.rename(place)
    return place / "bin" / "python"


def renew_locks(locks: Path, command: str) -> None:
    """Makes each .txt in a folder anew from its .in; `command` is how the files say that they were made."""
    for source in sorted(locks.glob("*.in")):
        _uv(
            *("pip", "compile", "--quiet", "--universal", "--generate-hashes", "--python-version", "3.11"),
            *("--no-emit-index-url", "--custom-compile-command", command),
            *(source.name, "--output-file", source.with_suffix(".txt").name),
            folder=locks,
        )


def _uv(*arguments: str, folder: Path = LOCKS) -> None:
    command = [sys.executable, "-m", "uv", *arguments]
    result = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"$ uv {' '.join(arguments)}\n{result.stdout}{result.stderr}")


if __name__ == "__main__":
    renew_locks(LOCKS, "python -m tests.contract.environments")
