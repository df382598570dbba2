"""Measuring: cases in turns, and what they cost in processor time."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psutil

from benchmarks.cases import ColdStart
from benchmarks.client import Case, LoadGenerator, Sample
from benchmarks.otlp import Spans
from tests.faults.stack import Program, Stack


@dataclass(frozen=True, slots=True)
class Spread:
    """Of the rounds: the median, the least, the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))


@dataclass(slots=True)
class Figures:
    """A case's rounds. Rates are requests, or cold starts, a second; processor times are milliseconds for one."""

    name: str
    target: float | None = None
    rates: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> Spread:
        return Spread.of(self.rates)

    @property
    def ratio(self) -> Spread:
        return Spread.of(self.ratios)

    @property
    def p50(self) -> float:
        return statistics.median(sample.p50 for sample in self.samples)

    @property
    def p99(self) -> float:
        return statistics.median(sample.p99 for sample in self.samples)

    @property
    def processor_ms(self) -> float:
        """Of all parts together, for one."""
        return sum(statistics.median(values) for values in self.cpu.values())


def tree_seconds(pid: int) -> float:
    """Processor time of a process and all below it, so far."""
    total = 0.0
    main = psutil.Process(pid)
    for process in [main, *main.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def units(case: Case, sample: Sample) -> float:
    """What a case counts in one sample: requests, whole cold starts, or spans."""
    match case:
        case ColdStart():
            return sample.requests / ColdStart.REQUESTS
        case Spans():
            return sample.requests * case.size
    return sample.requests


class Meter:
    """Runs cases against a web server, and keeps the figures."""

    def __init__(self, stack: Stack, generator: LoadGenerator, web: Program, port: int, connections: int) -> None:
        self._generator = generator
        self._port = port
        self._connections = connections
        self._parts = {"web": web.main.pid}
        if stack.postgres.process is not None:
            self._parts["postgres"] = stack.postgres.pid
        self.sent: dict[str, Counter[str]] = {}

    def connect(self, connections: int | None = None) -> None:
        self._generator.connect(self._port, self._connections if connections is None else connections)

    def warm_up(self, case: Case, seconds: float) -> None:
        """Load that counts for nothing but the ledger: processes import, threads connect, statements are prepared."""
        self._count(case, self._generator.run(case, seconds))

    def run(self, case: Case, seconds: float | None) -> tuple[Sample, dict[str, float]]:
        """A stretch of load, of so many seconds or until the case has ended, and the milliseconds of processor time
        that each part took for one unit."""
        before = {part: tree_seconds(pid) for part, pid in self._parts.items()}
        sample = self._generator.run(case, seconds)
        spent = {part: tree_seconds(pid) - before[part] for part, pid in self._parts.items()}
        self._count(case, sample)
        answered = sum(sample.statuses.values()) / sample.requests * units(case, sample)
        return sample, {part: 1000 * value / answered for part, value in {**spent, "client": sample.cpu}.items()}

    def _count(self, case: Case, sample: Sample) -> None:
        self.sent.setdefault(case.name, Counter()).update(sample.statuses)


def in_turns(
    meter: Meter,
    cases: Sequence[Case],
    targets: dict[str, float],
    *,
    rounds: int,
    seconds: float,
    progress: Callable[[str], None],
) -> dict[str, Figures]:
    """Each case once a round, on the same connections; the ratio is to the first case in the same round.

    Every other round goes backwards, so that a machine that gets slower or faster favours nobody.
    """
    figures = {case.name: Figures(case.name, targets.get(case.name)) for case in cases}
    meter.connect()
    for case in cases:
        meter.warm_up(case, seconds)
    for number in range(rounds):
        meter.connect()
        rates = {}
        for case in cases if number % 2 == 0 else reversed(cases):
            sample, cpu = meter.run(case, seconds)
            rates[case.name] = units(case, sample) / sample.seconds
            mine = figures[case.name]
            mine.samples.append(sample)
            mine.statuses.update(sample.statuses)
            for part, value in cpu.items():
                mine.cpu.setdefault(part, []).append(value)
        for name, rate in rates.items():
            figures[name].rates.append(rate)
            figures[name].ratios.append(rate / rates[cases[0].name])
        progress(f"round {number + 1} of {rounds}")
    return figures
