"""What a contract test works with: an organization of its own, and a running release of a client."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from tests.contract.children import Answering
from tests.contract.environments import python_of
from tests.contract.fakes import FakeProvider, ProviderCall
from tests.contract.releases import Release, SdkRelease
from tests.contract.running import Platform

DRIVERS = Path(__file__).parent / "drivers"
R = TypeVar("R", bound=Release)


@dataclass(frozen=True)
class Tenant:
    """An organization of one test: its project, the project's key, and a provider key for openai and anthropic."""

    schema: str
    project_id: str
    key: str
    ingest_token: str
    provider_key_id: str
    # What was sealed, and a word that is in every prompt and answer: neither may ever reach the platform.
    provider_secret: str
    word: str
    platform: Platform
    provider: FakeProvider
    api_base: str
    _known: frozenset[Any] = field(repr=False)

    def call(self, text: str = "", *, provider: str = "openai", model: str = "gpt-4o-mini") -> dict[str, str]:
        """A call's arguments, as drivers/sdk.py takes them."""
        return {
            "provider": provider,
            "model": model,
            "prompt": f"{self.word} {text}",
            "key": self.key,
            "api_base": self.api_base,
        }

    def provider_calls(self) -> list[ProviderCall]:
        return [call for call in self.provider.calls if self.word in call.prompt]

    def new_usage(self) -> list[dict[str, Any]]:
        """What was stored since this tenant was made, whoever's it is."""
        return [row for row in self.platform.usage() if row["id"] not in self._known]

    def retire_key(self) -> None:
        assert self.platform.control.ask("retire", project_id=self.project_id) is True

    def archive_provider_key(self) -> None:
        key = {"schema": self.schema, "provider_key_id": self.provider_key_id}
        assert self.platform.control.ask("archive_provider_key", **key) == 1


@dataclass(frozen=True)
class Running(Generic[R]):
    """A process of a release, in its own environment."""

    release: R
    python: Path
    driver: Answering
    environment: dict[str, str]


@contextmanager
def new_tenant(platform: Platform, provider: FakeProvider, api_base: str) -> Iterator[Tenant]:
    """At its end it makes sure that no secret has come to where it must not be."""
    secret, word = f"provider-secret-{secrets.token_hex(16)}", f"word-{secrets.token_hex(16)}"
    made = platform.control.ask("make_workspace", provider_keys={"openai": secret, "anthropic": secret})
    tenant = Tenant(
        schema=made["schema"],
        project_id=made["project_id"],
        key=made["key"],
        ingest_token=made["ingest_token"],
        provider_key_id=made["provider_key_ids"]["openai"],
        provider_secret=secret,
        word=word,
        platform=platform,
        provider=provider,
        api_base=api_base,
        _known=frozenset(row["id"] for row in platform.usage()),
    )
    yield tenant
    private_key = tenant.key.rpartition("-")[2]
    web_log = platform.web_log.read_text(encoding="utf-8")
    assert "/v1/" in web_log, "no request is in the log: is it the server's?"
    database_log = platform.database_log.read_text(encoding="utf-8") if platform.database_log else ""
    secrets_of_it = secret, private_key, word, tenant.ingest_token
    for forbidden in secrets_of_it:
        assert forbidden not in web_log
        assert forbidden not in database_log
    assert platform.tables_holding(tenant.schema, *secrets_of_it) == set()
    # The search finds what there is to be found.
    assert "projects_project" in platform.tables_holding(tenant.schema, tenant.project_id)


@contextmanager
def driver(release: R, url: str, folder: Path, **variables: str) -> Iterator[Running[R]]:
    python = python_of(release)
    # Not our own: proxies, PYTHON* and settings of ours have no business there.
    environment = {"PATH": os.defpath, "ANY_LLM_PLATFORM_URL": url, "HOME": str(folder), "LANG": "C.UTF-8", **variables}
    file = DRIVERS / ("sdk.py" if isinstance(release, SdkRelease) else "client.py")
    with Answering(python, file, environment=environment, folder=folder, log=folder / "driver.log") as process:
        assert process.ask("version") == release.version
        yield Running(release, python, process, environment)
