"""`any-llm-sdk` 1.11 to 1.15 against the platform: they report by traces, as OpenTelemetry's exporters do."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.contract import ledger
from tests.contract.children import RemoteError
from tests.contract.ledger import (
    ANSWERED,
    ASKED,
    ASKED_UNCACHED,
    CLAUDE_ANSWERED,
    CLAUDE_ASKED,
    CLAUDE_UNCACHED,
    Found,
    Row,
)
from tests.contract.releases import TRACERS, SdkRelease, each
from tests.contract.running import Platform
from tests.contract.scene import Running, Tenant, driver
from tests.contract.scripted import CHAT, CLAUDE, Script, ScriptedProvider

Sdk = Running[SdkRelease]

# The SDK itself tells neither what came from the cache nor what went into it, nor what was reasoned.
PLAIN = ASKED.without("cache_read", "reasoning", cost=ASKED_UNCACHED)
PLAIN_CLAUDE = CLAUDE_ASKED.without("cache_read", "cache_write", "cache_write_1h", cost=CLAUDE_UNCACHED)


@pytest.fixture(scope="session", params=each(TRACERS))
def sdk(request: pytest.FixtureRequest, platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sdk]:
    release: SdkRelease = request.param
    with driver(release, release.url(platform.origin), tmp_path_factory.mktemp(release.name)) as running:
        yield running


@pytest.fixture(scope="session", params=each(TRACERS))
def instrumented(
    request: pytest.FixtureRequest, platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sdk]:
    """The SDK in an application that has tracing of its own, and OpenAI's library instrumented. Of the spans in a
    call's trace the SDK forwards those of others too."""
    release: SdkRelease = request.param
    folder = tmp_path_factory.mktemp(release.name)
    with driver(release, release.url(platform.origin), folder, INSTRUMENTED="1") as running:
        yield running


@dataclass(frozen=True)
class Program:
    """A running SDK and the tenant that it calls for."""

    sdk: Sdk
    tenant: Tenant
    provider: ScriptedProvider
    origin: str
    _known: set[str] = field(default_factory=set)

    def openai(self, script: Script = Script.OK) -> dict[str, str]:
        """A call's arguments, as drivers/sdk.py takes them."""
        return {**self.tenant.call(model=CHAT), "api_base": f"{self.origin}/{script}/v1"}

    def claude(self, script: Script = Script.OK) -> dict[str, str]:
        call = self.tenant.call(provider="anthropic", model=CLAUDE)
        return {**call, "api_base": f"{self.origin}/{script}"}

    def found(self) -> Found:
        """What the ledger made of all that was done until now."""
        self.sdk.driver.ask("flush")
        found = ledger.found(self.tenant.platform, self.tenant.schema, self._known)
        for row in found.rows:
            assert (row["ingest_token"], row["key_generation"]) == (False, 1)
            assert row["flags"] == []
            assert 0 <= row["total_duration_ms"] < 60_000
        return found


@pytest.fixture
def program(sdk: Sdk, tenant: Tenant, scripted_provider: ScriptedProvider, scripted: str) -> Program:
    return Program(sdk, tenant, scripted_provider, scripted)


@pytest.fixture
def application(instrumented: Sdk, tenant: Tenant, scripted_provider: ScriptedProvider, scripted: str) -> Program:
    return Program(instrumented, tenant, scripted_provider, scripted)


def check(found: Found, *calls: Row, duplicates: int = 0) -> None:
    assert found.calls == list(calls)
    assert found.duplicates == ["within_call"] * duplicates
    assert {row["source"] for row in found.rows if row["status"] != "duplicate"} == {"any-llm"}


@pytest.mark.parametrize("how", ["blocking", "awaited"])
def test_a_chat(program: Program, how: str) -> None:
    assert program.sdk.driver.ask(how, call=program.openai())["model"] == PLAIN.model
    check(program.found(), PLAIN)
    assert program.sdk.driver.ask(how, call=program.claude())["model"] == PLAIN_CLAUDE.model
    check(program.found(), PLAIN_CLAUDE)


@pytest.mark.parametrize("how", ["blocking_stream", "awaited_stream"])
def test_a_stream(program: Program, how: str) -> None:
    program.sdk.driver.ask(how, call=program.openai())
    check(program.found(), PLAIN.but(first_token=True))
    program.sdk.driver.ask(how, call=program.claude())
    check(program.found(), PLAIN_CLAUDE.but(first_token=True))


def test_a_tool(program: Program) -> None:
    program.sdk.driver.ask("tools", call=program.openai())
    check(program.found(), PLAIN, ANSWERED)
    program.sdk.driver.ask("tools", call=program.claude())
    check(program.found(), PLAIN_CLAUDE, CLAUDE_ANSWERED)


def test_a_response(program: Program) -> None:
    """1.11.0 passes them through without a word."""
    assert program.sdk.driver.ask("responses", call=program.openai()) == PLAIN.model
    assert program.found().calls == ([] if program.sdk.release.version == "1.11.0" else [PLAIN])


def test_a_stream_without_usage(program: Program) -> None:
    program.sdk.driver.ask("blocking_stream", call=program.openai(Script.SILENT))
    check(program.found(), PLAIN.but(first_token=True).silent())


def test_a_stream_that_is_closed_early(program: Program) -> None:
    program.sdk.driver.ask("cancelled", call=program.openai())
    check(program.found(), PLAIN.but(first_token=True, ending="cancelled").silent())


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (Script.BUSY, "RateLimitError"),
        (Script.BROKEN, "InternalServerError"),
        (Script.FORBIDDEN, "AuthenticationError"),
    ],
)
def test_a_call_that_fails(program: Program, script: Script, error: str) -> None:
    for call, row in [(program.openai(script), PLAIN), (program.claude(script), PLAIN_CLAUDE)]:
        with pytest.raises(RemoteError) as failure:
            program.sdk.driver.ask("awaited", call=call)
        assert failure.value.kind == error
        check(program.found(), row.failed(error))


def test_a_second_try(program: Program) -> None:
    """The provider's library asks again by itself: one call."""
    program.sdk.driver.ask("blocking", call=program.openai(Script.BUSY_ONCE))
    check(program.found(), PLAIN)
    assert sum(request.word == program.tenant.word for request in program.provider.requests) == 2


def test_who_called(program: Program) -> None:
    program.sdk.driver.ask("call_and_keep", call=program.openai(), client_name="nightly batch")
    program.sdk.driver.ask("awaited", call=program.openai(), session_label="session 7", user="user-1")
    named, labelled = program.found().rows
    assert named["client_name"] == "nightly batch"
    assert (labelled["session"], labelled["user_label"]) == ("session 7", "user-1")


def test_ten_calls_at_once(program: Program) -> None:
    calls = [program.openai() for _ in range(10)]
    program.sdk.driver.ask("gather", calls=calls)
    found = program.found().calls
    assert sorted(found, key=lambda call: call.first_token) == [PLAIN] * 5 + [PLAIN.but(first_token=True)] * 5


def test_spans_of_the_libraries_below_tell_the_cache(application: Program) -> None:
    """They are the same call, told in more detail: 0.003225 dollars instead of 0.0054, and 0.000285 instead of
    0.00036."""
    application.sdk.driver.ask("blocking", call=application.claude())
    check(application.found(), CLAUDE_ASKED, duplicates=1)
    application.sdk.driver.ask("blocking", call=application.openai())
    check(application.found(), ASKED, duplicates=1)


def test_streams_in_an_application_with_tracing(application: Program) -> None:
    application.sdk.driver.ask("blocking_stream", call=application.claude())
    check(application.found(), CLAUDE_ASKED.but(first_token=True), duplicates=1)
    application.sdk.driver.ask("blocking_stream", call=application.openai())
    check(application.found(), ASKED.but(first_token=True), duplicates=1)


def test_a_tool_in_an_application_with_tracing(application: Program) -> None:
    application.sdk.driver.ask("tools", call=application.claude())
    check(application.found(), CLAUDE_ASKED, CLAUDE_ANSWERED, duplicates=2)


def test_ten_calls_at_once_in_an_application_with_tracing(application: Program) -> None:
    application.sdk.driver.ask("gather", calls=[application.openai() for _ in range(10)])
    found = application.found()
    assert found.duplicates == ["within_call"] * 10
    assert sorted(found.calls, key=lambda call: call.first_token) == [ASKED] * 5 + [ASKED.but(first_token=True)] * 5


def test_a_call_within_the_applications_own_span(application: Program) -> None:
    application.sdk.driver.ask("within", call=application.openai())
    check(application.found(), ASKED, duplicates=1)


def test_a_call_that_fails_in_an_application_with_tracing(application: Program) -> None:
    for call, row in [
        (application.openai(Script.FORBIDDEN), PLAIN),
        (application.claude(Script.FORBIDDEN), PLAIN_CLAUDE),
    ]:
        with pytest.raises(RemoteError):
            application.sdk.driver.ask("awaited", call=call)
        check(application.found(), row.failed("AuthenticationError"), duplicates=1)


def test_a_key_retired_between_two_calls(program: Program) -> None:
    """The user's call goes through. What it reports afterwards is refused."""
    program.sdk.driver.ask("call_and_keep", call=program.openai())
    check(program.found(), PLAIN)
    program.tenant.retire_key()
    program.sdk.driver.ask("call_again", call=program.openai())
    assert program.found().rows == []
