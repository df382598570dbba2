"""`python -m benchmarks [claims spans memory sums kdf organizations pages servers wrk] [--json]`."""

import argparse
import importlib.util
import json
import re
import shutil
import statistics
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import cases, memory, report, spans, sums
from benchmarks.client import HOST, Case, LoadGenerator, Sample
from benchmarks.measure import Figures, Meter, Spread, in_turns
from benchmarks.stage import WSGI, Noise, say, stack_of, start, web_command
from devstack.servers import free_port
from tests.faults.stack import Program, Stack

EMPTY, RELEASE, EVENT, COLD_START = "empty view", "key release", "usage event", "cold start"
# What is promised, as a share of the empty view's requests a second.
TARGETS = {RELEASE: 0.40, EVENT: 0.30}
EXPECTED = {EVENT: "201"}  # of all others: 200
# Workers and threads of granian to compare.
GRANIAN = ((1, 8), (2, 4), (2, 8), (2, 16), (4, 4))
GUNICORN = ((2, 4), (2, 8))


def check(stack: Stack, sent: Mapping[str, Mapping[str, int]]) -> int:
    """The rows of all ledgers; SystemExit unless they are as many as the 201s, and every answer was as expected."""
    rows = 0
    for tenant in stack.tenants:
        [(count,)] = stack.query(f"SELECT count(*) FROM {tenant.schema}.ledger_usageevent")
        rows += count
    for name, statuses in sent.items():
        expected = next((status for start, status in EXPECTED.items() if name.startswith(start)), "200")
        if set(statuses) != {expected}:
            raise SystemExit(f"{name}: answered {dict(statuses)}, not {expected} alone. These figures mean nothing.")
    created = sum(statuses.get("201", 0) for statuses in sent.values())
    if rows != created:
        raise SystemExit(f"The ledgers have {rows} rows, and {created} events were answered with 201.")
    return rows


def claims(options: argparse.Namespace) -> dict[str, Any]:
    many = f", {options.tenants} organizations"
    with stack_of(options.tenants) as stack, LoadGenerator() as generator:
        first = stack.tenants[:1]
        measured: list[Case] = [
            cases.empty(),
            cases.release(RELEASE, first),
            cases.Events(EVENT, first),
            cases.ColdStart(COLD_START, first[0]),
            cases.release(RELEASE + many, stack.tenants),
            cases.Events(EVENT + many, stack.tenants),
        ]
        web = start(stack, "web", web_command(stack), stack.port)
        meter = Meter(stack, generator, web, stack.port, options.connections)
        noise = Noise()
        figures = in_turns(meter, measured, TARGETS, rounds=options.rounds, seconds=options.seconds, progress=say)
        generator.connect(stack.port, 1)
        alone, _ = meter.run(cases.ColdStart(COLD_START, first[0]), options.seconds)
        rows = check(stack, meter.sent)
        return {
            "server": re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", web_command(stack)),
            "connections": options.connections,
            "rounds": options.rounds,
            "seconds": options.seconds,
            **noise.report(),
            "cases": [as_data(one, figures[EMPTY]) for one in figures.values()],
            "cold_start_steps": {
                "alone": steps_of([alone]),
                "under load": steps_of(figures[COLD_START].samples),
            },
            "ledger": {"rows": rows, "answers_201": rows},
        }


def as_data(figures: Figures, empty: Figures) -> dict[str, object]:
    def spread(value: Spread, digits: int) -> dict[str, float]:
        return {name: round(getattr(value, name), digits) for name in ("median", "least", "most")}

    data: dict[str, object] = {
        "name": figures.name,
        "per_second": spread(figures.rate, 1),
        "ratio": spread(figures.ratio, 3),
        "processor_ratio": round(empty.processor_ms / figures.processor_ms, 3),
        "latency_ms": {"p50": round(figures.p50, 2), "p99": round(figures.p99, 2)},
        "processor_ms": {part: round(statistics.median(values), 3) for part, values in figures.cpu.items()},
        "statuses": dict(figures.statuses),
    }
    if figures.target is not None:
        data["target"] = figures.target
        data["is_met"] = figures.ratio.median >= figures.target
    return data


def steps_of(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Of each step of a cold start: milliseconds, and its share of the whole."""
    total: Counter[str] = Counter()
    for sample in samples:
        total.update(sample.steps)
    count = sum(sample.requests for sample in samples) / cases.ColdStart.REQUESTS
    everything = sum(total.values())
    return {
        name: {"ms": round(1000 * seconds / count, 3), "share": round(seconds / everything, 3)}
        for name, seconds in total.items()
    }


@dataclass(frozen=True, slots=True)
class Candidate:
    """A web server to compare."""

    name: str
    command: str
    workers: int
    threads: int


def candidates(stack: Stack) -> list[Candidate]:
    command = web_command(stack)
    found = [Candidate(f"granian {workers} x {threads}", command, workers, threads) for workers, threads in GRANIAN]
    if importlib.util.find_spec("gunicorn") is None:
        say("gunicorn is not installed (it is no requirement of ours): left out.")
        return found
    gunicorn = (
        "gunicorn --worker-class gthread --bind ${HOST}:${PORT} --workers ${WEB_WORKERS} --threads ${WEB_THREADS}"
        f" --keep-alive 60 --log-level warning {WSGI}"
    )
    return found + [
        Candidate(f"gunicorn gthread {workers} x {threads}", gunicorn, workers, threads)
        for workers, threads in GUNICORN
    ]


def servers(options: argparse.Namespace) -> dict[str, Any]:
    """All run at the same time, and take turns: one that is not asked costs nothing."""
    with stack_of(1) as stack, LoadGenerator() as generator:
        measured: list[Case] = [
            cases.empty(),
            cases.release(RELEASE, stack.tenants),
            cases.Events(EVENT, stack.tenants),
        ]
        meters: dict[str, Meter] = {}
        memory: dict[str, Program] = {}
        for candidate in candidates(stack):
            port = free_port()
            web = start(
                stack,
                candidate.name,
                candidate.command,
                port,
                WEB_WORKERS=str(candidate.workers),
                WEB_THREADS=str(candidate.threads),
            )
            meters[candidate.name] = Meter(stack, generator, web, port, options.connections)
            memory[candidate.name] = web
        noise = Noise()
        found: dict[str, dict[str, list[Figures]]] = {name: {} for name in meters}
        for number in range(options.rounds):
            for name in meters if number % 2 == 0 else reversed(meters):
                figures = in_turns(
                    meters[name], measured, {}, rounds=1, seconds=options.seconds, progress=lambda _: None
                )
                for case, one in figures.items():
                    found[name].setdefault(case, []).append(one)
            say(f"round {number + 1} of {options.rounds}")
        sent: dict[str, dict[str, int]] = {}
        for meter in meters.values():
            for case, statuses in meter.sent.items():
                into = sent.setdefault(case, {})
                for status, count in statuses.items():
                    into[status] = into.get(status, 0) + count
        check(stack, sent)
        return {
            "connections": options.connections,
            "rounds": options.rounds,
            "seconds": options.seconds,
            **noise.report(),
            "servers": [
                {
                    "name": name,
                    "cases": {
                        case: {
                            "per_second": round(statistics.median(one.rate.median for one in all_), 1),
                            "ratio": round(statistics.median(one.ratio.median for one in all_), 3),
                            "p99_ms": round(statistics.median(one.p99 for one in all_), 2),
                        }
                        for case, all_ in by_case.items()
                    },
                    "memory_mib": round(sum(process.memory_info().rss for process in memory[name].tree()) / 2**20),
                }
                for name, by_case in found.items()
            ],
        }


def wrk(options: argparse.Namespace) -> dict[str, Any]:
    """The same two cases by wrk and by our generator, in turns."""
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("wrk is not installed.")
    with stack_of(1) as stack, LoadGenerator() as generator:
        tenant = stack.tenants[0]
        web = start(stack, "web", web_command(stack), stack.port)
        meter = Meter(stack, generator, web, stack.port, options.connections)
        paths = {EMPTY: "/benchmarks/empty", RELEASE: f"/api/v1/provider-keys/{tenant.provider}"}
        measured = {EMPTY: cases.empty(), RELEASE: cases.release(RELEASE, [tenant])}
        rates: dict[str, dict[str, list[float]]] = {"ours": {}, "wrk": {}}
        noise = Noise()
        for _ in range(options.rounds):
            meter.connect()
            for name, path in paths.items():
                sample, _ = meter.run(measured[name], options.seconds)
                rates["ours"].setdefault(name, []).append(sample.rate)
                output = subprocess.run(
                    [
                        *(program, "-t1", f"-c{options.connections}", f"-d{max(1, round(options.seconds))}s"),
                        *("-H", f"Authorization: Bearer {tenant.token}", f"http://{HOST}:{stack.port}{path}"),
                    ],
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
                found = re.search(r"Requests/sec:\s+([\d.]+)", output)
                if found is None or "Non-2xx" in output:
                    raise SystemExit(f"wrk says:\n{output}")
                rates["wrk"].setdefault(name, []).append(float(found[1]))
        return {
            "connections": options.connections,
            "rounds": options.rounds,
            "seconds": options.seconds,
            **noise.report(),
            "generators": {
                name: {
                    "per_second": {case: round(statistics.median(values), 1) for case, values in by_case.items()},
                    "ratio": round(
                        statistics.median(
                            some / empty for some, empty in zip(by_case[RELEASE], by_case[EMPTY], strict=True)
                        ),
                        3,
                    ),
                }
                for name, by_case in rates.items()
            },
        }


def ready(options: argparse.Namespace) -> dict[str, Any]:
    """An organization's way to being ready; one process, nothing else running."""
    with stack_of(1) as stack:
        measured: dict[str, Any] = json.loads(stack.run("benchmarks.organizations", 3 * options.rounds))
    return measured


def kdf(options: argparse.Namespace) -> dict[str, Any]:
    # Not above: the rest needs neither a browser nor Node.
    from benchmarks import browser_kdf

    return {**browser_kdf.measure(options.rounds)}


def pages(options: argparse.Namespace) -> dict[str, Any]:
    from benchmarks import pages as in_browser

    return {**in_browser.measure(options.rounds)}


Measure = Callable[[argparse.Namespace], dict[str, Any]]
MEASURES: dict[str, tuple[Measure, Callable[[dict[str, Any]], str]]] = {
    "claims": (claims, report.claims),
    "spans": (lambda options: spans.measure(options.rounds), report.spans),
    "memory": (lambda _: memory.measure(), report.memory),
    "sums": (lambda options: sums.measure(options.sizes, options.rounds), report.sums),
    "kdf": (kdf, report.kdf),
    "organizations": (ready, report.organizations),
    "pages": (pages, report.pages),
    "servers": (servers, report.servers),
    "wrk": (wrk, report.wrk),
}
# What has a target. The others are for decisions, and some need a browser.
PROMISED = ("claims", "spans", "memory", "sums")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="*", choices=MEASURES, default=PROMISED, metavar="what")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, a key for each measurement")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each case in each round")
    parser.add_argument("--tenants", type=int, default=50, help="organizations in the many-tenant cases")
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=(1_000_000, 10_000_000),
        help="calls of a summed ledger",
    )
    options = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    for name in options.what:
        measure, text = MEASURES[name]
        found[name] = measure(options)
        if not options.json:
            print(f"\n{text(found[name])}\n", flush=True)
    if options.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
