"""`any-llm-platform-client` against the platform: the key fetch, its refusals, and the command line."""

import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest

from devstack.browser import ProjectKeyPair
from tests.contract.children import RemoteError
from tests.contract.releases import CLIENTS, ClientRelease, each
from tests.contract.scene import Running, Tenant

Client = Running[ClientRelease]


@pytest.fixture(autouse=True)
def nothing_else_happened(tenant: Tenant) -> Any:
    """These releases report no usage and call no provider."""
    yield
    assert tenant.new_usage() == []
    assert tenant.provider_calls() == []


def check_opened(found: dict[str, Any], tenant: Tenant) -> None:
    created = datetime.fromisoformat(found.pop("created_at"))
    assert created.utcoffset() is not None
    assert abs((datetime.now(UTC) - created).total_seconds()) < 60
    assert found == {
        "api_key": tenant.provider_secret,
        "provider_key_id": tenant.provider_key_id,
        "project_id": tenant.project_id,
        "provider": "openai",
        "updated_at": None,
    }


@pytest.mark.parametrize("how", ["fetch", "fetch_async"])
def test_a_provider_key_is_opened(client: Client, tenant: Tenant, how: str) -> None:
    check_opened(client.driver.ask(how, key=tenant.key, provider="openai"), tenant)


@pytest.mark.parametrize("how", ["threads", "gather"])
def test_ten_fetches_at_once(client: Client, tenant: Tenant, how: str) -> None:
    found = client.driver.ask(how, key=tenant.key, provider="openai", times=10)
    assert len(found) == 10
    for one in found:
        check_opened(one, tenant)


@pytest.mark.parametrize("client", each(release for release in CLIENTS if release.names_client), indirect=True)
def test_a_client_with_a_name(client: Client, tenant: Tenant) -> None:
    check_opened(client.driver.ask("fetch", key=tenant.key, provider="openai", client_name="nightly batch"), tenant)


def test_an_unknown_key(client: Client, tenant: Tenant) -> None:
    with pytest.raises(RemoteError) as refused:
        client.driver.ask("fetch", key=ProjectKeyPair().any_llm_key, provider="openai")
    assert refused.value.kind == "ChallengeCreationError"
    assert refused.value.text == "No project found for the provided public key"


@pytest.mark.parametrize("how", ["fetch", "fetch_async"])
def test_a_provider_without_a_key(client: Client, tenant: Tenant, how: str) -> None:
    with pytest.raises(RemoteError) as refused:
        client.driver.ask(how, key=tenant.key, provider="mistral")
    assert refused.value.kind == "ProviderKeyFetchError"
    assert "status: 404" in refused.value.text
    assert ("This project has no provider key for mistral." in refused.value.text) == client.release.shows_detail


def test_a_key_retired_between_two_fetches(client: Client, tenant: Tenant) -> None:
    """A token that was good a moment ago is refused, and a new one is not to be had."""
    check_opened(client.driver.ask("fetch_and_keep", key=tenant.key, provider="openai"), tenant)
    tenant.retire_key()
    with pytest.raises(RemoteError) as refused:
        client.driver.ask("fetch_again", key=tenant.key, provider="openai")
    if client.release.bearer:
        assert refused.value.kind == "ProviderKeyFetchError"
        assert "status: 401" in refused.value.text
        assert ("This key was retired" in refused.value.text) == client.release.shows_detail
    else:
        assert refused.value.kind == "ChallengeCreationError"
    with pytest.raises(RemoteError, match="No project found for the provided public key"):
        client.driver.ask("fetch", key=tenant.key, provider="openai")


def test_a_provider_key_archived_between_two_fetches(client: Client, tenant: Tenant) -> None:
    client.driver.ask("fetch_and_keep", key=tenant.key, provider="openai")
    tenant.archive_provider_key()
    with pytest.raises(RemoteError, match="status: 404") as refused:
        client.driver.ask("fetch_again", key=tenant.key, provider="openai")
    assert refused.value.kind == "ProviderKeyFetchError"


def test_the_command_line(client: Client, tenant: Tenant) -> None:
    def any_llm(provider: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(client.python), "-m", "any_llm_platform_client.cli", *client.release.cli, provider],
            env={**client.environment, "ANY_LLM_KEY": tenant.key},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    opened, refused = any_llm("openai"), any_llm("mistral")
    assert (opened.returncode, refused.returncode) == (0, 1)
    assert tenant.provider_secret in opened.stdout
    assert "Failed to fetch provider key (status: 404" in refused.stdout + refused.stderr
    assert tenant.provider_secret not in refused.stdout + refused.stderr
