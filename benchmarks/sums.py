"""Sums of a large ledger: how fast they are made beside how fast calls come in, how long pages take that read them, and
what a tick costs when most organizations have nothing new."""

import json
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any

from benchmarks.client import LoadGenerator
from benchmarks.measure import Meter, Spread
from benchmarks.spans import FULL
from benchmarks.stage import Noise, say, stack_of, start

ORGANIZATIONS = 1_000
# Of the calls a second that come in, through one web server that has the machine to itself.
RATE_TARGET = 3.0
PAGE_TARGET_MS = 150.0
# Of a page's time at the size before.
GROWTH_TARGET = 1.3


def measure(sizes: Sequence[int], rounds: int) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="anyllm-static-") as folder,
        stack_of(1) as stack,
        LoadGenerator() as generator,
    ):
        stack.environment["STATIC_ROOT"] = folder
        web = start(stack, "web", stack.commands["web"], stack.port)
        meter = Meter(stack, generator, web, stack.port, FULL.connections)
        spans = FULL.spans({"Authorization": f"Bearer {stack.tenants[0].token}"})
        noise, found = Noise(), []
        for size in sizes:
            say(f"{size:,} calls …")
            large = json.loads(stack.run("benchmarks.large_ledger", size))
            rates, counted = [], []
            for number in range(rounds + 1):
                meter.connect()
                sample, _ = meter.run(spans, None)
                one = json.loads(stack.run("benchmarks.counted", 0))
                if one["events"] != spans.spans:
                    raise SystemExit(f"{spans.spans} spans acknowledged, {one['events']} noted for the sums.")
                if number:  # the first round makes connections and plans
                    rates.append(spans.spans / sample.seconds)
                    counted.append(one["events"] / one["seconds"])
            ratio = Spread.of([many / few for many, few in zip(counted, rates, strict=True)])
            found.append(
                {
                    **large,
                    "reported_per_second": round(statistics.median(rates)),
                    "counted_per_second": round(statistics.median(counted)),
                    "ratio": {name: round(getattr(ratio, name), 2) for name in ("median", "least", "most")},
                    "target": RATE_TARGET,
                    "is_met": ratio.median >= RATE_TARGET,
                }
            )
            # Larger ones take an hour; what is known by then is not lost with them.
            say(json.dumps(found[-1]))
        web.stop()
        say(f"{ORGANIZATIONS:,} organizations …")
        ticks = json.loads(stack.run("benchmarks.ticks", ORGANIZATIONS))
        return {"rounds": rounds, **noise.report(), "sizes": found, **ticks}
