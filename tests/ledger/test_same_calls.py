"""POST /v1/traces: of the reports of one call one counts, in whatever order they come."""

import os
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.db import DataError, connection

from apps.ledger import ingestion, related
from apps.ledger.models import PriceStatus, SpanLink
from tenancy import tenant_scope
from tests.cast import Workspace
from tests.ledger import facts
from tests.ledger.exporting import (
    OPENAI,
    OPENINFERENCE,
    OPENLLMETRY,
    Exporter,
    Sent,
    any_llm,
    chat,
    other_span,
)


def test_a_span_sent_twice_counts_once(exporter: Exporter) -> None:
    sent = chat()
    exporter.send(sent, sent)
    exporter.send(sent)
    assert len(exporter.standings()) == 1
    assert exporter.cost() == Decimal("0.00024")


def anthropic_call() -> tuple[Sent, Sent, Sent]:
    """any-llm's span, an HTTP span below it, and below that the span of Anthropic's own library, which knows the split:
    1,450 input tokens of which 1,000 were read from the cache and 400 written, 100 of these for an hour."""
    model = {
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-4-5",
        "gen_ai.response.model": "claude-sonnet-4-5-20250929",
    }
    outer = any_llm(input_tokens=1_450, output_tokens=70, attributes=model)
    between = other_span().below(outer)
    inner = chat(
        1_450,
        70,
        scope="com.anthropic.sdk.python",
        name="anthropic.messages.create",
        attributes=model
        | {
            "gen_ai.response.id": "msg_1",
            "gen_ai.usage.cache_read.input_tokens": 1_000,
            "gen_ai.usage.cache_write.input_tokens": 400,
            "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 100,
        },
    ).below(between)
    return outer, between, inner


# 50 at 3, 1,000 at 0.30, 300 at 3.75, 100 at 6 and 70 at 15 USD a million; without the split 0.0054.
ANTHROPIC_COST = Decimal("0.003225")


@pytest.mark.parametrize("order", ["012", "210", "021", "102", "120", "201"])
@pytest.mark.parametrize("together", [True, False])
def test_the_outer_call_counts_with_what_the_inner_one_knows(exporter: Exporter, order: str, together: bool) -> None:
    spans = anthropic_call()
    in_order = [spans[int(place)] for place in order]
    if together:
        exporter.send(*in_order)
    else:
        for each in in_order:
            exporter.send(each)
    found = exporter.standings()
    outer, inner = found[spans[0].event_id], found[spans[2].event_id]
    assert exporter.cost() == outer.price.cost == ANTHROPIC_COST
    assert (inner.price.status, inner.price.reason, inner.same_call_as, inner.meters) == (
        PriceStatus.DUPLICATE,
        "within_call",
        spans[0].event_id,
        {},
    )
    assert outer.event.cost == Decimal("0.0054")


def test_a_duplicate_names_the_row_that_counts_whatever_counted_before(exporter: Exporter) -> None:
    outer = chat(scope="langchain")
    middle = chat().below(outer)
    inner = chat(scope="httpx").below(middle)
    for each in (inner, middle, outer):
        exporter.send(each)
    found = exporter.standings()
    assert {one: row.same_call_as for one, row in found.items()} == {
        outer.event_id: None,
        middle.event_id: outer.event_id,
        inner.event_id: outer.event_id,
    }
    # The inner one was the middle one's at first, which stays in its history.
    assert found[inner.event_id].revision == 2
    assert exporter.cost() == Decimal("0.00024")
    exporter.send(inner, middle, outer)
    assert exporter.standings() == found


def test_the_same_response_of_two_traces_is_one_call(exporter: Exporter) -> None:
    response = {"gen_ai.response.id": "chatcmpl-7"}
    split = {"gen_ai.usage.cache_read.input_tokens": 1_000}
    exporter.send(chat(attributes=response | split))
    exporter.send(chat(attributes=response, scope="opentelemetry.instrumentation.openai.v1", start_ms=-20))
    exporter.send(chat(attributes=response | {"gen_ai.provider.name": "azure.ai.openai"}, start_ms=-40))
    statuses = sorted(one.price.status for one in exporter.standings().values())
    assert statuses == ["duplicate", "priced", "priced"]  # another provider's response is another
    assert Decimal("0.000165") in {one.price.cost for one in exporter.standings().values()}


def lookalikes(count: int = 1) -> list[Sent]:
    """LangChain's view and the OpenAI library's of the same calls: separate traces, no id in common."""
    attributes: dict[str, Any] = {
        "openinference.span.kind": "LLM",
        "llm.system": "openai",
        "llm.model_name": "gpt-4o-mini",
    }
    attributes |= {"llm.token_count.prompt": 1_200, "llm.token_count.completion": 100}
    sent = []
    for number in range(count):
        for scope, margin in (("openinference.instrumentation.langchain", 10), (OPENINFERENCE, 0)):
            start, duration = number * 300 - margin, 1_000 + 2 * margin
            sent.append(Sent(dict(attributes), scope, start_ms=start, duration_ms=duration, instance="pod-1"))
    return sent


def test_lookalikes_of_one_process_are_one_call_each(exporter: Exporter) -> None:
    sent = lookalikes(3)
    for each in reversed(sent):
        exporter.send(each)
    reasons = sorted(one.price.reason for one in exporter.standings().values())
    assert reasons == ["", "", "", "possible_duplicate", "possible_duplicate", "possible_duplicate"]
    assert exporter.cost() == 3 * Decimal("0.00024")


def test_what_cannot_be_one_call_is_not_taken_for_it(exporter: Exporter) -> None:
    outer, inner = lookalikes()
    for change in (
        {"instance": "pod-2"},
        {"instance": ""},
        {"scope": outer.scope},
        {"start_ms": 500},
        {"attributes": inner.attributes | {"llm.token_count.prompt": 1_201}},
        {"attributes": inner.attributes | {"llm.model_name": "gpt-4o"}},
    ):
        fields = {**vars(inner), "span": os.urandom(8), "trace": os.urandom(16), **change}
        exporter.send(Sent(**fields))
    exporter.send(outer)
    assert {one.price.status for one in exporter.standings().values()} == {PriceStatus.PRICED}


def test_spans_that_are_each_others_parents_still_count_once(exporter: Exporter) -> None:
    one, other = chat(), chat()
    one.below(other)
    other.below(one)
    exporter.send(one, other)
    assert exporter.cost() == Decimal("0.00024")


def test_an_agents_turns_are_calls_of_their_own(exporter: Exporter) -> None:
    usage = {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 2_400}
    agent = chat(attributes=usage)
    tool = chat(attributes={"gen_ai.operation.name": "execute_tool"}).below(agent)
    first, second = chat().below(agent), chat().below(tool)
    exporter.send(first, second, tool, agent)
    assert set(exporter.standings()) == {first.event_id, second.event_id}
    assert exporter.cost() == 2 * Decimal("0.00024")
    with tenant_scope(exporter.workspace.organization):
        # A tool's span is kept neither: what is below it is no part of what is above.
        assert SpanLink.objects.filter(project_id=exporter.project.id).count() == 0


TOOLS: list[tuple[str, dict[str, str]]] = [
    (OPENAI, {"gen_ai.operation.name": "execute_tool"}),
    (OPENAI, {"gen_ai.operation.name": "invoke_agent"}),
    ("traceloop.tracer", {"traceloop.span.kind": "tool"}),
    (OPENINFERENCE, {"openinference.span.kind": "TOOL"}),
    ("langfuse-sdk", {"langfuse.observation.type": "agent"}),
    ("mlflow", {"mlflow.spanType": '"TOOL"'}),
    ("ai", {"ai.operationId": "ai.toolCall"}),
]


@pytest.mark.parametrize(("scope", "attributes"), TOOLS)
def test_a_call_that_a_tool_makes_is_no_part_of_the_one_that_asked_for_the_tool(
    exporter: Exporter, scope: str, attributes: dict[str, str]
) -> None:
    outer = chat(duration_ms=5_000)
    tool = Sent(attributes, scope).below(outer)
    inner = chat(5_000, 500).below(other_span().below(tool))
    exporter.send(inner)
    exporter.send(outer, tool)
    assert exporter.cost() == Decimal("0.00024") + Decimal("0.00105")


@pytest.mark.parametrize("together", [True, False])
def test_two_responses_are_two_calls_even_one_within_the_other(exporter: Exporter, together: bool) -> None:
    own, others = ({"gen_ai.response.id": response} for response in ("chatcmpl-own", "chatcmpl-other"))
    outer = chat(attributes=own, duration_ms=5_000)
    between = other_span().below(outer)
    inner = chat(5_000, 500, attributes=others).below(between)
    same = chat(5_000, 500, scope=OPENLLMETRY).below(inner)
    if together:
        exporter.send(outer, between, inner, same)
    else:
        for each in (same, inner, between, outer):
            exporter.send(each)
    assert exporter.cost() == Decimal("0.00024") + Decimal("0.00105")
    assert exporter.standings()[same.event_id].same_call_as == inner.event_id


def wrapper(scope: str, attributes: dict[str, Any]) -> tuple[Sent, Sent, Sent]:
    """A function that somebody marked as a call, without saying of which model, and the two calls that it makes."""
    outer = Sent(attributes, scope, duration_ms=3_000)
    return outer, chat().below(outer), chat(5_000, 500, start_ms=1_000).below(other_span().below(outer))


@pytest.mark.parametrize("order", ["012", "210", "102", "120"])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("scope", "attributes"),
    [
        ("mlflow.tracing.provider", {"mlflow.spanType": '"LLM"'}),
        ("langfuse-sdk", {"langfuse.observation.type": "generation"}),
        # Whose model that is can't be told.
        (
            "langfuse-sdk",
            {
                "langfuse.observation.type": "generation",
                "langfuse.observation.model.name": "our-own-router",
                "langfuse.observation.usage_details": '{"input": 6200, "output": 600}',
            },
        ),
    ],
)
def test_a_report_that_names_no_model_leaves_the_calls_within_it_their_prices(
    exporter: Exporter, scope: str, attributes: dict[str, Any], together: bool, order: str
) -> None:
    outer, first, second = spans = wrapper(scope, attributes)
    second.parent = outer.span
    in_order = [spans[int(place)] for place in order]
    if together:
        exporter.send(*in_order)
    else:
        for each in in_order:
            exporter.send(each)
    found = exporter.standings()
    assert exporter.cost() == Decimal("0.00024") + Decimal("0.00105")
    assert (found[outer.event_id].price.reason, found[outer.event_id].same_call_as) == ("around_calls", first.event_id)
    assert {found[each.event_id].price.status for each in (first, second)} == {PriceStatus.PRICED}


def test_a_report_that_names_no_model_is_a_call_where_nothing_is_known_to_be_within(exporter: Exporter) -> None:
    outer, *_ = wrapper("mlflow.tracing.provider", {"mlflow.spanType": '"LLM"'})
    within = Sent({"mlflow.spanType": '"LLM"'}, "mlflow.tracing.provider").below(outer)
    exporter.send(outer)
    assert [one.price.status for one in exporter.standings().values()] == [PriceStatus.UNPRICED]
    exporter.send(within)
    found = exporter.standings()
    assert found[within.event_id].price.status == PriceStatus.UNPRICED
    assert found[outer.event_id].same_call_as == within.event_id


def test_a_report_that_names_no_model_does_not_come_between_two_of_one_call(exporter: Exporter) -> None:
    outer, _, inner = anthropic_call()
    between = Sent({"mlflow.spanType": '"LLM"', "mlflow.chat.tokenUsage": '{"input_tokens": 9, "output_tokens": 9}'})
    between.scope = "mlflow"
    inner.parent = between.below(outer).span
    exporter.send(inner)
    exporter.send(between)
    exporter.send(outer)
    assert exporter.cost() == exporter.standings()[outer.event_id].price.cost == ANTHROPIC_COST
    assert exporter.standings()[between.event_id].price.reason == "within_call"


def test_what_was_left_out_leads_to_the_row_that_counts_whatever_comes_later(exporter: Exporter) -> None:
    outer = chat()
    middle = chat().below(outer)
    inner = chat().below(middle)
    exporter.send(middle, inner)
    assert exporter.standings()[inner.event_id].same_call_as == middle.event_id
    exporter.send(outer)
    found = exporter.standings()
    assert {found[each.event_id].same_call_as for each in (middle, inner)} == {outer.event_id}
    assert (found[inner.event_id].revision, exporter.cost()) == (1, Decimal("0.00024"))
    exporter.send(outer, middle, inner)
    assert {one.revision for one in exporter.standings().values()} == {0, 1}


@pytest.mark.parametrize("name", ["a call", "no model"])
def test_links_are_forgotten_and_what_they_led_to_is_not(exporter: Exporter, name: str) -> None:
    outer, between, inner = anthropic_call()
    if name == "no model":
        outer.scope, outer.attributes = "mlflow", {"mlflow.spanType": '"LLM"'}
    exporter.send(outer, between, inner)
    with tenant_scope(exporter.workspace.organization):
        assert SpanLink.objects.filter(project_id=exporter.project.id).delete()[0] == 1
    before = exporter.standings()
    exporter.send(inner)
    exporter.send(outer)
    assert exporter.standings() == before
    assert exporter.cost() == ANTHROPIC_COST


def test_a_batch_that_is_tried_again_alone_has_nothing_left_of_the_first_time(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    outer, inner = chat(), chat()
    inner.below(outer)
    batches: list[Any] = []

    def keep(_: str, batch: Any) -> ingestion.Stored:
        batches.append(batch)
        return ingestion.Stored()

    with monkeypatch.context() as patch:
        patch.setattr(ingestion._group, "store", keep)
        exporter.send(outer)
        exporter.send(inner)
    with tenant_scope(exporter.workspace.organization):
        with mock.patch.object(ingestion, "store_links", side_effect=DataError), pytest.raises(DataError):
            ingestion._commit(batches)
        ingestion._commit(batches[1:])
    assert [one.same_call_as for one in exporter.standings().values()] == [None]
    assert exporter.cost() == Decimal("0.00024")


def test_of_thousands_of_the_same_call_hardly_any_are_looked_at(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One instrumentation, one process, always as many tokens: none of them can be another's call."""
    statement, rows = related._RELATED, list[int]()

    class Counting:
        def fetch_all(self, *values: Any) -> list[Any]:
            found = statement.fetch_all(*values)
            rows.append(len(found))
            return found

    def same(start: int, count: int, **others: Any) -> list[Sent]:
        return [chat(instance="pod-1", start_ms=1_000 * each, **others) for each in range(start, start + count)]

    facts.plan_as_for_a_large_table()
    exporter.send(*same(0, 2_000, duration_ms=900))
    monkeypatch.setattr(related, "_RELATED", Counting())
    read = entries_read(exporter)
    exporter.send(*same(2_000, 500, duration_ms=900))
    # All of an hour once, not all of an hour for each.
    assert 2_000 <= entries_read(exporter) - read <= 5_000
    assert sum(rows) == 0
    # A second instrumentation reports twenty of them.
    exporter.send(*same(1_000, 20, duration_ms=905, scope=OPENLLMETRY))
    reasons = [one.price.reason for one in exporter.standings().values()]
    assert (len(reasons), reasons.count("possible_duplicate")) == (2_520, 20)
    assert sum(rows) <= 4 * 20


def entries_read(exporter: Exporter) -> int:
    """Of the fingerprints' index, in the test's transaction."""
    with tenant_scope(exporter.workspace.organization), connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_get_xact_tuples_returned('usage_event_fingerprint'::regclass)")
        (count,) = cursor.fetchone()
    return int(count)


def test_two_projects_do_not_see_each_others_spans(exporter: Exporter, acme: Workspace) -> None:
    other = Exporter(acme)
    outer, _, inner = anthropic_call()
    inner.parent = outer.span
    exporter.send(outer)
    other.send(inner)
    assert exporter.cost() == Decimal("0.0054")
    assert other.cost() == ANTHROPIC_COST
