"""What each release says on the wire, word for word: the requests of one program, as a relay saw them pass.

The platform's own tests rest on these forms; where a release would differ, this fails first.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.contract.fakes import Exchange, Relay
from tests.contract.releases import CLIENTS, SDKS, TRACERS, ClientRelease, Release, SdkRelease, each
from tests.contract.running import Platform
from tests.contract.scene import Tenant, driver

CHALLENGE = ("POST", "/api/v1/auth/", 200)
TOKEN = ("POST", "/api/v1/auth/token", 200)
FETCH = ("GET", "/api/v1/provider-keys/openai", 200)
USAGE = ("POST", "/api/v1/usage-events/", 201)
TRACES = ("POST", "/v1/traces", 200)


def expected_exchanges(release: Release) -> list[tuple[str, str, int]]:
    """What a program sends that opens one provider key and, with an SDK, makes one call."""
    opening = [CHALLENGE, TOKEN, FETCH] if release.fetches_with_token else [CHALLENGE, FETCH]
    if not isinstance(release, SdkRelease):
        return opening
    if release in TRACERS:
        return [*opening, TRACES]
    if release.bearer:
        return [*opening, USAGE]
    # The oldest fetches the provider key again before it reports, only for its id.
    again = [CHALLENGE, FETCH] if release.version == "1.3.0" else []
    return [*opening, *again, CHALLENGE, USAGE]


def check_proof(exchange: Exchange, *, by_token: bool) -> str:
    """Who the request says it is, by one form and not the other; the token or the solved challenge."""
    headers = exchange.headers
    if by_token:
        assert "encryption-key" not in headers
        assert "anyllm-challenge-response" not in headers
        scheme, _, token = headers["authorization"].partition(" ")
        assert scheme == "Bearer"
        return token
    assert "authorization" not in headers
    assert len(headers["encryption-key"]) == 44
    return str(UUID(headers["anyllm-challenge-response"]))


def check_event(body: Any, release: Release, tenant: Tenant) -> None:
    [call] = tenant.provider_calls()
    measured = isinstance(release, SdkRelease) and release.measures
    assert UUID(body.pop("id")).version == 4
    performance = body["data"].pop("performance", None)
    assert body == {
        "provider_key_id": tenant.provider_key_id,
        "provider": "openai",
        "model": "gpt-4o-mini-2024-07-18",
        "data": {"input_tokens": str(call.input_tokens), "output_tokens": str(call.output_tokens)},
        **({"client_name": "nightly batch"} if measured else {}),
    }
    assert (performance is not None) == measured
    assert performance is None or set(performance) == {"total_duration_ms"}


def check_traces(exchange: Exchange, release: Release, tenant: Tenant) -> None:
    """One span, of which every attribute is known."""
    assert exchange.headers["content-type"] == "application/x-protobuf"
    assert exchange.headers["user-agent"] == f"python-any-llm/{release.version}"
    assert "content-encoding" not in exchange.headers
    [call] = tenant.provider_calls()
    [resource] = ExportTraceServiceRequest.FromString(exchange.body).resource_spans
    [scope] = resource.scope_spans
    [span] = scope.spans
    assert (scope.scope.name, scope.scope.version, span.name) == ("any-llm", release.version, "llm.request")
    assert span.kind == span.SPAN_KIND_CLIENT
    assert (len(span.events), span.parent_span_id) == (0, b"")
    values = {attribute.key: attribute.value for attribute in span.attributes}
    texts = {key: value.string_value for key, value in values.items() if value.HasField("string_value")}
    assert texts == {
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
        "anyllm.client_name": "nightly batch",
        "anyllm.session_label": span.trace_id.hex(),
    }
    assert {key: value.int_value for key, value in values.items() if key not in texts} == {
        "gen_ai.usage.input_tokens": call.input_tokens,
        "gen_ai.usage.output_tokens": call.output_tokens,
    }


@pytest.mark.parametrize("release", each([*CLIENTS, *SDKS, *TRACERS]))
def test_the_requests_of_one_program(release: Release, platform: Platform, tenant: Tenant, tmp_path: Path) -> None:
    relay = Relay(platform.origin)
    with relay.running() as origin:
        url = release.url(origin) if isinstance(release, SdkRelease) else f"{origin}/api/v1"
        with driver(release, url, tmp_path) as running:
            if isinstance(release, SdkRelease):
                name = {"client_name": "nightly batch"} if release.measures else {}
                running.driver.ask("call_and_keep", call=tenant.call(), **name)
                if release in TRACERS:
                    running.driver.ask("flush")
            else:
                name = {"client_name": "nightly batch"} if named(release) else {}
                running.driver.ask("fetch", key=tenant.key, provider="openai", **name)

    seen = [(exchange.method, exchange.path, exchange.status) for exchange in relay.exchanges]
    assert seen == expected_exchanges(release)
    proofs = []
    for exchange in relay.exchanges:
        match (exchange.method, exchange.path, exchange.status):
            case found if found == CHALLENGE:
                extra = {"key_type": "RSA"} if release.version == "1.3.0" else {}
                key = exchange.body.pop("encryption_key")
                assert (len(key), exchange.body) == (44, extra)
            case found if found == TOKEN:
                assert set(exchange.body) == {"solved_challenge"}
                assert UUID(exchange.body["solved_challenge"]).version == 4
            case found if found == FETCH:
                proofs.append(check_proof(exchange, by_token=release.fetches_with_token))
                assert exchange.headers.get("anyllm-client-name") == ("nightly batch" if named(release) else None)
            case found if found == TRACES:
                proofs.append(check_proof(exchange, by_token=True))
                check_traces(exchange, release, tenant)
            case _:
                proofs.append(check_proof(exchange, by_token=release.bearer))
                check_event(exchange.body, release, tenant)
    # One token for all, or a challenge for each.
    assert all((one == next_one) == release.bearer for one, next_one in pairwise(proofs))


def named(release: Release) -> bool:
    """Whether the key fetch carries the client's name."""
    if isinstance(release, ClientRelease):
        return release.names_client
    return release.bearer and release not in TRACERS
