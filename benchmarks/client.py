"""The load generator: one process, one thread, raw keep-alive connections and epoll.

It shares the machine with the server, so it does as little as can be done in Python: requests are encoded before,
answers are looked at for their end and their status, and nothing else. `python -m benchmarks wrk` shows what it costs.
"""

import gc
import math
import multiprocessing
import re
import select
import socket
import time
from array import array
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Protocol, Self

HOST = "127.0.0.1"
SECONDS = 120.0
BOTH = select.EPOLLIN | select.EPOLLOUT
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")

# What one connection sends: yields requests, is given the whole answer to each.
Script = Generator[bytes, bytes, None]


class Steps(dict[str, float]):
    """Seconds spent in named steps, all told."""

    def __missing__(self, _name: str) -> float:
        return 0.0


class Case(Protocol):
    """Something to measure. It is sent to the load generator's process, which asks it for scripts."""

    @property
    def name(self) -> str: ...

    def scripts(self, connections: int, steps: Steps) -> list[Script]: ...


@dataclass(frozen=True, slots=True)
class Sample:
    """What came of one stretch of load. `requests` are those answered within `seconds`; `statuses` counts all that were
    sent, the last ones too. Latencies are in milliseconds, `cpu` is the generator's own time in seconds.

    A stretch that ends with its work, not by the clock, is as long as it took: until the last answer was there."""

    seconds: float
    requests: int
    statuses: dict[str, int]
    p50: float
    p99: float
    cpu: float
    steps: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


class LoadGenerator:
    """The generator's process, seen from the process that measures. A context manager."""

    def __enter__(self) -> Self:
        spawn = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def connect(self, port: int, connections: int) -> None:
        """Drops the connections there are, makes new ones."""
        self._pipe.send(_Connect(port, connections))

    def run(self, case: Case, seconds: float | None) -> Sample:
        """Load on every connection for so long, or until its scripts have ended. Raises what went wrong in the
        generator."""
        self._pipe.send(_Run(case, seconds))
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Sample)
        return answer


@dataclass(frozen=True, slots=True)
class _Connect:
    port: int
    connections: int


@dataclass(frozen=True, slots=True)
class _Run:
    case: Case
    seconds: float | None


class _Connection:
    __slots__ = ("buffer", "script", "sent_at", "socket", "unsent")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.buffer = b""
        # The rest of a request that is larger than what the socket takes at once.
        self.unsent = memoryview(b"")
        self.sent_at = 0.0
        self.script: Script

    def send(self, data: bytes | memoryview) -> bool:
        """Sends what can be sent now; whether that was all."""
        sent = self.socket.send(data)
        if sent == len(data):
            return True
        self.unsent = memoryview(data)[sent:]
        return False


def _serve(pipe: "Pipe[Sample | Exception, _Connect | _Run]") -> None:
    gc.disable()
    connections: list[_Connection] = []
    while True:
        try:
            match pipe.recv():
                case _Connect(port, count):
                    for connection in connections:
                        connection.socket.close()
                    connections = [_Connection(port) for _ in range(count)]
                case _Run(case, seconds):
                    pipe.send(_run(connections, case, seconds))
        except EOFError:
            return
        except (OSError, RuntimeError) as error:
            pipe.send(error)
        gc.collect()


def _run(connections: list[_Connection], case: Case, seconds: float | None) -> Sample:
    steps = Steps()
    for connection, script in zip(connections, case.scripts(len(connections), steps), strict=True):
        connection.script = script
    by_number = {connection.socket.fileno(): connection for connection in connections}
    poll = select.epoll()
    statuses: Counter[bytes] = Counter()
    latencies = array("d")
    now = time.perf_counter
    requests, waiting, cpu = 0, 0, time.process_time()
    started = answered = now()
    deadline = started + (math.inf if seconds is None else seconds)
    for number, connection in by_number.items():
        request = next(connection.script, None)
        if request is None:  # there is less to do than there are connections
            continue
        waiting += 1
        connection.sent_at = now()
        poll.register(number, select.EPOLLIN if connection.send(request) else BOTH)
    while waiting:
        events = poll.poll(SECONDS)
        if not events:
            raise TimeoutError(f"{case.name}: no answer in {SECONDS:g} s")
        for number, event in events:
            connection = by_number[number]
            if event & select.EPOLLOUT:
                if connection.send(connection.unsent):
                    poll.modify(number, select.EPOLLIN)
                continue
            data = connection.socket.recv(65_536)
            if not data:
                raise ConnectionError(f"{case.name}: the server closed a connection")
            if connection.buffer:
                data = connection.buffer + data
            if not is_complete(data):
                connection.buffer = data
                continue
            connection.buffer = b""
            answered = now()
            latencies.append(answered - connection.sent_at)
            statuses[data[9:12]] += 1
            if answered >= deadline:
                waiting -= 1
                continue
            requests += 1
            try:
                request = connection.script.send(data)
            except StopIteration:
                poll.unregister(number)  # the server may close what is idle
                waiting -= 1
                continue
            connection.sent_at = now()
            if not connection.send(request):
                poll.modify(number, BOTH)
    poll.close()
    ordered = sorted(latencies)
    return Sample(
        seconds=answered - started if seconds is None else seconds,
        requests=requests,
        statuses={status.decode(): count for status, count in statuses.items()},
        p50=1000 * ordered[len(ordered) // 2],
        p99=1000 * ordered[len(ordered) * 99 // 100],
        cpu=time.process_time() - cpu,
        steps=dict(steps),
    )


def is_complete(data: bytes) -> bool:
    """Whether an HTTP/1.1 answer has ended. Ours never hold a line of just 0 in their body."""
    if data.endswith(b"\r\n0\r\n\r\n"):  # the last chunk
        return True
    end = data.find(b"\r\n\r\n")
    length = LENGTH.search(data, 0, end) if end >= 0 else None
    return length is not None and len(data) >= end + 4 + int(length[1])


def body(data: bytes) -> bytes:
    """The body of an answer that is complete."""
    head, _, rest = data.partition(b"\r\n\r\n")
    if b"chunked" not in head:
        return rest
    chunks = []
    while size := int(rest[: (end := rest.index(b"\r\n"))], 16):
        chunks.append(rest[end + 2 : end + 2 + size])
        rest = rest[end + 4 + size :]
    return b"".join(chunks)
