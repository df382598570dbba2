"""The real client and the real SDK at the ground's address, a process each in an environment of its own, and what is
behind them: a provider. No page of ours is involved."""

import base64
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.contract.children import RemoteError
from tests.contract.environments import python_of
from tests.contract.fakes import FakeProvider
from tests.contract.releases import CLIENTS, SDKS, ClientRelease
from tests.contract.scene import Running, driver
from tests.e2e.ground import Ground
from tests.e2e.leaks import Canaries

EVERY_SECONDS = 0.1
# By the command line's own functions, as `any-llm key generate` uses them.
GENERATE = """
import json
from any_llm_platform_client import crypto
private, public = crypto.generate_keypair()
print(json.dumps([crypto.format_any_llm_key(private), crypto.extract_public_key(private)]))
"""


def add_any_llm_key(canaries: Canaries, key: str) -> None:
    """It may be on the page and with programs, and nowhere else: neither on the server nor in what is sent."""
    canaries.add("ANY_LLM_KEY", key)
    canaries.add("private key of an ANY_LLM_KEY", base64.b64decode(key.partition("-")[2], validate=True))


@dataclass
class Fetches:
    """What one program got that kept on asking."""

    values: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def add(self, value: str | None, refusal: str = "") -> None:
        with self._changed:
            if value is None:
                self.refusals.append(refusal)
            else:
                self.values.append(value)
            self._changed.notify_all()

    def wait_for_more(self, number: int = 3, seconds: float = 20) -> None:
        """So many answers that were asked for from now on."""
        deadline = time.monotonic() + seconds
        with self._changed:
            # The first of them may have been under way.
            wanted = len(self.values) + len(self.refusals) + 1 + number
            while len(self.values) + len(self.refusals) < wanted:
                assert self._changed.wait(deadline - time.monotonic()), f"no answers in {seconds:g} s"


class Client:
    """`any-llm-platform-client` 0.4.0."""

    def __init__(self, running: Running[ClientRelease], url: str, folder: Path) -> None:
        self._running = running
        self._url = url
        self._folder = folder

    def fetch(self, key: str, provider: str) -> str:
        """The provider key, decrypted; RemoteError with what the client raises."""
        found: dict[str, str] = self._running.driver.ask("fetch", key=key, provider=provider)
        return found["api_key"]

    def refusal(self, key: str, provider: str) -> str:
        """What the client says when it gets none."""
        try:
            self.fetch(key, provider)
        except RemoteError as error:
            return f"{error.kind}: {error.text}"
        raise AssertionError(f"the client got a key for {provider}")

    def key_pair(self) -> tuple[str, bytes]:
        """(ANY_LLM_KEY, public key), made as its command line makes them."""
        command = [str(self._running.python), "-s", "-P", "-c", GENERATE]
        done = subprocess.run(command, env=self._running.environment, capture_output=True, text=True, check=True)
        any_llm_key, public_key = json.loads(done.stdout)
        return any_llm_key, base64.b64decode(public_key)

    @contextmanager
    def fetching(self, key: str, provider: str) -> Iterator[Fetches]:
        """A program of its own that asks every 100 ms, with a new sign-in each time, until the block ends."""
        fetches, done = Fetches(), threading.Event()
        with driver(self._running.release, self._url, self._folder) as another:
            program = Client(another, self._url, self._folder)

            def run() -> None:
                while not done.wait(EVERY_SECONDS):
                    try:
                        fetches.add(program.fetch(key, provider))
                    except RemoteError as error:
                        fetches.add(None, str(error))

            thread = threading.Thread(target=run)
            thread.start()
            try:
                fetches.wait_for_more(1)
                yield fetches
            finally:
                done.set()
                thread.join()


@contextmanager
def real_client(ground: Ground, folder: Path) -> Iterator[Client]:
    [release] = [release for release in CLIENTS if release.version == "0.4.0"]
    url = f"{ground.url}/api/v1"
    with driver(release, url, folder) as running:
        yield Client(running, url, folder)


@dataclass
class Sdk:
    """The newest `any-llm-sdk`, and a provider that speaks OpenAI's protocol."""

    provider: FakeProvider
    api_base: str
    folder: Path

    def run(self, program: str, variables: dict[str, str]) -> str:
        """What a Python program prints that somebody copied from a page, with the variables that they exported."""
        python = python_of(SDKS[-1])
        environment = {"PATH": os.defpath, "HOME": str(self.folder), "LANG": "C.UTF-8", **variables}
        environment["OPENAI_BASE_URL"] = self.api_base
        command = [str(python), "-s", "-P", "-c", program]
        done = subprocess.run(
            command, env=environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def real_sdk(folder: Path) -> Iterator[Sdk]:
    provider = FakeProvider()
    with provider.running() as api_base:
        yield Sdk(provider, api_base, folder)
