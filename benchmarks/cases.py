"""What is measured: the requests of each case, as released SDKs send them."""

import itertools
import json
import time
import uuid
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from benchmarks.client import HOST, Script, Steps, body
from cryptokit.encoding import b64
from tests.faults.stack import Tenant


def encode(method: str, path: str, content: bytes = b"", *, token: str | None = None) -> bytes:
    """A request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", "Accept: */*", "User-Agent: benchmarks"]
    if token is not None:
        lines.append(f"Authorization: Bearer {token}")
    if content:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


@dataclass(frozen=True)
class Fixed:
    """The same requests again and again, on each connection from another place in the row."""

    name: str
    requests: list[bytes]

    def scripts(self, connections: int, _steps: Steps) -> list[Script]:
        return [self._script(number) for number in range(connections)]

    def _script(self, start: int) -> Script:
        requests = itertools.cycle(self.requests)
        for _ in range(start % len(self.requests)):
            next(requests)
        while True:
            yield next(requests)


@dataclass(frozen=True)
class Events:
    """Usage events, one a request, each with an id of its own; the tenants take turns on each connection."""

    name: str
    tenants: list[Tenant]
    # More than any server here answers in one stretch; the ids are made before it begins.
    most: int = 40_000

    def scripts(self, connections: int, _steps: Steps) -> list[Script]:
        parts = [self._request(tenant).split(b"{id}") for tenant in self.tenants]
        ids = [str(uuid.uuid4()).encode() for _ in range(self.most)]
        return [self._script(parts, number, ids[number::connections]) for number in range(connections)]

    def _script(self, parts: list[list[bytes]], start: int, ids: list[bytes]) -> Script:
        start %= len(parts)
        for event_id, (head, tail) in zip(ids, itertools.cycle(parts[start:] + parts[:start]), strict=False):
            yield head + event_id + tail
        raise RuntimeError(f"{self.name}: more than {self.most} requests in one stretch")

    def _request(self, tenant: Tenant) -> bytes:
        performance = {
            "time_to_first_token_ms": 212.4,
            "time_to_last_token_ms": 1893.7,
            "total_duration_ms": 1894.2,
            "tokens_per_second": 58.3,
            "chunks_received": 99,
            "avg_chunk_size": 4.1,
            "inter_chunk_latency_variance_ms": 3.3,
        }
        event = {
            "id": "{id}",
            "provider_key_id": tenant.provider_key_id,
            "provider": tenant.provider,
            "model": "gpt-4o-mini",
            "data": {"input_tokens": "1234", "output_tokens": "110", "performance": performance},
        }
        content = json.dumps(event).encode()
        request = encode("POST", "/api/v1/usage-events/", content, token=tenant.token)
        # The id is longer than what stands for it.
        length = len(content) + 36 - len("{id}")
        return request.replace(b"Content-Length: %d" % len(content), b"Content-Length: %d" % length)


@dataclass(frozen=True)
class ColdStart:
    """What an SDK does before its first call: challenge, solving it, token, key release, opening the box.

    Three requests make one; the steps' times are the client's view, waiting for its turn on the processor included.
    """

    name: str
    tenant: Tenant
    REQUESTS: ClassVar[int] = 3

    def scripts(self, connections: int, steps: Steps) -> list[Script]:
        return [self._script(steps) for _ in range(connections)]

    def _script(self, steps: Steps) -> Script:
        key, now, decode = self.tenant.key, time.perf_counter, msgspec.json.decode
        ask = encode("POST", "/api/v1/auth/", json.dumps({"encryption_key": b64(key.public)}).encode())
        path = f"/api/v1/provider-keys/{self.tenant.provider}"
        while True:
            times = [now()]
            challenge = decode(body((yield ask)))["encrypted_challenge"]
            times.append(now())
            solved = json.dumps({"solved_challenge": key.open(challenge)}).encode()
            times.append(now())
            token = decode(body((yield encode("POST", "/api/v1/auth/token", solved))))["access_token"]
            times.append(now())
            box = decode(body((yield encode("GET", path, token=token))))["encrypted_key"]
            times.append(now())
            if key.open(box) != self.tenant.secret:
                raise RuntimeError("The box holds another key.")
            times.append(now())
            names = ("challenge", "solve", "token", "key release", "open")
            for name, (before, after) in zip(names, itertools.pairwise(times), strict=True):
                steps[name] += after - before


def empty() -> Fixed:
    return Fixed("empty view", [encode("GET", "/benchmarks/empty")])


def release(name: str, tenants: list[Tenant]) -> Fixed:
    return Fixed(
        name,
        [encode("GET", f"/api/v1/provider-keys/{tenant.provider}", token=tenant.token) for tenant in tenants],
    )
