"""The other ends of the wire, on loopback: an OpenAI-compatible provider, and a relay that writes down what passes."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

# A model that answers without saying what it used, as some providers do in streams.
SILENT_MODEL = "silent-model"
# The name a provider answers with is the dated one.
DATED = {"gpt-4o-mini": "gpt-4o-mini-2024-07-18"}
ANSWER = ("an", "swer to: ")
# HTTP's own hop-by-hop headers, and what the relay's server sets itself.
_NOT_RELAYED = {"connection", "keep-alive", "transfer-encoding", "date", "server"}


@dataclass(frozen=True)
class ProviderCall:
    """A request that the provider got, and the usage it reported."""

    authorization: str | None
    prompt: str
    model: str
    stream: bool
    input_tokens: int
    output_tokens: int
    chunks: int


class FakeProvider:
    """`POST <api_base>/chat/completions`, plain and streaming. No two calls use the same number of tokens."""

    def __init__(self) -> None:
        self.calls: list[ProviderCall] = []
        self._lock = threading.Lock()

    def take(self, authorization: str | None, request: dict[str, Any]) -> tuple[ProviderCall, list[dict[str, Any]]]:
        """The call, and the JSON objects to answer with: one, or the chunks of a stream."""
        prompt, model = request["messages"][0]["content"], request["model"]
        stream = request.get("stream") is True
        wants_usage = not stream or (request.get("stream_options") or {}).get("include_usage") is True
        with self._lock:
            number = len(self.calls)
            tokens = 1_000 + 7 * number, 100 + 3 * number
            usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
            common = {"id": f"chatcmpl-{number}", "created": 1_700_000_000, "model": DATED.get(model, model)}
            says_usage = wants_usage and model != SILENT_MODEL
            if stream:
                answers = list(_chunks(common, prompt, usage if says_usage else None))
            else:
                answers = [_completion(common, prompt, usage)]
            call = ProviderCall(
                authorization=authorization,
                prompt=prompt,
                model=common["model"],
                stream=stream,
                input_tokens=tokens[0] if says_usage else 0,
                output_tokens=tokens[1] if says_usage else 0,
                chunks=len(answers) if stream else 0,
            )
            self.calls.append(call)
        return call, answers

    @contextmanager
    def running(self) -> Iterator[str]:
        """Its `api_base`."""
        provider = self

        class Handler(Quiet):
            def do_POST(self) -> None:
                request = json.loads(self.read_body())
                if self.path != "/v1/chat/completions":
                    self.send_error(404)
                    return
                call, answers = provider.take(self.headers["Authorization"], request)
                texts = [json.dumps(answer) for answer in answers]
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream" if call.stream else "application/json")
                self.end_headers()  # HTTP/1.0: the body ends with the connection
                for text in [*texts, "[DONE]"] if call.stream else texts:
                    self.wfile.write(f"data: {text}\n\n".encode() if call.stream else text.encode())
                    self.wfile.flush()

        with serving(Handler) as origin:
            yield f"{origin}/v1"


def answer_to(prompt: str) -> str:
    return "".join(ANSWER) + prompt


def _completion(common: dict[str, Any], prompt: str, usage: dict[str, int]) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer_to(prompt)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {**common, "object": "chat.completion", "choices": [choice], "usage": usage}


def _chunks(common: dict[str, Any], prompt: str, usage: dict[str, int] | None) -> Iterator[dict[str, Any]]:
    base = {**common, "object": "chat.completion.chunk"}
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": part} for part in (*ANSWER, prompt)]
    for delta in deltas:
        yield {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    yield {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    if usage is not None:
        yield {**base, "choices": [], "usage": usage}


@dataclass(frozen=True)
class Exchange:
    """One request and its answer's status, as they passed the relay. Header names are in lower case; `body` is what
    the JSON says, or bytes."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    status: int


class Relay:
    """Stands between a client and the platform, changes nothing, and remembers. The first `loses` answers are lost:
    the client is hung up on."""

    def __init__(self, origin: str, *, loses: int = 0) -> None:
        self.exchanges: list[Exchange] = []
        self._loses = loses
        self._address = urlsplit(origin).netloc

    @contextmanager
    def running(self) -> Iterator[str]:
        """Its origin."""
        relay = self

        class Handler(Quiet):
            def do_GET(self) -> None:
                self.pass_on()

            def do_POST(self) -> None:
                self.pass_on()

            def pass_on(self) -> None:
                body = self.read_body()
                connection = http.client.HTTPConnection(relay._address, timeout=30)
                connection.request(self.command, self.path, body or None, dict(self.headers.items()))
                answer = connection.getresponse()
                data = answer.read()
                connection.close()
                headers = {name.lower(): value for name, value in self.headers.items()}
                is_json = headers.get("content-type", "").startswith("application/json")
                parsed = json.loads(body) if is_json and body else body or None
                relay.exchanges.append(Exchange(self.command, self.path, headers, parsed, answer.status))
                if len(relay.exchanges) <= relay._loses:
                    return
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in _NOT_RELAYED:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        with serving(Handler) as origin:
            yield origin


class Quiet(BaseHTTPRequestHandler):
    """A handler that prints nothing."""

    def read_body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def log_message(self, *_: object) -> None:
        """The tests look at what was recorded."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The origin of a server with this handler, a thread for each request."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
