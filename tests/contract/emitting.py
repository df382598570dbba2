"""Applications that are watched by emitters, each a process in the emitters' environment with a tenant of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from tests.contract import ledger
from tests.contract.children import Answering
from tests.contract.environments import python_of
from tests.contract.ledger import Found
from tests.contract.releases import EMITTERS
from tests.contract.scene import DRIVERS, Tenant
from tests.contract.scripted import Script, ScriptedProvider


@dataclass(frozen=True)
class Watched:
    """An application, and the emitters that watch it. Its spans are reported with the project's ingest token."""

    emitters: str
    tenant: Tenant
    driver: Answering
    provider: ScriptedProvider
    # The provider's address.
    scripted: str
    _known: set[str] = field(default_factory=set)

    def play(self, scene: str, script: Script = Script.OK) -> "Played":
        before = self._requests()
        base = f"{self.scripted}/{script}"
        failure = self.driver.ask("play", scene=scene, base=base, prompt=f"{scene} {self.tenant.word}")
        found = ledger.found(self.tenant.platform, self.tenant.schema, self._known)
        return Played(failure, self._requests() - before, found)

    def _requests(self) -> int:
        return sum(request.word == self.tenant.word for request in self.provider.requests)


@dataclass(frozen=True)
class Played:
    """The exception that the application saw, if any; how often the provider was asked; what the ledger made of it."""

    failure: str
    requests: int
    found: Found


@contextmanager
def watched(
    emitters: str, tenant: Tenant, provider: ScriptedProvider, scripted: str, folder: Path, *, origin: str = ""
) -> Iterator[Watched]:
    """`origin`: where spans are sent, if not straight to the platform."""
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "EMITTERS": emitters,
        "PROVIDER_KEY": tenant.provider_secret,
        # What people are told to set. Some would keep what names the machine or the program's arguments.
        "OTEL_SERVICE_NAME": "forecasts",
        "OTEL_RESOURCE_ATTRIBUTES": f"note={tenant.word}",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{origin or tenant.platform.origin}/v1/traces",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": f"authorization={quote(f'Bearer {tenant.ingest_token}')}",
    }
    file = DRIVERS / "emitters.py"
    with Answering(
        python_of(EMITTERS), file, environment=environment, folder=folder, log=folder / "emitter.log"
    ) as process:
        yield Watched(emitters, tenant, process, provider, scripted)
