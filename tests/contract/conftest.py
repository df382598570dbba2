"""Real client releases against the platform as it really runs, and a fake provider. Nothing leaves this machine,
except where an environment of a release is made for the first time (environments.py)."""

from collections.abc import Iterator

import pytest

from tests.contract.fakes import FakeProvider
from tests.contract.releases import CLIENTS, SDKS, ClientRelease, SdkRelease, each
from tests.contract.running import Platform
from tests.contract.running import platform as running_platform
from tests.contract.scene import Running, Tenant, driver, new_tenant
from tests.contract.scripted import ScriptedProvider


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with running_platform(tmp_path_factory.mktemp("contract")) as found:
        yield found


@pytest.fixture(scope="session")
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture(scope="session")
def api_base(provider: FakeProvider) -> Iterator[str]:
    with provider.running() as url:
        yield url


@pytest.fixture(scope="session")
def scripted_provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture(scope="session")
def scripted(scripted_provider: ScriptedProvider) -> Iterator[str]:
    """The scripted provider's origin."""
    with scripted_provider.running() as origin:
        yield origin


@pytest.fixture
def tenant(platform: Platform, provider: FakeProvider, api_base: str) -> Iterator[Tenant]:
    with new_tenant(platform, provider, api_base) as made:
        yield made


@pytest.fixture(scope="session", params=each(SDKS))
def sdk(
    request: pytest.FixtureRequest, platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running[SdkRelease]]:
    release: SdkRelease = request.param
    with driver(release, release.url(platform.origin), tmp_path_factory.mktemp(release.name)) as running:
        yield running


@pytest.fixture(scope="session", params=each(CLIENTS))
def client(
    request: pytest.FixtureRequest, platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running[ClientRelease]]:
    release: ClientRelease = request.param
    with driver(release, f"{platform.origin}/api/v1", tmp_path_factory.mktemp(release.name)) as running:
        yield running
