"""The client releases of PyPI that must work unmodified, and what each does differently on the wire."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Release:
    package: str
    version: str
    # Sends an access token; those before sent the header pair, with a challenge of its own for each request.
    bearer: bool

    @property
    def name(self) -> str:
        return f"{self.package}-{self.version}"

    @property
    def fetches_with_token(self) -> bool:
        return self.bearer


@dataclass(frozen=True)
class Bundle:
    """Packages of one environment that are no release of a client."""

    name: str


@dataclass(frozen=True)
class ClientRelease(Release):
    """`any-llm-platform-client`: proves a key and opens provider keys. Its URL always ends in /api/v1."""

    # Sends `AnyLLM-Client-Name`.
    names_client: bool = True
    # Repeats the `detail` of a refused key fetch to its user.
    shows_detail: bool = True
    # The words between `any-llm` and the provider.
    cli: tuple[str, ...] = ()


@dataclass(frozen=True)
class SdkRelease(Release):
    """`any-llm-sdk`: calls the provider with the opened key, then reports what was used."""

    # Appends /api/v1 to ANY_LLM_PLATFORM_URL by itself.
    appends_path: bool = True
    # Fetches the provider key when the provider object is made, not when it is first used.
    fetches_at_once: bool = False
    # Sends `client_name` and `performance`, and asks the provider for the usage of a stream.
    measures: bool = True
    # The any-llm-platform-client beside it, where that is not the one of its day.
    beside: str = ""

    @property
    def name(self) -> str:
        return f"{super().name}-client-{self.beside}" if self.beside else super().name

    @property
    def fetches_with_token(self) -> bool:
        return self.bearer or self.beside != ""

    def url(self, origin: str) -> str:
        """What this release wants in ANY_LLM_PLATFORM_URL."""
        return origin if self.appends_path else f"{origin}/api/v1"


CLIENTS = [
    ClientRelease("any-llm-platform-client", "0.1.0", bearer=False, names_client=False, shows_detail=False),
    ClientRelease("any-llm-platform-client", "0.2.2", bearer=True, shows_detail=False),
    ClientRelease("any-llm-platform-client", "0.3.0", bearer=True),
    ClientRelease("any-llm-platform-client", "0.4.0", bearer=True, cli=("key", "decrypt")),
]
SDKS = [
    SdkRelease("any-llm-sdk", "1.3.0", bearer=False, fetches_at_once=True, measures=False),
    SdkRelease("any-llm-sdk", "1.6.0", bearer=False, fetches_at_once=True),
    # What pip makes of any-llm-sdk[platform]==1.6.0 today: a token for the key fetch, challenges for the reports.
    SdkRelease("any-llm-sdk", "1.6.0", bearer=False, fetches_at_once=True, beside="0.4.0"),
    SdkRelease("any-llm-sdk", "1.8.6", bearer=True),
    SdkRelease("any-llm-sdk", "1.10.0", bearer=True, appends_path=False),
]
# These report by OpenTelemetry traces instead of usage events.
TRACERS = [
    SdkRelease("any-llm-sdk", "1.11.0", bearer=True, appends_path=False),
    SdkRelease("any-llm-sdk", "1.15.0", bearer=True, appends_path=False),
]
# The emitters that anybody may use beside an SDK of ours, or without one, and the libraries that they watch.
EMITTERS = Bundle("emitters")


def each(releases: Iterable[Release]) -> list[Any]:
    """A parameter for each release. All tests of one go to one xdist worker, which has one process of it."""
    return [pytest.param(release, id=release.name, marks=pytest.mark.xdist_group(release.name)) for release in releases]
