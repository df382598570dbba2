"""Emitters of PyPI against the platform: every call that the scripted provider was asked for is in the ledger once,
with what its emitter tells of it and what that costs."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.contract.emitting import Played, Watched, watched
from tests.contract.fakes import FakeProvider, Relay
from tests.contract.ledger import (
    ANSWERED,
    ASKED,
    ASKED_UNCACHED,
    CLAUDE_ANSWERED,
    CLAUDE_ASKED,
    DATED,
    EMBEDDED_TEXT,
    Row,
)
from tests.contract.running import Platform
from tests.contract.scene import Tenant, new_tenant
from tests.contract.scripted import CHAT, Script, ScriptedProvider

# What the providers' libraries raise, and how often they ask until they do.
ERRORS = {
    Script.BUSY: ("RateLimitError", 3),
    Script.BROKEN: ("InternalServerError", 3),
    Script.FORBIDDEN: ("AuthenticationError", 1),
}


@pytest.fixture(scope="module")
def application(
    request: pytest.FixtureRequest,
    platform: Platform,
    provider: FakeProvider,
    api_base: str,
    scripted_provider: ScriptedProvider,
    scripted: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Watched]:
    emitters: str = request.param
    folder = tmp_path_factory.mktemp(emitters.replace(",", "-"))
    with (
        new_tenant(platform, provider, api_base) as tenant,
        watched(emitters, tenant, scripted_provider, scripted, folder) as running,
    ):
        yield running


def by(emitters: str, *arguments: Any, case: str = "") -> Any:
    """A parameter. All tests of one application go to one xdist worker, which has one process of it."""
    name = f"{emitters}-{case}" if case else emitters
    return pytest.param(emitters, *arguments, id=name, marks=pytest.mark.xdist_group(emitters))


def check(played: Played, *calls: Row, requests: int, duplicates: int = 0, rule: str = "", failure: str = "") -> None:
    assert played.failure == failure
    assert played.requests == requests
    assert played.found.calls == list(calls)
    assert played.found.duplicates == [rule] * duplicates
    for row in played.found.rows:
        assert (row["ingest_token"], row["key_generation"], row["client_name"]) == (True, None, "forecasts")
        assert row["flags"] == []
        assert 0 <= row["total_duration_ms"] < 60_000
        assert row["first_token_ms"] is None or 0 < row["first_token_ms"] <= row["total_duration_ms"]
        if row["meters"].get("output") and not row["first_token_ms"]:
            assert row["tokens_per_second"] == row["meters"]["output"] * 1000 / row["total_duration_ms"]


STREAMED = ASKED.but(first_token=True)


@dataclass(frozen=True)
class Tells:
    """What an emitter tells of a chat, of its answer to a tool, a stream, a response, a streamed response and an
    embedding; of a stream that was closed early, if anything; and how it names the errors of OpenAI's library."""

    error_type: str
    asked: Row = ASKED
    answered: Row = ANSWERED
    streamed: Row = STREAMED
    responded: Row = ASKED
    response_streamed: Row = STREAMED
    embedded: Row = EMBEDDED_TEXT
    is_silent_when_cancelled: bool = False
    # The model of a failed call, and the one that was asked for, where those are others than in a chat's request.
    failed_model: str = ""
    failed_request: str | None = None

    def failed(self, error: str) -> Row:
        row = self.asked.failed(self.error_type.format(error))
        if self.failed_request is not None:
            row = row.but(model=self.failed_request, request_model=self.failed_request)
        return row.but(model=self.failed_model or row.model)


def _unasked(row: Row, **changes: Any) -> Row:
    """Of an emitter that does not tell which model was asked for."""
    return row.but(request_model="", **changes)


_UNREASONED = ASKED.without("reasoning", cost="0.000285")
# Without an answer's id and dated name in it.
_LOGGED = ASKED.but(model=CHAT)
_SEMCONV = ASKED.without("cache_read", "reasoning", cost=ASKED_UNCACHED).but(request_model=DATED)
OPENAI = {
    "official": Tells("openai.{}"),
    "openllmetry": Tells(
        "{}", streamed=_UNREASONED.but(first_token=True), response_streamed=ASKED.but(first_token=False)
    ),
    # Which model was asked for stands among the call's arguments only, which may hold anything.
    "openinference": Tells(
        "openai.{}",
        asked=_unasked(ASKED),
        answered=_unasked(ANSWERED),
        streamed=_unasked(ASKED, first_token=True),
        responded=_unasked(ASKED),
        response_streamed=_unasked(ASKED, first_token=True),
        embedded=_unasked(EMBEDDED_TEXT),
    ),
    "langfuse": Tells(
        "",
        asked=_unasked(ASKED),
        answered=_unasked(ANSWERED),
        streamed=_unasked(ASKED, first_token=True),
        responded=_unasked(ASKED),
        response_streamed=_unasked(ASKED, first_token=True),
        embedded=_unasked(EMBEDDED_TEXT),
        failed_model=CHAT,
    ),
    "mlflow": Tells(
        "{}",
        asked=_UNREASONED,
        streamed=_UNREASONED,
        responded=_UNREASONED,
        response_streamed=_UNREASONED,
        # That an embedding used something stands among the outputs only.
        embedded=EMBEDDED_TEXT.silent(),
        is_silent_when_cancelled=True,
    ),
    # By OpenTelemetry's names, if asked to. It takes the model that answered for the one that was asked for.
    "mlflow-semconv": Tells(
        "{}",
        asked=_SEMCONV,
        answered=ANSWERED.but(request_model=DATED),
        streamed=_SEMCONV,
        responded=_SEMCONV,
        response_streamed=_SEMCONV,
        embedded=EMBEDDED_TEXT.silent(),
        is_silent_when_cancelled=True,
        failed_request=CHAT,
    ),
    "logfire": Tells("openai.{}", streamed=_LOGGED, response_streamed=_LOGGED),
}

openai = pytest.mark.parametrize("application", [by(name) for name in OPENAI], indirect=True)


@openai
@pytest.mark.parametrize("scene", ["chat", "awaited"])
def test_a_chat(application: Watched, scene: str) -> None:
    check(application.play(scene), OPENAI[application.emitters].asked, requests=1)


@openai
def test_a_stream(application: Watched) -> None:
    played = application.play("stream")
    check(played, OPENAI[application.emitters].streamed, requests=1)
    [row] = played.found.rows
    # Who began, two words, the reason to end, and the usage.
    assert row["chunks_received"] == (5 if application.emitters == "openllmetry" else None)


@openai
@pytest.mark.parametrize(
    ("scene", "script"), [("stream_without_usage", Script.OK), ("stream", Script.SILENT), ("chat", Script.SILENT)]
)
def test_a_call_without_usage(application: Watched, scene: str, script: Script) -> None:
    """It is a call, and nobody knows what it costs: not nothing."""
    tells = OPENAI[application.emitters]
    call = tells.asked if scene == "chat" else tells.streamed
    check(application.play(scene, script), call.silent(), requests=1)


@openai
def test_a_stream_that_is_closed_early(application: Watched) -> None:
    tells = OPENAI[application.emitters]
    calls = [] if tells.is_silent_when_cancelled else [tells.streamed.silent()]
    check(application.play("cancelled"), *calls, requests=1)


@openai
def test_a_tool(application: Watched) -> None:
    tells = OPENAI[application.emitters]
    check(application.play("tools"), tells.asked, tells.answered, requests=2)


@openai
def test_a_response(application: Watched) -> None:
    check(application.play("responses"), OPENAI[application.emitters].responded, requests=1)


@openai
def test_a_streamed_response(application: Watched) -> None:
    check(application.play("responses_stream"), OPENAI[application.emitters].response_streamed, requests=1)


@openai
def test_an_embedding(application: Watched) -> None:
    check(application.play("embeddings"), OPENAI[application.emitters].embedded, requests=1)


@openai
def test_the_librarys_second_try(application: Watched) -> None:
    """The caller made one call, so it is one."""
    check(application.play("chat", Script.BUSY_ONCE), OPENAI[application.emitters].asked, requests=2)


@openai
def test_the_applications_second_try(application: Watched) -> None:
    """The first was a call of its own, which failed."""
    tells = OPENAI[application.emitters]
    check(application.play("again", Script.BUSY_ONCE), tells.failed("RateLimitError"), tells.asked, requests=2)


@openai
@pytest.mark.parametrize("script", ERRORS)
def test_a_call_that_fails(application: Watched, script: Script) -> None:
    error, requests = ERRORS[script]
    call = OPENAI[application.emitters].failed(error)
    check(application.play("chat", script), call, requests=requests, failure=error)


@pytest.mark.parametrize(
    ("application", "scene"), [by("logfire", "chat"), by("pydantic-ai", "agent")], indirect=["application"]
)
def test_what_an_emitter_thinks_it_cost(application: Watched, scene: str) -> None:
    """It is kept beside what the platform computes, which it happens to agree with."""
    rows = application.play(scene).found.rows
    assert rows
    for row in rows:
        assert Decimal(row["reported_cost"]) == Decimal(row["cost"])


# Anthropic's library tells everything itself, wherever an application has tracing. Beside it, an instrumentation's
# span is the outer one of the same trace (OpenInference), or has a trace of its own (OpenLLMetry).
CLAUDE_STREAMED = CLAUDE_ASKED.but(first_token=True)
# The stream was closed before it told what was put out: what is known is not a price.
CLAUDE_CANCELLED = CLAUDE_ASKED.but(
    status="unpriced",
    meters={meter: count for meter, count in CLAUDE_ASKED.meters.items() if meter != "output"},
    cost=None,
    reason="missing_usage",
)


@dataclass(frozen=True)
class Beside:
    """How an instrumentation beside Anthropic's own spans changes what is found."""

    rule: str = ""
    asked: Row = CLAUDE_ASKED
    streamed: Row = CLAUDE_STREAMED
    cancelled: Row = CLAUDE_CANCELLED
    cancelled_duplicates: int = 1
    # How it names an error; Anthropic's library takes the provider's name of it.
    failed: str = "refused"

    @property
    def duplicates(self) -> int:
        return int(self.rule != "")


ANTHROPIC = {
    "native": Beside(cancelled_duplicates=0),
    "native,openinference-anthropic": Beside(
        "within_call",
        # Its own time to the first token it does not tell.
        streamed=CLAUDE_ASKED,
        cancelled=CLAUDE_ASKED.but(meters={**CLAUDE_ASKED.meters, "output": 1}, cost=Decimal("0.002190")),
        failed="anthropic.{}",
    ),
    # It adds the one token that a stream begins with to those that it ends with; the native span counts.
    "native,openllmetry-anthropic": Beside("same_response", cancelled_duplicates=0, failed="{}"),
}
anthropic = pytest.mark.parametrize("application", [by(name) for name in ANTHROPIC], indirect=True)


@anthropic
def test_a_message(application: Watched) -> None:
    """What was read from the cache, and what was written for five minutes and for an hour, have prices of their own:
    0.003225 dollars, where by the input alone it would be 0.0054."""
    beside = ANTHROPIC[application.emitters]
    check(application.play("claude"), beside.asked, requests=1, duplicates=beside.duplicates, rule=beside.rule)


@anthropic
def test_a_streamed_message(application: Watched) -> None:
    beside = ANTHROPIC[application.emitters]
    played = application.play("claude_stream")
    check(played, beside.streamed, requests=1, duplicates=beside.duplicates, rule=beside.rule)


@anthropic
def test_a_streamed_message_that_is_closed_early(application: Watched) -> None:
    beside = ANTHROPIC[application.emitters]
    played = application.play("claude_cancelled")
    check(played, beside.cancelled, requests=1, duplicates=beside.cancelled_duplicates, rule=beside.rule)


@anthropic
def test_messages_with_a_tool(application: Watched) -> None:
    beside = ANTHROPIC[application.emitters]
    played = application.play("claude_tools")
    check(played, beside.asked, CLAUDE_ANSWERED, requests=2, duplicates=2 * beside.duplicates, rule=beside.rule)


@anthropic
def test_a_message_at_the_second_try(application: Watched) -> None:
    beside = ANTHROPIC[application.emitters]
    played = application.play("claude", Script.BUSY_ONCE)
    check(played, beside.asked, requests=2, duplicates=beside.duplicates, rule=beside.rule)


@anthropic
@pytest.mark.parametrize("script", ERRORS)
def test_a_message_that_fails(application: Watched, script: Script) -> None:
    """Two reports in traces of their own that name neither a response nor tokens have nothing in common."""
    beside = ANTHROPIC[application.emitters]
    error, requests = ERRORS[script]
    played = application.play("claude", script)
    call = CLAUDE_ASKED.failed(beside.failed.format(error))
    if beside.rule == "same_response":
        check(played, call, CLAUDE_ASKED.failed("refused"), requests=requests, failure=error)
    else:
        check(played, call, requests=requests, duplicates=beside.duplicates, rule=beside.rule, failure=error)


# An agent's own span has the sum of its calls' tokens, and those of its tools have the tools' arguments.
AGENTS = {"pydantic-ai": 0, "logfire,pydantic-ai": 1}
agents = pytest.mark.parametrize("application", [by(name) for name in AGENTS], indirect=True)


@agents
@pytest.mark.parametrize("scene", ["agent", "agent_stream"])
def test_an_agent_with_a_tool(application: Watched, scene: str) -> None:
    calls = [call.but(first_token=scene == "agent_stream") for call in (ASKED, ANSWERED)]
    played = application.play(scene)
    check(played, *calls, requests=2, duplicates=2 * AGENTS[application.emitters], rule="within_call")
    assert len({row["session"] for row in played.found.rows}) == 1


@agents
def test_an_agent_at_the_second_try(application: Watched) -> None:
    duplicates = 2 * AGENTS[application.emitters]
    check(
        application.play("agent", Script.BUSY_ONCE),
        ASKED,
        ANSWERED,
        requests=4,
        duplicates=duplicates,
        rule="within_call",
    )


@agents
@pytest.mark.parametrize(
    ("script", "error"), [(Script.BROKEN, "ModelServerError"), (Script.FORBIDDEN, "ModelAuthenticationError")]
)
def test_an_agent_that_fails(application: Watched, script: Script, error: str) -> None:
    call = ASKED.failed(f"pydantic_ai.exceptions.{error}")
    played = application.play("agent", script)
    duplicates = AGENTS[application.emitters]
    check(played, call, requests=ERRORS[script][1], duplicates=duplicates, rule="within_call", failure=error)


@pytest.mark.parametrize("application", [by("logfire,logfire-anthropic")], indirect=True)
def test_messages_seen_by_logfire(application: Watched) -> None:
    """It silences Anthropic's own span of a message. A stream's is in one trace with the span that opens it, and the
    report of what it used, by the same numbers alone, in another."""
    check(application.play("claude"), CLAUDE_ASKED, requests=1)
    check(application.play("claude_stream"), CLAUDE_STREAMED, requests=1, duplicates=1, rule="possible_duplicate")
    check(application.play("claude_tools"), CLAUDE_ASKED, CLAUDE_ANSWERED, requests=2)


@pytest.mark.parametrize("application", [by("openinference,openinference-langchain")], indirect=True)
def test_a_chain(application: Watched) -> None:
    """LangChain's spans and those of OpenAI's library below it have separate traces and no ids in common."""
    asked = _unasked(ASKED)
    check(application.play("chain"), asked, asked, requests=2, duplicates=2, rule="possible_duplicate")


@pytest.mark.parametrize("application", [by("openinference,openinference-langchain")], indirect=True)
def test_chains_at_once(application: Watched) -> None:
    asked = _unasked(ASKED)
    check(application.play("chains"), *[asked] * 3, requests=3, duplicates=3, rule="possible_duplicate")


@pytest.mark.parametrize("application", [by("official,openinference")], indirect=True)
@pytest.mark.parametrize("scene", ["chat", "stream"])
def test_two_instrumentations_of_one_library(application: Watched, scene: str) -> None:
    call = ASKED.but(first_token=scene == "stream")
    check(application.play(scene), call, requests=1, duplicates=1, rule="within_call")


@pytest.mark.xdist_group("official")
def test_a_lost_acknowledgement(
    platform: Platform, tenant: Tenant, scripted_provider: ScriptedProvider, scripted: str, tmp_path: Path
) -> None:
    """The exporter sends again what was stored already."""
    relay = Relay(platform.origin, loses=1)
    with (
        relay.running() as origin,
        watched("official", tenant, scripted_provider, scripted, tmp_path, origin=origin) as application,
    ):
        check(application.play("chat"), ASKED, requests=1)
    first, again = relay.exchanges
    assert (first.status, again.status) == (200, 200)
    assert first.body == again.body
