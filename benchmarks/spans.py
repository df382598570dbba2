"""Durable spans a second through our web server, as a share of a plain COPY of the same rows, and beside others.

Each stretch is so many spans, not so many seconds: what is timed on both sides is the same rows, from the first byte
until the last is committed. Only rows that stand in the ledger afterwards count.
"""

import statistics
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from benchmarks.client import LoadGenerator
from benchmarks.copying import LedgerTable
from benchmarks.measure import Meter, Spread, tree_seconds
from benchmarks.otlp import CANARY, Kind, Spans
from benchmarks.rivals import RIVALS, Running
from benchmarks.stage import Noise, say, stack_of, start
from tests.faults.stack import Stack


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of so many spans on so many connections; the target is a share of COPY's rows a second."""

    kind: Kind
    size: int
    requests: int
    connections: int
    target: float | None = None

    @property
    def name(self) -> str:
        return f"{self.kind.value}, {self.size} a request"

    def spans(self, headers: Mapping[str, str]) -> Spans:
        return Spans(self.name, self.kind, self.size, self.requests, headers)


# Of 1, 2, 4, 8 and 16 connections, 16 gave the most; a single one gives three quarters of that.
FULL = Load(Kind.LEAN, 512, 80, 16, 0.30)
LOADS = (
    Load(Kind.LEAN, 1, 2_048, 16),
    Load(Kind.LEAN, 64, 320, 16, 0.15),
    FULL,
    Load(Kind.RICH, 64, 160, 16, 0.15),
    Load(Kind.RICH, 512, 40, 16, 0.30),
)
# Of the rows a second that another store is left with, at FULL's size of a request.
RIVAL_TARGET = 100.0
# What the others are given at a time, on as many connections: they take a minute for it.
RIVAL_REQUESTS = FULL.connections


@dataclass(slots=True)
class Figures:
    """A load's rounds: spans and copied rows a second, their ratio, and microseconds of processor time for one."""

    load: Load
    rates: list[float] = field(default_factory=list)
    copies: list[float] = field(default_factory=list)
    p50s: list[float] = field(default_factory=list)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def ratios(self) -> list[float]:
        return [rate / copy for rate, copy in zip(self.rates, self.copies, strict=True)]

    def as_data(self) -> dict[str, Any]:
        ratio = Spread.of(self.ratios())
        data = {
            "name": self.load.name,
            "connections": self.load.connections,
            "spans_per_stretch": self.load.size * self.load.requests,
            "per_second": _rounded(Spread.of(self.rates), 0),
            "copy_per_second": _rounded(Spread.of(self.copies), 0),
            "ratio": _rounded(ratio, 3),
            "latency_ms": {"p50": round(statistics.median(self.p50s), 1)},
            "processor_us": {part: round(statistics.median(values), 1) for part, values in self.cpu.items()},
        }
        if "copy" in self.cpu:
            ours = sum(statistics.median(values) for part, values in self.cpu.items() if part != "copy")
            data["processor_ratio"] = round(statistics.median(self.cpu["copy"]) / ours, 3)
        if self.load.target is not None:
            data |= {"target": self.load.target, "is_met": ratio.median >= self.load.target}
        return data


@dataclass(slots=True)
class RivalFigures:
    """Another store's rounds: rows a second that stood in its database, how many times as many ours were, and the
    milliseconds of processor time of its server for one."""

    name: str
    rates: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    stored: int = 0
    sent: int = 0
    memory: float = 0

    def as_data(self) -> dict[str, Any]:
        ratio = Spread.of(self.ratios)
        return {
            "name": self.name,
            "per_second": _rounded(Spread.of(self.rates), 1),
            "times": _rounded(ratio, 1),
            "processor_ms": round(statistics.median(self.cpu), 2),
            "target": RIVAL_TARGET,
            "is_met": ratio.median >= RIVAL_TARGET,
            "stored": self.stored,
            "sent": self.sent,
            "memory_mib": round(self.memory / 2**20),
        }


def _rounded(spread: Spread, digits: int) -> dict[str, float]:
    return {name: round(getattr(spread, name), digits) for name in ("median", "least", "most")}


class Ours:
    """Our web server and its ledger."""

    def __init__(self, stack: Stack, generator: LoadGenerator, table: LedgerTable) -> None:
        self._table = table
        self._postgres = stack.postgres if stack.postgres.process is not None else None
        self._headers = {"Authorization": f"Bearer {stack.tenants[0].token}"}
        web = start(stack, "web", stack.commands["web"], stack.port)
        self._meter = Meter(stack, generator, web, stack.port, connections=1)
        # Between which ids the rows of a load's last stretch are.
        self._last: dict[Load, tuple[UUID, UUID]] = {}
        self._rows = 0

    def serve(self, load: Load, figures: Figures) -> None:
        """A stretch of load, every span of which has to stand in the ledger afterwards, priced."""
        spans = load.spans(self._headers)
        since = self._table.now()
        self._meter.connect(load.connections)
        sample, cpu = self._meter.run(spans, None)
        until, rows = self._table.now(), self._table.count()
        if rows - self._rows != spans.spans:
            raise SystemExit(f"{load.name}: {spans.spans} spans acknowledged, {rows - self._rows} rows in the ledger.")
        self._rows = rows
        if without := self._table.without_price(since, until):
            raise SystemExit(f"{load.name}: {without} rows have no price. These figures mean nothing.")
        self._last[load] = since, until
        figures.rates.append(spans.spans / sample.seconds)
        figures.p50s.append(sample.p50)
        for part, milliseconds in cpu.items():
            figures.cpu.setdefault(part, []).append(1000 * milliseconds)

    def copy(self, load: Load, figures: Figures) -> None:
        """COPY of what the last stretch of this load has stored, none of which may be content."""
        pieces = self._table.lay_out(*self._last[load])
        if any(CANARY.encode() in piece for piece in pieces):
            raise SystemExit(f"{load.name}: content was stored.")
        before = self._copying_seconds()
        seconds = self._table.copy(pieces)
        spent = self._copying_seconds() - before
        rows = self._table.count()
        copied, self._rows = rows - self._rows, rows
        if copied != load.size * load.requests:
            raise SystemExit(f"{load.name}: {copied} rows were copied.")
        figures.copies.append(copied / seconds)
        if self._postgres is not None:
            figures.cpu.setdefault("copy", []).append(1e6 * spent / copied)

    def _copying_seconds(self) -> float:
        """Processor time of PostgreSQL, and of this process, which hands it the rows."""
        return time.process_time() + (0.0 if self._postgres is None else tree_seconds(self._postgres.pid))


def measure(rounds: int, *, with_rivals: bool = True) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="anyllm-rivals-") as folder,
        stack_of(1) as stack,
        LoadGenerator() as generator,
        LedgerTable(stack.environment["DATABASE_URL"], stack.tenants[0].schema) as table,
    ):
        ours = Ours(stack, generator, table)
        say("arize-phoenix and mlflow: the first time, their environments are made …")
        rivals = [Running(stack, rival, Path(folder)) for rival in RIVALS if with_rivals]
        for load in LOADS:
            ours.serve(load, Figures(load))
        for rival in rivals:
            rival.measure(generator, _for(rival, requests=1), 1)
        noise = Noise()
        figures = {load: Figures(load) for load in LOADS}
        beside = {rival.rival.name: RivalFigures(rival.rival.name) for rival in rivals}
        for number in range(rounds):
            is_forward = number % 2 == 0
            for load in LOADS if is_forward else reversed(LOADS):
                # Backwards, COPY comes first, of the rows that the round before has left.
                if is_forward:
                    ours.serve(load, figures[load])
                    ours.copy(load, figures[load])
                else:
                    ours.copy(load, figures[load])
                    ours.serve(load, figures[load])
            for rival in rivals if is_forward else reversed(rivals):
                one = beside[rival.rival.name]
                spans, spent = _for(rival, RIVAL_REQUESTS), tree_seconds(rival.program.main.pid)
                stored, seconds = rival.measure(generator, spans, FULL.connections)
                if not stored:
                    raise SystemExit(f"{one.name} stored none of {spans.spans} spans.")
                one.cpu.append(1000 * (tree_seconds(rival.program.main.pid) - spent) / stored)
                one.sent += spans.spans
                one.stored += stored
                one.rates.append(stored / seconds)
                one.ratios.append(figures[FULL].rates[-1] * seconds / stored)
                one.memory = float(sum(process.memory_info().rss for process in rival.program.tree()))
            say(f"round {number + 1} of {rounds}")
        return {
            "server": stack.commands["web"],
            "rounds": rounds,
            **noise.report(),
            "loads": [one.as_data() for one in figures.values()],
            "beside": [one.as_data() for one in beside.values()],
            "ledger": {"rows": table.count()},
        }


def _for(rival: Running, requests: int) -> Spans:
    return Spans(rival.rival.name, FULL.kind, FULL.size, requests, rival.rival.headers, is_empty_success=False)
