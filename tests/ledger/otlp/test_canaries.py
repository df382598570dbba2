"""Content goes nowhere: a canary in every attribute that an emitter may put content into, below every emitter's scope,
in every place of a span that can hold text."""

import json
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from apps.ledger.emitters import EMITTERS, KEYS, RESOURCE_KEYS, read
from apps.ledger.otlp.decode import JSON, PROTOBUF, decode
from tests.ledger.otlp.spans import ERROR, as_json, event, key_values, request, span

CANARY = "canary-7f3a"
# What people write: words, punctuation, JSON, control characters.
TEXTS = (
    CANARY,
    f"My name is {CANARY}, call me!",
    json.dumps({"messages": [{"role": "user", "content": CANARY}], "prompt_tokens": CANARY, CANARY: 1}),
    json.dumps(CANARY),
    f"\0{CANARY}\n",
)

# Names that hold content or may, by whose they are. A digit stands for the index of a message, choice or document.
CONTENT = {
    "opentelemetry": """
        gen_ai.input.messages gen_ai.output.messages gen_ai.system_instructions gen_ai.tool.definitions
        gen_ai.tool.description gen_ai.tool.name gen_ai.tool.call.arguments gen_ai.tool.call.result
        gen_ai.retrieval.query.text gen_ai.retrieval.documents gen_ai.memory.query.text gen_ai.memory.records
        gen_ai.evaluation.explanation gen_ai.agent.description gen_ai.agent.name gen_ai.prompt.name
        gen_ai.prompt.variable.city gen_ai.request.stop_sequences gen_ai.prompt gen_ai.prompt.0.content
        gen_ai.completion gen_ai.completion.0.content gen_ai.data_source.id gen_ai.response.finish_reasons
        gen_ai.input_messages gen_ai.output_messages exception.message exception.stacktrace""",
    "openllmetry": """
        traceloop.entity.input traceloop.entity.output traceloop.entity.name traceloop.workflow.name
        traceloop.prompt.template traceloop.prompt.template_variables traceloop.association.properties.user
        gen_ai.task.input gen_ai.task.output gen_ai.request.structured_output_schema gen_ai.content.completion.chunk
        gen_ai.headers llm.headers llm.request.functions llm.request.functions.0.description mcp.request.argument
        mcp.response.value db.query.text db.pinecone.query.filter db.query.result.document llm.prompts llm.completions""",
    "openinference": """
        input.value output.value input.images output.images input.documents output.documents
        llm.input_messages llm.input_messages.0.message.content llm.output_messages.0.message.content
        llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments llm.prompts.0 llm.choices.0
        llm.function_call llm.invocation_parameters llm.prompt_template.template llm.prompt_template.variables
        llm.tools.0.tool.json_schema tool.parameters tool.description tool.name embedding.embeddings
        embedding.embeddings.0.embedding.text embedding.embeddings.0.embedding.vector retrieval.documents.0.document.content
        reranker.query reranker.input_documents.0.document.content message.content image.url audio.url video.url
        document.url audio.transcript document.content document.metadata metadata tag.tags""",
    "pydantic_ai and logfire": """
        pydantic_ai.all_messages pydantic_ai.all_messages_events events all_messages_events final_result
        model_request_parameters request_data response_data gen_ai.usage.raw logfire.msg logfire.json_schema
        logfire.msg_template prompt input output tool_arguments tool_response""",
    "langfuse": """
        langfuse.observation.input langfuse.observation.output langfuse.observation.metadata
        langfuse.observation.metadata.note langfuse.trace.input langfuse.trace.output langfuse.trace.metadata
        langfuse.trace.metadata.note langfuse.trace.name langfuse.trace.tags langfuse.observation.model.parameters
        langfuse.observation.status_message langfuse.observation.usage_details langfuse.observation.cost_details
        langfuse.experiment.item.expected_output langfuse.experiment.metadata langfuse.environment""",
    "mlflow": """
        mlflow.spanInputs mlflow.spanOutputs mlflow.chat.tools mlflow.chat.messages mlflow.traceInputs
        mlflow.traceOutputs mlflow.traceRequestPreview mlflow.trace.intermediate_outputs mlflow.traceTag.note
        mlflow.spanFunctionName mlflow.spanDescription mlflow.linkedPrompts mlflow.chat.tokenUsage mlflow.llm.cost""",
    "vercel and others": """
        ai.prompt ai.prompt.messages ai.prompt.tools ai.response.text ai.response.object ai.response.toolCalls
        ai.response.providerMetadata ai.result.text ai.toolCall.args ai.toolCall.result ai.value ai.values ai.embedding
        ai.embeddings ai.telemetry.metadata.note gcp.vertex.agent.llm_request gcp.vertex.agent.llm_response
        genkit:input genkit:output lk.chat_ctx lmnr.span.input lmnr.span.output flue.input task.description
        crew_tasks smolagents.task""",
    "any": """
        url.full url.query http.url http.target http.request.body db.statement db.query.text process.command_args
        process.command_line host.name code.filepath note""",
}
NAMES = [name for names in CONTENT.values() for name in names.split()]
SCOPES = [emitter.scopes[0].replace("*", "python") for emitter in EMITTERS] + ["my.library"]

# Where free text is kept by design: the published names and ids (docs/stored-data.md).
FREE = {key for key, kind in KEYS.items() if kind.about.startswith(("text", "id"))}
FREE_FIELDS = {
    "provider",
    "model",
    "request_model",
    "response_id",
    "client_name",
    "session",
    "user",
    "scope",
    "instance",
    "sequence_source",
    # Names only, no sentences: see values.ERROR_TYPE and values.TIER.
    "error_type",
    "service_tier",
}

# What makes each scope's span a call, so that its reading is tried as well.
CALLS: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.response.id": "r-1",
    "gen_ai.usage.input_tokens": 5,
    "openinference.span.kind": "LLM",
    "langfuse.observation.type": "generation",
    "mlflow.spanType": '"LLM"',
    "ai.operationId": "ai.generateText.doGenerate",
}


def check(made: ExportTraceServiceRequest) -> None:
    decoded = decode(made.SerializeToString(), PROTOBUF)
    assert decoded == decode(as_json(made), JSON)
    assert (len(decoded.spans), decoded.rejected) == (1, 0)
    assert CANARY not in repr(decoded)
    found = read(decoded.spans[0])
    assert found is not None
    assert CANARY not in repr(found)


def test_names_of_content_are_no_names_of_text_that_is_kept() -> None:
    assert FREE & set(NAMES) == set()
    # These three are JSON with counts and amounts in it, and of several emitters.
    kept = {name for name in NAMES if name in KEYS}
    assert kept == {
        "gen_ai.usage.raw",
        "langfuse.observation.usage_details",
        "langfuse.observation.cost_details",
        "mlflow.chat.tokenUsage",
        "mlflow.llm.cost",
    }


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("text", TEXTS)
def test_attributes(scope: str, text: str) -> None:
    name = "llm.request" if scope == "any-llm" else "chat"
    check(request(span({**dict.fromkeys(NAMES, text), **CALLS}, name=name), scope=scope))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    "wrap", [lambda text: [text], lambda text: {"x": text}, lambda text: text.encode(), lambda t: [[t]]]
)
def test_attributes_that_are_no_scalars(scope: str, wrap: Any) -> None:
    """Not even where a name or an id would be kept."""
    values = {key: wrap(CANARY) for key in {*KEYS, *NAMES} - CALLS.keys()}
    name = "llm.request" if scope == "any-llm" else "chat"
    check(request(span({**values, **CALLS}, name=name), scope=scope))


def everywhere(scope: str, canary: str) -> ExportTraceServiceRequest:
    """A call of this scope with the canary in all attributes that may hold content, and wherever else text can stand."""
    attributes = dict.fromkeys([*KEYS, *RESOURCE_KEYS, *NAMES], canary)
    made = span(
        {**dict.fromkeys(NAMES, canary), **CALLS},
        name="llm.request" if scope == "any-llm" else f"chat {canary}",
        trace_state=f"vendor={canary}",
        events=[
            event(name, 1, **{key.replace(".", "__"): value for key, value in attributes.items()})
            for name in (
                "exception",
                "llm.first_token",
                "gen_ai.content.completion.chunk",
                "gen_ai.choice",
                "gen_ai.user.message",
                "gen_ai.client.inference.operation.details",
                canary,
            )
        ],
    )
    for one in made.events:
        # A class's name is kept, as long as it is one.
        one.attributes.append(key_values({"exception.type": f"{canary} said hello"})[0])
    made.status.CopyFrom(ERROR)
    made.status.message = canary
    made.links.add(trace_id=b"1" * 16, span_id=b"2" * 8, trace_state=canary, attributes=key_values(attributes))
    whole = request(made, scope=scope, resource=dict.fromkeys([*KEYS, *NAMES], canary))
    whole.resource_spans[0].schema_url = canary
    scoped = whole.resource_spans[0].scope_spans[0]
    scoped.schema_url = canary
    scoped.scope.version = canary
    scoped.scope.attributes.extend(key_values(attributes))
    return whole


@pytest.mark.parametrize("scope", SCOPES)
def test_every_other_place(scope: str) -> None:
    check(everywhere(scope, CANARY))


@pytest.mark.parametrize("scope", SCOPES)
def test_a_call_holds_text_in_the_published_fields_only(scope: str) -> None:
    """Whatever stands in the attributes that are read."""
    values = dict.fromkeys(KEYS.keys() - CALLS.keys(), CANARY)
    made = span({**values, **CALLS}, name="llm.request" if scope == "any-llm" else "chat")
    [decoded] = decode(request(made, scope=scope).SerializeToString(), PROTOBUF).spans
    found = read(decoded)
    assert found is not None
    holding = {name for name, value in msgspec.structs.asdict(found).items() if CANARY in repr(value)}
    assert holding <= FREE_FIELDS
    assert holding
