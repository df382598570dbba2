"""An OpenAI and an Anthropic on loopback that answer as the first part of the path says, so that a program chooses
what befalls it by the address that it gives to its library:

    <origin>/<script>/v1    for OpenAI's libraries
    <origin>/<script>       for Anthropic's

What an answer says it used is the same every time; only its id is new.
"""

import itertools
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.contract.fakes import DATED, Quiet, serving

CHAT = "gpt-4o-mini"
EMBEDDING = "text-embedding-3-small"
CLAUDE = "claude-sonnet-4-5-20250929"

# Of a chat and of a response. The second turn of a tool call reads what the tool said.
INPUT, CACHED, OUTPUT, REASONING = 1_200, 1_000, 300, 120
TURN_INPUT, TURN_OUTPUT = 1_400, 80
EMBEDDED = 4
# Of a message: what came neither from the cache nor went into it, read, written for five minutes and for an hour.
FRESH, READ, WRITTEN_5M, WRITTEN_1H, SAID = 50, 1_000, 300, 100, 70

# What every prompt, tool and answer holds.
_WORD = re.compile(r"word-[0-9a-f]{32}")


class Script(StrEnum):
    """What befalls a request."""

    OK = "ok"
    # Says nothing of what was used.
    SILENT = "silent"
    # A request is turned away, and answered when it comes again.
    BUSY_ONCE = "busy-once"
    BUSY = "busy"
    BROKEN = "broken"
    FORBIDDEN = "forbidden"


_STATUS = {Script.BUSY: 429, Script.BROKEN: 500, Script.FORBIDDEN: 401}


@dataclass(frozen=True)
class Request:
    """What a library sent: to which script and path, with which key, and the word in it."""

    script: Script
    path: str
    key: str | None
    word: str


class ScriptedProvider:
    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._turned_away: set[str] = set()

    def take(self, request: Request, body: dict[str, Any]) -> tuple[int, Any]:
        """A status, and what to answer: an object, or the pieces of a stream."""
        with self._lock:
            self.requests.append(request)
            number = next(self._numbers)
            status = _STATUS.get(request.script, 200)
            if request.script is Script.BUSY_ONCE:
                status = 429 if repr(body) not in self._turned_away else 200
                # The next one like it is a first one again.
                self._turned_away ^= {repr(body)}
        if status != 200:
            # Providers do repeat what they were sent.
            return status, {"type": "error", "error": {"type": "refused", "message": f"No: {request.word}"}}
        says_usage = request.script is not Script.SILENT
        answer = _ANSWERS[request.path]
        return 200, answer(f"{number:06d}", request.word, body, says_usage)

    @contextmanager
    def running(self) -> Iterator[str]:
        """Its origin."""
        provider = self

        class Handler(Quiet):
            def do_POST(self) -> None:  # noqa: N802 - http.server's name
                data = self.read_body()
                _, script, path = self.path.split("/", 2)
                word = _WORD.search(data.decode())
                key = self.headers["X-Api-Key"] or self.headers["Authorization"]
                request = Request(Script(script), path, key, word.group() if word else "")
                body = json.loads(data)
                status, answer = provider.take(request, body)
                _answer(self, status, answer, request.word)

        with serving(Handler) as origin:
            yield origin


def _answer(handler: BaseHTTPRequestHandler, status: int, answer: Any, word: str) -> None:
    stream = isinstance(answer, list)
    handler.send_response(status)
    handler.send_header("Content-Type", "text/event-stream" if stream else "application/json")
    handler.send_header("X-Request-Id", f"request {word}")
    if status != 200:
        handler.send_header("Retry-After-Ms", "1")
    handler.end_headers()  # HTTP/1.0: the body ends with the connection
    # Some programs hear enough before the end of a stream.
    with suppress(BrokenPipeError, ConnectionResetError):
        for piece in answer if stream else [json.dumps(answer)]:
            handler.wfile.write(piece.encode())
            handler.wfile.flush()


def _tool_turn(body: dict[str, Any]) -> tuple[bool, bool]:
    """Whether the model should call a tool now, and whether it has what the tool said."""
    has_result = any(
        message.get("role") == "tool" or (_is_result(message.get("content"))) for message in body["messages"]
    )
    return bool(body.get("tools")) and not has_result, has_result


def _is_result(content: Any) -> bool:
    return isinstance(content, list) and any(part.get("type") == "tool_result" for part in content)


def _chat(number: str, word: str, body: dict[str, Any], says_usage: bool) -> Any:
    calls_tool, has_result = _tool_turn(body)
    model = body["model"]
    common = {"id": f"chatcmpl-{number}", "created": 1_700_000_000, "model": DATED.get(model, model)}
    tokens = (TURN_INPUT, 0, TURN_OUTPUT, 0) if has_result else (INPUT, CACHED, OUTPUT, REASONING)
    usage = {
        "prompt_tokens": tokens[0],
        "completion_tokens": tokens[2],
        "total_tokens": tokens[0] + tokens[2],
        "prompt_tokens_details": {"cached_tokens": tokens[1], "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": tokens[3], "audio_tokens": 0},
    }
    message: dict[str, Any] = {"role": "assistant", "content": f"answer {word}"}
    if calls_tool:
        name = body["tools"][0]["function"]["name"]
        call = {
            "id": f"call_{number}",
            "type": "function",
            "function": {"name": name, "arguments": json.dumps({"city": word})},
        }
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    reason = "tool_calls" if calls_tool else "stop"
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": reason}
        told = {"usage": usage} if says_usage else {}
        return {**common, "object": "chat.completion", "choices": [choice], **told}

    def chunk(**rest: Any) -> str:
        return f"data: {json.dumps({**common, 'object': 'chat.completion.chunk', **rest})}\n\n"

    def delta(what: dict[str, Any], reason: str | None = None) -> str:
        return chunk(choices=[{"index": 0, "delta": what, "finish_reason": reason}])

    if calls_tool:
        [call] = message["tool_calls"]
        chunks = [delta({"role": "assistant", "content": None, "tool_calls": [{"index": 0, **call}]})]
    else:
        chunks = [
            delta({"role": "assistant", "content": ""}),
            *(delta({"content": part}) for part in ("answer ", word)),
        ]
    chunks.append(delta({}, reason))
    if says_usage and (body.get("stream_options") or {}).get("include_usage"):
        chunks.append(chunk(choices=[], usage=usage))
    return [*chunks, "data: [DONE]\n\n"]


def _response(number: str, word: str, body: dict[str, Any], says_usage: bool) -> Any:
    usage = {
        "input_tokens": INPUT,
        "input_tokens_details": {"cached_tokens": CACHED},
        "output_tokens": OUTPUT,
        "output_tokens_details": {"reasoning_tokens": REASONING},
        "total_tokens": INPUT + OUTPUT,
    }
    part = {"type": "output_text", "text": f"answer {word}", "annotations": []}
    message = {"type": "message", "id": f"msg_{number}", "role": "assistant", "status": "completed", "content": [part]}
    response = {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": DATED.get(body["model"], body["model"]),
        "output": [message],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        **({"usage": usage} if says_usage else {}),
    }
    if not body.get("stream"):
        return response
    begun = {**response, "status": "in_progress", "output": []}
    begun.pop("usage", None)
    delta = {"item_id": message["id"], "output_index": 0, "content_index": 0, "delta": part["text"], "logprobs": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_text.delta", **delta},
        {"type": "response.completed", "response": response},
    ]
    return [_event(event | {"sequence_number": number}) for number, event in enumerate(events)]


def _embedding(number: str, word: str, body: dict[str, Any], says_usage: bool) -> Any:
    vector = {"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}
    usage = {"prompt_tokens": EMBEDDED, "total_tokens": EMBEDDED}
    return {"object": "list", "data": [vector], "model": body["model"], **({"usage": usage} if says_usage else {})}


def _message(number: str, word: str, body: dict[str, Any], says_usage: bool) -> Any:
    calls_tool, has_result = _tool_turn(body)
    written = {"ephemeral_5m_input_tokens": WRITTEN_5M, "ephemeral_1h_input_tokens": WRITTEN_1H}
    usage = {
        "input_tokens": FRESH,
        "cache_read_input_tokens": READ,
        "cache_creation_input_tokens": WRITTEN_5M + WRITTEN_1H,
        "cache_creation": written,
        "output_tokens": SAID,
        "service_tier": "standard",
    }
    if has_result:
        usage = {"input_tokens": TURN_INPUT, "output_tokens": TURN_OUTPUT, "service_tier": "standard"}
    content: list[dict[str, Any]] = [{"type": "text", "text": f"answer {word}"}]
    if calls_tool:
        name = body["tools"][0]["name"]
        content = [{"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {"city": word}}]
    message = {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": "tool_use" if calls_tool else "end_turn",
        "stop_sequence": None,
        "usage": usage,
    }
    if not body.get("stream"):
        return message
    begun = {**message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    text = {"type": "text_delta", "text": f"answer {word}"}
    ended = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": SAID}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": text},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", **ended},
        {"type": "message_stop"},
    ]
    return [_event(event) for event in events]


def _event(event: dict[str, Any]) -> str:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"


_ANSWERS = {
    "v1/chat/completions": _chat,
    "v1/responses": _response,
    "v1/embeddings": _embedding,
    "v1/messages": _message,
}
