# mypy: disable-error-code="import-not-found, import-untyped, attr-defined, untyped-decorator"
"""What applications do with OpenAI's and Anthropic's libraries, pydantic-ai and LangChain, watched by the emitters that
EMITTERS names. Runs in the emitters' environment (answering.py); where spans go is in OpenTelemetry's own variables.

Every command takes the address of a scripted provider (tests/contract/scripted.py) and the prompt; what befalls the
call is not the application's to judge, so errors come back as the exception's name.
"""

import asyncio
import gc
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import openai
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

CHAT = "gpt-4o-mini"
EMBEDDING = "text-embedding-3-small"
CLAUDE = "claude-sonnet-4-5-20250929"
EMITTERS = os.environ["EMITTERS"].split(",")
KEY = os.environ["PROVIDER_KEY"]

flushes: list[Callable[[], Any]] = []


def own_provider() -> None:
    """The application's tracing, as OpenTelemetry's documents set it up."""
    if not flushes:
        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
        flushes.append(provider.force_flush)


def official() -> None:
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()


def openllmetry() -> None:
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()


def openinference() -> None:
    from openinference.instrumentation.openai import OpenAIInstrumentor

    OpenAIInstrumentor().instrument()


def openinference_anthropic() -> None:
    from openinference.instrumentation.anthropic import AnthropicInstrumentor

    AnthropicInstrumentor().instrument()


def openllmetry_anthropic() -> None:
    from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor

    AnthropicInstrumentor().instrument()


def openinference_langchain() -> None:
    from openinference.instrumentation.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument()


def pydantic_ai() -> None:
    from pydantic_ai import Agent

    Agent.instrument_all()


def logfire() -> None:
    import logfire as library

    library.configure(send_to_logfire=False, console=False, metrics=False)
    flushes.append(library.force_flush)
    library.instrument_openai()


def logfire_anthropic() -> None:
    import logfire as library

    library.instrument_anthropic()


def langfuse() -> None:
    import langfuse as library
    import langfuse.openai  # the import is what instruments

    client = library.Langfuse(public_key="pk", secret_key="sk", span_exporter=OTLPSpanExporter())
    flushes.append(client.flush)


def mlflow() -> None:
    import mlflow as library

    # Without one, this release wants a package that it doesn't ask for. Spans go to OpenTelemetry's address alone.
    library.set_tracking_uri("http://127.0.0.1:1")
    library.openai.autolog()
    # Its own flush leaves out what goes to OpenTelemetry. The provider is made with the first span.
    flushes.append(lambda: library.tracing.provider.provider.get().force_flush())


def mlflow_semconv() -> None:
    os.environ["MLFLOW_ENABLE_OTEL_GENAI_SEMCONV"] = "true"
    mlflow()


def native() -> None:
    """Anthropic's library needs nothing but the application's tracing."""


# These bring tracing of their own.
OWN_TRACING = {"logfire": logfire, "langfuse": langfuse, "mlflow": mlflow, "mlflow-semconv": mlflow_semconv}
INSTRUMENTATIONS = {
    "official": official,
    "openllmetry": openllmetry,
    "openllmetry-anthropic": openllmetry_anthropic,
    "openinference": openinference,
    "openinference-anthropic": openinference_anthropic,
    "openinference-langchain": openinference_langchain,
    "pydantic-ai": pydantic_ai,
    "logfire-anthropic": logfire_anthropic,
    "native": native,
}


def start() -> None:
    for name in EMITTERS:
        if name in OWN_TRACING:
            OWN_TRACING[name]()
    own_provider()
    for name in EMITTERS:
        if name in INSTRUMENTATIONS:
            INSTRUMENTATIONS[name]()


def flush() -> None:
    """Returns when everything was sent."""
    for one in flushes:
        one()


def client(base: str, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(api_key=KEY, base_url=f"{base}/v1", **options)


def messages(prompt: str) -> list[dict[str, Any]]:
    return [{"role": "system", "content": f"system {prompt}"}, {"role": "user", "content": prompt}]


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather of a city.", "parameters": CITY},
}


def chat(base: str, prompt: str) -> None:
    # An own header, with what must not be kept.
    client(base).chat.completions.create(model=CHAT, messages=messages(prompt), extra_headers={"X-Note": prompt})


def awaited(base: str, prompt: str) -> None:
    async def run() -> None:
        async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{base}/v1") as asynchronous:
            await asynchronous.chat.completions.create(model=CHAT, messages=messages(prompt))

    asyncio.run(run())


def stream(base: str, prompt: str) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    for _ in client(base).chat.completions.create(model=CHAT, messages=messages(prompt), **options):
        pass


def stream_without_usage(base: str, prompt: str) -> None:
    for _ in client(base).chat.completions.create(model=CHAT, messages=messages(prompt), stream=True):
        pass


def cancelled(base: str, prompt: str) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = client(base).chat.completions.create(model=CHAT, messages=messages(prompt), **options)
    next(iter(chunks))
    chunks.close()


def tools(base: str, prompt: str) -> None:
    """The model calls a tool, and answers with what that said."""
    said = messages(prompt)
    first = client(base).chat.completions.create(model=CHAT, messages=said, tools=[TOOL])
    [call] = first.choices[0].message.tool_calls
    said += [first.choices[0].message.model_dump(exclude_none=True)]
    said += [{"role": "tool", "tool_call_id": call.id, "content": f"rain over {call.function.arguments}"}]
    client(base).chat.completions.create(model=CHAT, messages=said, tools=[TOOL])


def responses(base: str, prompt: str) -> None:
    client(base).responses.create(model=CHAT, instructions=f"system {prompt}", input=prompt)


def responses_stream(base: str, prompt: str) -> None:
    for _ in client(base).responses.create(model=CHAT, input=prompt, stream=True):
        pass


def embeddings(base: str, prompt: str) -> None:
    client(base).embeddings.create(model=EMBEDDING, input=prompt, encoding_format="float")


def again(base: str, prompt: str) -> None:
    """The application's own way to try again."""
    patient = client(base, max_retries=0)
    for _ in range(2):
        try:
            patient.chat.completions.create(model=CHAT, messages=messages(prompt))
        except openai.RateLimitError:
            continue
        break


def claude_client(base: str) -> Any:
    # Only here: it takes a second to import.
    import anthropic

    return anthropic.Anthropic(api_key=KEY, base_url=base)


def claude(base: str, prompt: str) -> None:
    system = [{"type": "text", "text": f"system {prompt}", "cache_control": {"type": "ephemeral"}}]
    asked = [{"role": "user", "content": prompt}]
    claude_client(base).messages.create(model=CLAUDE, max_tokens=100, system=system, messages=asked)


def claude_stream(base: str, prompt: str) -> None:
    asked = [{"role": "user", "content": prompt}]
    chunks = claude_client(base).messages.create(model=CLAUDE, max_tokens=100, messages=asked, stream=True)
    for _ in chunks:
        pass


def claude_cancelled(base: str, prompt: str) -> None:
    asked = [{"role": "user", "content": prompt}]
    chunks = claude_client(base).messages.create(model=CLAUDE, max_tokens=100, messages=asked, stream=True)
    next(iter(chunks))
    chunks.close()


def claude_tools(base: str, prompt: str) -> None:
    tool = {"name": "weather", "description": "The weather.", "input_schema": CITY}
    said: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
    caller = claude_client(base)
    first = caller.messages.create(model=CLAUDE, max_tokens=100, messages=said, tools=[tool])
    [call] = first.content
    said += [{"role": "assistant", "content": [call.model_dump(include={"type", "id", "name", "input"})]}]
    said += [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": f"rain {prompt}"}]}
    ]
    caller.messages.create(model=CLAUDE, max_tokens=100, messages=said, tools=[tool])


def agent(base: str, prompt: str) -> None:
    """An agent of pydantic-ai that calls a tool."""
    _agent(base, prompt).run_sync(prompt)


def agent_stream(base: str, prompt: str) -> None:
    async def run() -> None:
        async with _agent(base, prompt).run_stream(prompt) as result:
            await result.get_output()

    asyncio.run(run())


def _agent(base: str, prompt: str) -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel(CHAT, provider=OpenAIProvider(base_url=f"{base}/v1", api_key=KEY))
    made = Agent(model, system_prompt=f"system {prompt}", name="forecaster")

    @made.tool_plain
    def weather(city: str) -> str:
        return f"rain over {city}"

    return made


def _ask(base: str) -> Any:
    """A chain of LangChain with one call."""
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model=CHAT, base_url=f"{base}/v1", api_key=KEY)
    return ChatPromptTemplate.from_template("Tell {what}") | model | StrOutputParser()


def chain(base: str, prompt: str) -> None:
    ask = _ask(base)
    (ask | (lambda answer: {"what": f"again {answer}"}) | ask).invoke({"what": prompt})


def chains(base: str, prompt: str) -> None:
    """Three at once."""
    _ask(base).batch([{"what": prompt}] * 3)


SCENES = (
    *(chat, awaited, stream, stream_without_usage, cancelled, tools, responses, responses_stream, embeddings, again),
    *(claude, claude_stream, claude_cancelled, claude_tools, agent, agent_stream, chain, chains),
)


def play(scene: str, base: str, prompt: str) -> str:
    """Play a scene and send what there is to say of it; the name of the exception, or nothing."""
    failure = ""
    try:
        {one.__name__: one for one in SCENES}[scene](base, prompt)
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("openai", "anthropic", "pydantic_ai"):
            raise
        failure = type(error).__name__
    # Some emitters end their span when nobody holds the stream any more.
    gc.collect()
    flush()
    return failure


start()
# What is here by now stays, so that collecting what a scene leaves is quick.
gc.freeze()
COMMANDS = {"version": version, "play": play}
