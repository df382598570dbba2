"""The Chromium that browser tests drive: found, or else installed. `python -m devstack chromium` makes sure of one."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from devstack.install import CommandError, run, say, step

# In this order, on the PATH.
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# Seconds: the first start after an installation reads all of it from disk.
START_SECONDS = 60
ADVICE = f"""\
The tests in tests/e2e need a Chromium, and this machine has none. Do one of these, then run `make test` again:
  Debian:  sudo apt-get update && sudo apt-get install -y chromium
  others:  {sys.executable} -m playwright install --with-deps chromium
  or name one that you have:  export CHROMIUM=/path/to/chromium"""


def find() -> Path | None:
    """The Chromium that CHROMIUM names, else one on the PATH, else Playwright's own; None when no candidate starts.

    Raises CommandError when CHROMIUM names something that does not start: what was asked for is not replaced.
    """
    if named := os.environ.get("CHROMIUM"):
        if not _starts(named):
            raise CommandError(f"CHROMIUM={named} does not start: `{named} --version` fails.")
        return Path(named)
    return next((Path(candidate) for candidate in _candidates() if _starts(candidate)), None)


def ensure() -> Path:
    """What `find` finds, after an installation where it found nothing; CommandError says what was tried and what to
    run by hand."""
    if found := find():
        return found
    failures = []
    for command in _installations():
        try:
            with step("Chromium"):
                if command[0] == "apt-get":
                    run("apt-get", "update")
                run(*command)
        except CommandError as error:
            failures.append(str(error))
        if found := find():
            return found
    raise CommandError("\n\n".join([*failures, ADVICE]))


def main() -> int:
    try:
        ensure()
    except CommandError as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _candidates() -> Iterator[str]:
    for program in PROGRAMS:
        if path := shutil.which(program):
            yield path
    # Only its driver knows where Playwright puts its own, of the release that is installed.
    code = "from playwright.sync_api import sync_playwright as p\nwith p() as p: print(p.chromium.executable_path)"
    yield run(sys.executable, "-c", code).strip()


def _starts(program: str) -> bool:
    """Ubuntu's `chromium-browser` may be a script that only speaks of snap; Playwright's may lack system libraries."""
    try:
        result = subprocess.run([program, "--version"], capture_output=True, timeout=START_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0


def _installations() -> Iterator[tuple[str, ...]]:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        yield "apt-get", "install", "-y", "--no-install-recommends", "chromium"
    yield sys.executable, "-m", "playwright", "install", "chromium"
