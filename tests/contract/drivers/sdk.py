# mypy: disable-error-code="import-not-found, import-untyped, attr-defined"
"""What a program does with `any-llm-sdk`. Runs in the release's own environment (answering.py).

A call is {"provider", "model", "prompt", "key", "api_base"}; its result is the text and the tokens the caller sees.
With INSTRUMENTED the program has OpenTelemetry set up for itself, as an application may; nothing of that goes anywhere.
"""

import asyncio
import gc
import os
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import any_llm

kept: list[Any] = []

# One event loop for the process, as a program has that never mixes asyncio.run() with the blocking functions.
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)


if "INSTRUMENTED" in os.environ:
    from opentelemetry import trace
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
    from opentelemetry.sdk.trace import TracerProvider

    trace.set_tracer_provider(TracerProvider())
    OpenAIInstrumentor().instrument()


def arguments(prompt: str, model: str, **rest: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **rest}


def opened(provider: str, key: str, api_base: str, **rest: str) -> Any:
    return any_llm.AnyLLM.create(provider, api_key=key, api_base=api_base, **rest)


def shown(completion: Any) -> dict[str, Any]:
    usage = completion.usage
    return {
        "text": completion.choices[0].message.content,
        "model": completion.model,
        "tokens": [usage.prompt_tokens, usage.completion_tokens],
    }


def shown_stream(chunks: list[Any]) -> dict[str, Any]:
    usage = chunks[-1].usage
    return {
        "text": "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices),
        "model": chunks[-1].model,
        "tokens": usage and [usage.prompt_tokens, usage.completion_tokens],
    }


def blocking(call: dict[str, str], **options: Any) -> dict[str, Any]:
    return shown(any_llm.completion(**_call(call), **options))


def blocking_stream(call: dict[str, str], **options: Any) -> dict[str, Any]:
    return shown_stream(list(any_llm.completion(**_call(call), stream=True, **options)))


def awaited(call: dict[str, str], **options: Any) -> dict[str, Any]:
    return shown(loop.run_until_complete(any_llm.acompletion(**_call(call), **options)))


def awaited_stream(call: dict[str, str], **options: Any) -> dict[str, Any]:
    async def run() -> list[Any]:
        return [chunk async for chunk in await any_llm.acompletion(**_call(call), stream=True, **options)]

    return shown_stream(loop.run_until_complete(run()))


def threads(calls: list[dict[str, str]]) -> list[dict[str, Any]]:
    """All at once, in a thread each."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(blocking, calls))


def gather(calls: list[dict[str, str]]) -> list[dict[str, Any]]:
    """All at once, on one provider object; every other one is a stream."""
    first = calls[0]
    shared = opened(first["provider"], first["key"], first["api_base"])

    async def plain(call: dict[str, str]) -> dict[str, Any]:
        return shown(await shared.acompletion(**arguments(call["prompt"], call["model"])))

    async def stream(call: dict[str, str]) -> dict[str, Any]:
        options = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = await shared.acompletion(**arguments(call["prompt"], call["model"]), **options)
        return shown_stream([chunk async for chunk in chunks])

    async def run() -> list[dict[str, Any]]:
        return await asyncio.gather(*((stream if n % 2 else plain)(call) for n, call in enumerate(calls)))

    return loop.run_until_complete(run())


def call_and_keep(call: dict[str, str], **options: str) -> dict[str, Any]:
    """Keeps the provider object, for `call_again` to go on with."""
    kept[:] = [opened(call["provider"], call["key"], call["api_base"], **options)]
    return call_again(call)


def call_again(call: dict[str, str]) -> dict[str, Any]:
    # Awaited: the blocking form of the oldest release hides a RuntimeError behind one of its own.
    return shown(loop.run_until_complete(kept[0].acompletion(**arguments(call["prompt"], call["model"]))))


def open_only(call: dict[str, str]) -> None:
    opened(call["provider"], call["key"], call["api_base"])


CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather of a city.", "parameters": CITY},
}


def tools(call: dict[str, str]) -> str:
    """The model calls a tool, and answers with what that said."""
    said: list[dict[str, Any]] = arguments(**call)["messages"]
    options = {**_call(call), "messages": said, "tools": [TOOL]}
    if call["provider"] == "anthropic":
        options["max_tokens"] = 100
    first = any_llm.completion(**options).choices[0].message
    [asked] = first.tool_calls
    function = {"name": asked.function.name, "arguments": asked.function.arguments}
    said.append(
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": asked.id, "type": "function", "function": function}],
        }
    )
    said.append({"role": "tool", "tool_call_id": asked.id, "content": f"rain {function['arguments']}"})
    text: str = any_llm.completion(**options).choices[0].message.content
    return text


def responses(call: dict[str, str]) -> str:
    """By OpenAI's newer interface, which only some releases trace."""
    options = _call(call)
    [message] = options.pop("messages")
    model = f"{options.pop('provider')}:{options.pop('model')}"
    return str(any_llm.responses(model, input_data=message["content"], **options).model)


def cancelled(call: dict[str, str]) -> None:
    """A stream whose reader has heard enough after the first piece."""

    async def run() -> None:
        chunks = await any_llm.acompletion(**_call(call), stream=True)
        await anext(chunks)
        await chunks.aclose()
        # The SDK's own generator is within that one, and ends when nobody holds it: by a task of the loop's.
        del chunks
        gc.collect()
        await asyncio.sleep(0)
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    loop.run_until_complete(run())


def within(call: dict[str, str]) -> dict[str, Any]:
    """A call inside a span of the application's own."""
    with trace.get_tracer("application").start_as_current_span(f"handle {call['prompt']}"):
        return blocking(call)


def flush() -> None:
    """Sends what the releases that trace have not yet sent; they go on from there."""
    from any_llm.providers.platform import shutdown_telemetry

    shutdown_telemetry()


def _call(call: dict[str, str]) -> dict[str, Any]:
    return {
        **arguments(call["prompt"], call["model"]),
        "provider": call["provider"],
        "api_key": call["key"],
        "api_base": call["api_base"],
    }


COMMANDS = {
    "version": lambda: version("any-llm-sdk"),
    "blocking": blocking,
    "blocking_stream": blocking_stream,
    "awaited": awaited,
    "awaited_stream": awaited_stream,
    "threads": threads,
    "gather": gather,
    "call_and_keep": call_and_keep,
    "call_again": call_again,
    "open_only": open_only,
    "tools": tools,
    "responses": responses,
    "cancelled": cancelled,
    "within": within,
    "flush": flush,
}
