"""Memory of the web server's processes while a million spans go through them."""

import statistics
from dataclasses import dataclass
from typing import Any

from benchmarks.client import LoadGenerator
from benchmarks.copying import LedgerTable
from benchmarks.measure import Meter
from benchmarks.otlp import Spans
from benchmarks.spans import FULL
from benchmarks.stage import Noise, say, stack_of, start
from tests.faults.stack import Program

SPANS = 1_000_000
# Requests between two looks: about 50,000 spans.
REQUESTS = 98
# Until then threads, connections and caches fill.
WARM_UP = 200_000
# What counts as flat: growth over the last half, as a share of the resident memory. By the line through all looks of
# it, because single ones differ by more than a hundredth.
FLAT = 0.02
MEASURES = ("rss", "uss", "pss")


@dataclass(frozen=True, slots=True)
class Look:
    """Bytes of all processes together: resident, theirs alone, and theirs with their part of what is shared."""

    spans: int
    rss: int
    uss: int
    pss: int

    @classmethod
    def at(cls, spans: int, web: Program) -> "Look":
        found = [process.memory_full_info() for process in web.tree()]
        return cls(spans, sum(one.rss for one in found), sum(one.uss for one in found), sum(one.pss for one in found))


def measure() -> dict[str, Any]:
    with stack_of(1) as stack, LoadGenerator() as generator:
        tenant = stack.tenants[0]
        web = start(stack, "web", stack.commands["web"], stack.port)
        meter = Meter(stack, generator, web, stack.port, FULL.connections)
        meter.connect()
        stretch = Spans("spans", FULL.kind, FULL.size, REQUESTS, {"Authorization": f"Bearer {tenant.token}"})
        noise, looks = Noise(), [Look.at(0, web)]
        while looks[-1].spans < SPANS:
            meter.run(stretch, None)
            looks.append(Look.at(looks[-1].spans + stretch.spans, web))
            say(f"{looks[-1].spans:,} spans: {looks[-1].rss / 2**20:.1f} MiB resident")
        with LedgerTable(stack.environment["DATABASE_URL"], tenant.schema) as table:
            rows = table.count()
        if rows != looks[-1].spans:
            raise SystemExit(f"{looks[-1].spans} spans acknowledged, {rows} rows in the ledger.")
        warm = [look for look in looks if look.spans >= WARM_UP]
        last = [look for look in looks if look.spans >= SPANS / 2]
        grown = _slope(last, "rss") * (last[-1].spans - last[0].spans) / 1_000
        growth = grown * 1_024 / statistics.median(look.rss for look in last)
        return {
            "server": stack.commands["web"],
            **noise.report(),
            "spans": looks[-1].spans,
            "looks": [
                {"spans": look.spans, **{f"{name}_mib": round(getattr(look, name) / 2**20, 1) for name in MEASURES}}
                for look in looks
            ],
            "kib_per_1000_spans": {name: round(_slope(warm, name), 3) for name in MEASURES},
            "last_half_growth": round(growth, 4),
            "target": FLAT,
            "is_met": growth <= FLAT,
        }


def _slope(looks: list[Look], name: str) -> float:
    """KiB that a thousand spans leave behind, by least squares."""
    spans, kib = [look.spans / 1_000 for look in looks], [getattr(look, name) / 1_024 for look in looks]
    return statistics.linear_regression(spans, kib).slope
