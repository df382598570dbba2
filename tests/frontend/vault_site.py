"""A loopback site with one page that has the browser's library, under the product's security policy."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from web.policies import PAGE_POLICY, WORKER_POLICY

WORKER = "/js/kdf-worker.js"
# The same file without the policy of its own that the product gives it: what a wrongly configured server does.
WORKER_WITH_POLICY_OF_PAGES = "/pages-policy/kdf-worker.js"
WORKER_WITH_WRONG_ANSWER = "/wrong-answer/kdf-worker.js"
WORKER_MISSING = "/missing/kdf-worker.js"
KNOWN_ANSWER = "7b7d5471bcd0645a0bb9c3d57fe464292bec3072cb7dac798e52e6baf8a9cca2"

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Vault</title><link rel="icon" href="data:,">
<meta name="csrf-token" content="the-token"><meta name="kdf-worker" content="{worker}">
<script type="module" src="/js/browser.js"></script></head><body></body></html>"""


@dataclass
class Site:
    origin: str
    # Paths, in the order they were asked for.
    requests: list[str] = field(default_factory=list)

    def page(self, worker: str = WORKER) -> str:
        return f"{self.origin}/?worker={worker}"


@contextmanager
def serving(folder: Path) -> Iterator[Site]:
    """Serves what vault_build put into `folder`. Closing it ends every request that is still open."""
    worker = (folder / "kdf-worker.js").read_text(encoding="utf-8")
    assert worker.count(KNOWN_ANSWER) == 1
    files = {
        "/js/browser.js": ((folder / "browser.js").read_text(encoding="utf-8"), ""),
        WORKER: (worker, WORKER_POLICY),
        WORKER_WITH_POLICY_OF_PAGES: (worker, PAGE_POLICY),
        WORKER_WITH_WRONG_ANSWER: (worker.replace(KNOWN_ANSWER, "00" * 32), WORKER_POLICY),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append(urlsplit(self.path).path)
            parts = urlsplit(self.path)
            if parts.path == "/":
                [named] = parse_qs(parts.query)["worker"]
                self.answer(200, "text/html", PAGE.format(worker=named), PAGE_POLICY)
            elif parts.path in files:
                self.answer(200, "text/javascript", *files[parts.path])
            else:
                self.api()

        def api(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length).decode()
            match self.path:
                case "/api/echo":
                    headers = {
                        name: self.headers.get(name) for name in ("Accept", "Content-Type", "X-CSRFToken", "Origin")
                    }
                    seen = {"method": self.command, "headers": headers, "body": json.loads(body) if body else None}
                    self.answer(200, "application/json", json.dumps(seen))
                case "/api/nothing":
                    self.answer(204, "", "")
                case "/api/refused":
                    refusal = {"detail": "This project is archived.", "code": "archived"}
                    self.answer(409, "application/json", json.dumps(refusal))
                case "/api/page":
                    self.answer(200, "text/html", "<p>Sign in</p>")
                case "/api/gone":
                    self.close_connection = True
                case _:
                    self.answer(500, "text/html", "<h1>Server Error</h1>")

        def do_POST(self) -> None:
            self.api()

        def do_DELETE(self) -> None:
            self.api()

        def answer(self, status: int, kind: str, text: str, policy: str = "") -> None:
            body = text.encode()
            self.send_response(status)
            if kind:
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
            if policy:
                self.send_header("Content-Security-Policy", policy)
            if status != 204:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing: tests look at `Site.requests`."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
