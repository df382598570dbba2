"""`any-llm-sdk` against the platform: what its user gets, what the provider gets, what the ledger gets."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from devstack.browser import ProjectKeyPair
from tests.contract.children import RemoteError
from tests.contract.fakes import SILENT_MODEL, ProviderCall, answer_to
from tests.contract.releases import SDKS, SdkRelease, each
from tests.contract.scene import Running, Tenant

Sdk = Running[SdkRelease]

# gpt-4o-mini: dollars per token.
INPUT_PRICE, OUTPUT_PRICE = Decimal("0.00000015"), Decimal("0.0000006")
ASK_FOR_USAGE = {"stream_options": {"include_usage": True}}
STREAM_PERFORMANCE = {
    "time_to_first_token_ms",
    "time_to_last_token_ms",
    "total_duration_ms",
    "tokens_per_second",
    "chunks_received",
    "avg_chunk_size",
    "inter_chunk_latency_variance_ms",
}


def performance_of(release: SdkRelease, call: ProviderCall) -> set[str]:
    """The performance fields that a release sends for a call."""
    if not release.measures:
        return set()
    return STREAM_PERFORMANCE if call.stream else {"total_duration_ms"}


def check_provider(tenant: Tenant, calls: int) -> list[ProviderCall]:
    """The provider got so many calls, each with the opened key."""
    found = tenant.provider_calls()
    assert len(found) == calls
    assert {call.authorization for call in found} == {f"Bearer {tenant.provider_secret}"}
    return found


def check_ledger(
    tenant: Tenant, release: SdkRelease, calls: Sequence[ProviderCall], *, since: datetime, client_name: str = ""
) -> None:
    """The ledger has one row for each call, right in every column, and nobody has another new one."""
    rows = sorted(tenant.new_usage(), key=lambda row: (row["input_tokens"], row["output_tokens"]))
    calls = sorted(calls, key=lambda call: (call.input_tokens, call.output_tokens))
    assert len({row["event_id"] for row in rows}) == len(rows) == len(calls)
    for row, call in zip(rows, calls, strict=True):
        cost = call.input_tokens * INPUT_PRICE + call.output_tokens * OUTPUT_PRICE
        expected = {
            "schema": tenant.schema,
            "project_id": UUID(tenant.project_id),
            "key_generation": 1,
            "provider_key_id": UUID(tenant.provider_key_id),
            "source": "json",
            "provider": "openai",
            "model": "gpt-4o-mini-2024-07-18",
            "client_name": client_name,
            "input_tokens": call.input_tokens,
            "output_tokens": call.output_tokens,
            "price_status": "priced",
            "cost": cost,
            "currency": "USD",
        }
        assert {name: row[name] for name in expected} == expected
        assert row["event_id"].version == 4
        assert since <= row["occurred_at"] <= row["received_at"] <= datetime.now(UTC)
        check_performance(row, release, call)


def check_performance(row: dict[str, Any], release: SdkRelease, call: ProviderCall) -> None:
    sent = {name for name in STREAM_PERFORMANCE if row[name] is not None}
    assert sent == performance_of(release, call)
    assert all(0 <= row[name] < 60_000_000 for name in sent)
    if "chunks_received" in sent:
        assert row["chunks_received"] == call.chunks
        assert row["avg_chunk_size"] == call.output_tokens / call.chunks
        assert 0 < row["time_to_first_token_ms"] <= row["time_to_last_token_ms"] <= row["total_duration_ms"]
        assert row["tokens_per_second"] == pytest.approx(call.output_tokens * 1_000 / row["time_to_last_token_ms"])


def check_answer(answer: dict[str, Any], prompt: str, call: ProviderCall) -> None:
    """The caller of the SDK got what the provider answered."""
    assert answer == {
        "text": answer_to(prompt),
        "model": "gpt-4o-mini-2024-07-18",
        "tokens": [call.input_tokens, call.output_tokens],
    }


@pytest.mark.parametrize("how", ["blocking", "awaited", "blocking_stream", "awaited_stream"])
def test_a_call_is_answered_and_in_the_ledger(sdk: Sdk, tenant: Tenant, how: str) -> None:
    since, call = datetime.now(UTC), tenant.call("first")
    # Only the oldest has to be told to ask for a stream's usage.
    options = ASK_FOR_USAGE if how.endswith("stream") and not sdk.release.measures else {}
    answer = sdk.driver.ask(how, call=call, **options)
    [received] = check_provider(tenant, 1)
    assert received.stream == how.endswith("stream")
    check_answer(answer, call["prompt"], received)
    check_ledger(tenant, sdk.release, [received], since=since)


@pytest.mark.parametrize("how", ["threads", "gather"])
def test_ten_calls_at_once(sdk: Sdk, tenant: Tenant, how: str) -> None:
    since, calls = datetime.now(UTC), [tenant.call(f"number {number}") for number in range(10)]
    answers = sdk.driver.ask(how, calls=calls)
    received = {call.prompt: call for call in check_provider(tenant, 10)}
    for call, answer in zip(calls, answers, strict=True):
        check_answer(answer, call["prompt"], received[call["prompt"]])
    assert sum(call.stream for call in received.values()) == (5 if how == "gather" else 0)
    check_ledger(tenant, sdk.release, list(received.values()), since=since)


@pytest.mark.parametrize("sdk", each(release for release in SDKS if release.measures), indirect=True)
def test_the_clients_name_is_in_the_ledger(sdk: Sdk, tenant: Tenant) -> None:
    since = datetime.now(UTC)
    sdk.driver.ask("call_and_keep", call=tenant.call(), client_name="nightly batch")
    check_ledger(tenant, sdk.release, check_provider(tenant, 1), since=since, client_name="nightly batch")


def test_a_model_without_a_price_is_stored_without_a_cost(sdk: Sdk, tenant: Tenant) -> None:
    sdk.driver.ask("blocking", call=tenant.call(model="nobodys-model-9"))
    [call] = check_provider(tenant, 1)
    [row] = tenant.new_usage()
    assert (row["model"], row["price_status"], row["cost"]) == ("nobodys-model-9", "unpriced", None)
    assert (row["input_tokens"], row["output_tokens"]) == (call.input_tokens, call.output_tokens)


def test_a_stream_without_usage(sdk: Sdk, tenant: Tenant) -> None:
    """Where the provider says nothing, the oldest release reports zeros and the later ones report nothing. Zeros are no
    usage told, and no call is known to be free."""
    answer = sdk.driver.ask("blocking_stream", call=tenant.call(model=SILENT_MODEL))
    assert answer["tokens"] is None
    check_provider(tenant, 1)
    columns = ("model", "input_tokens", "output_tokens", "price_status", "price_reason", "cost")
    stored = [tuple(row[name] for name in columns) for row in tenant.new_usage()]
    assert stored == ([] if sdk.release.measures else [(SILENT_MODEL, 0, 0, "unpriced", "missing_usage", None)])


def test_an_unknown_key(sdk: Sdk, tenant: Tenant) -> None:
    call = tenant.call() | {"key": ProjectKeyPair().any_llm_key}
    with pytest.raises(RemoteError, match="No project found") as refused:
        sdk.driver.ask("blocking", call=call)
    assert refused.value.kind == refusal_of(sdk.release)
    assert tenant.provider_calls() == []
    assert tenant.new_usage() == []


def test_a_provider_without_a_key(sdk: Sdk, tenant: Tenant) -> None:
    # Not openai, so that no key is there; spoken to as openai is, so that the SDK needs no other package.
    with pytest.raises(RemoteError) as refused:
        sdk.driver.ask("blocking", call=tenant.call(provider="openrouter"))
    if sdk.release.version == "1.3.0":
        assert refused.value.kind == "RuntimeError"
        assert json.loads(refused.value.text)["detail"].startswith("This project has no provider key for openrouter.")
    else:
        assert refused.value.kind == "ProviderKeyFetchError"
        assert "(status: 404" in refused.value.text
    assert tenant.provider_calls() == []
    assert tenant.new_usage() == []


def test_when_the_provider_key_is_fetched(sdk: Sdk, tenant: Tenant) -> None:
    """Making the object of a provider without a key fails where the key is fetched at once."""
    call = tenant.call(provider="openrouter")
    if sdk.release.fetches_at_once:
        with pytest.raises(RemoteError, match=r"status: 404|This project has no provider key"):
            sdk.driver.ask("open_only", call=call)
    else:
        assert sdk.driver.ask("open_only", call=call) is None


def test_a_key_retired_between_two_calls(sdk: Sdk, tenant: Tenant) -> None:
    """An opened provider key stays in the SDK's memory, so the provider is called once more: that call fails when it
    is reported. Whoever starts anew gets no provider key."""
    since = datetime.now(UTC)
    sdk.driver.ask("call_and_keep", call=tenant.call("before"))
    tenant.retire_key()
    with pytest.raises(RemoteError) as refused:
        sdk.driver.ask("call_again", call=tenant.call("after"))
    before, _ = check_provider(tenant, 2)
    if sdk.release.bearer:
        assert refused.value.kind == "HTTPStatusError"
        assert "401 Unauthorized" in refused.value.text
        assert "/api/v1/usage-events/" in refused.value.text
    else:
        assert refused.value.kind == refusal_of(sdk.release)
        assert "No project found" in refused.value.text
    with pytest.raises(RemoteError, match="No project found"):
        sdk.driver.ask("blocking", call=tenant.call("anew"))
    assert len(tenant.provider_calls()) == 2
    check_ledger(tenant, sdk.release, [before], since=since)


def test_a_provider_key_archived_between_two_calls(sdk: Sdk, tenant: Tenant) -> None:
    """The call was made and paid, so it is stored, but for the release that asks for the provider key again before
    it reports. Whoever starts anew gets no provider key."""
    since = datetime.now(UTC)
    sdk.driver.ask("call_and_keep", call=tenant.call("before"))
    tenant.archive_provider_key()
    if sdk.release.version == "1.3.0":
        with pytest.raises(RemoteError, match="This project has no provider key for openai"):
            sdk.driver.ask("call_again", call=tenant.call("after"))
        before, _ = check_provider(tenant, 2)
        check_ledger(tenant, sdk.release, [before], since=since)
    else:
        sdk.driver.ask("call_again", call=tenant.call("after"))
        check_ledger(tenant, sdk.release, check_provider(tenant, 2), since=since)
    with pytest.raises(RemoteError, match=r"status: 404|This project has no provider key"):
        sdk.driver.ask("blocking", call=tenant.call("anew"))
    assert len(tenant.provider_calls()) == 2


def refusal_of(release: SdkRelease) -> str:
    """The exception of a release whose key proof was refused."""
    return "RuntimeError" if release.version == "1.3.0" else "ChallengeCreationError"
