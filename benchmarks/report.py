"""The figures as plain text."""

from collections.abc import Sequence
from typing import Any

PARTS = ("web", "postgres", "client")
READING = """\
The ratio is to the empty view in the same round; a cold start is three requests. The last columns are
processor time for one: of web, PostgreSQL and the load generator. 'By CPU' is the ratio of their sums,
what is left of the ratio when nothing else runs on the machine and nobody waits for the disk."""

READING_SPANS = """\
The ratio is to COPY of the same rows into the same table in the same round, both until they are committed.
The last columns are processor time for one span: of web, PostgreSQL and the load generator, and what COPY took.
'By CPU' is the ratio of the two. Ours can use several processors at a time, COPY hardly more than one."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) if not number else cell.rjust(width) for number, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in [head, *rows])
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def claims(data: dict[str, Any]) -> str:
    rows = [
        [
            case["name"],
            f"{case['per_second']['median']:,.0f}",
            _spread(case["ratio"]),
            f"{case['processor_ratio']:.2f}",
            _target(case),
            f"{case['latency_ms']['p50']:.1f}",
            f"{case['latency_ms']['p99']:.1f}",
            *(f"{case['processor_ms'][part]:.2f}" if part in case["processor_ms"] else "-" for part in PARTS),
        ]
        for case in data["cases"]
    ]
    head = ["", "1/s", "ratio (min-max)", "by CPU", "target", "p50 ms", "p99 ms", *(f"{part} ms" for part in PARTS)]
    alone, loaded = data["cold_start_steps"].values()
    steps = [
        [
            name,
            *(cell for step in (alone[name], loaded[name]) for cell in (f"{step['ms']:.2f}", f"{step['share']:.0%}")),
        ]
        for name in alone
    ]
    return "\n\n".join(
        [
            _conditions(data),
            table(head, rows),
            READING,
            table(
                ["a cold start's time", "one client ms", "share", f"{data['connections']} clients ms", "share"], steps
            ),
            f"Rows in the ledgers: {data['ledger']['rows']:,}; answers 201: {data['ledger']['answers_201']:,}.",
        ]
    )


def spans(data: dict[str, Any]) -> str:
    parts = (*PARTS, "copy")
    rows = [
        [
            load["name"],
            f"{load['connections']}",
            f"{load['per_second']['median']:,.0f}",
            f"{load['copy_per_second']['median']:,.0f}",
            _spread(load["ratio"]),
            f"{load['processor_ratio']:.2f}" if "processor_ratio" in load else "-",
            _target(load),
            f"{load['latency_ms']['p50']:.0f}",
            *(f"{load['processor_us'][part]:.0f}" if part in load["processor_us"] else "-" for part in parts),
        ]
        for load in data["loads"]
    ]
    head = ["spans", "connections", "1/s", "COPY 1/s", "ratio (min-max)", "by CPU", "target", "p50 ms"]
    head += [f"{part} us" for part in parts]
    texts = [_conditions(data), table(head, rows), READING_SPANS]
    if data["beside"]:
        beside = [
            [
                one["name"],
                f"{one['per_second']['median']:,.0f}",
                f"{one['times']['median']:,.0f} ({one['times']['least']:,.0f}-{one['times']['most']:,.0f})",
                f"{one['target']:.0f} {'met' if one['is_met'] else 'missed'}",
                f"{one['stored']:,} of {one['sent']:,}",
                f"{one['processor_ms']:.1f}",
                f"{one['memory_mib']:,}",
            ]
            for one in data["beside"]
        ]
        head = ["beside, 512 a request", "1/s", "ours: times (min-max)", "target", "stored", "its server ms", "MiB"]
        texts.append(table(head, beside))
    return "\n\n".join([*texts, f"Rows in the ledger, copies included: {data['ledger']['rows']:,}."])


def sums(data: dict[str, Any]) -> str:
    made = [
        [
            f"{one['calls']:,}",
            f"{one['rows_of_sums']:,}",
            f"{one['reported_per_second']:,}",
            f"{one['counted_per_second']:,}",
            _spread(one["ratio"]),
            _target(one),
            f"{one['rebuilt_per_second']:,}",
        ]
        for one in data["sizes"]
    ]
    head = ["calls", "rows of sums", "reported 1/s", "counted 1/s", "ratio (min-max)", "target", "made again 1/s"]
    texts = [_conditions(data), table(head, made)]
    names = list(data["sizes"][0]["pages"])
    rows = []
    for name in names:
        times = [one["pages"][name] for one in data["sizes"]]
        cells = [cell for each in times for cell in (f"{each['median_ms']:.0f}", f"{each['p95_ms']:.0f}")]
        rows.append([name, *cells, f"{times[-1]['median_ms'] / times[0]['median_ms']:.2f}"])
    head = ["a page, ms on the server"]
    for one in data["sizes"]:
        head += [f"{one['calls']:,} median", "p95"]
    texts.append(table([*head, "last to first"], rows))
    ticks = [[f"{one['organizations']:,}", f"{one['active']:,}", f"{one['median_ms']:,.0f}"] for one in data["ticks"]]
    texts.append(table(["organizations", "active", "a tick's ms"], ticks))
    return "\n\n".join(texts)


def memory(data: dict[str, Any]) -> str:
    names = ("rss", "uss", "pss")
    rows = [[f"{look['spans']:,}", *(f"{look[f'{name}_mib']:,.1f}" for name in names)] for look in data["looks"]]
    slopes = ", ".join(f"{name} {data['kib_per_1000_spans'][name]:+.2f}" for name in names)
    verdict = "met" if data["is_met"] else "missed"
    texts = [_conditions(data), table(["spans", *(f"{name} MiB" for name in names)], rows)]
    texts.append(
        f"KiB for a thousand spans, after the first 200,000: {slopes}.\n"
        f"Growth over the last half: {data['last_half_growth']:.1%} of the resident memory"
        f" (target {data['target']:.0%} {verdict})."
    )
    return "\n\n".join(texts)


def organizations(data: dict[str, dict[str, float]]) -> str:
    """Milliseconds until an organization is ready, and the ratio to making its schema by migrations."""
    reference = data["schema by migrations"]["median_ms"]
    rows = [
        [name, f"{one['median_ms']:.1f}", f"{one['most_ms']:.1f}", f"{one['median_ms'] / reference:.3f}"]
        for name, one in data.items()
    ]
    return table(["an organization is ready", "median ms", "most ms", "ratio to migrations"], rows)


def kdf(data: dict[str, Any]) -> str:
    """Milliseconds to derive the key of a password (64 MiB, 3 passes), and the ratio to the native implementation."""
    rows = [
        [name, f"{one['median_ms']:,.0f}", f"{one['most_ms']:,.0f}", f"{one['ratio']:.2f}"]
        for name, one in data.items()
    ]
    return table(["the key of a password", "median ms", "most ms", "ratio to native"], rows)


def pages(data: dict[str, Any]) -> str:
    """Milliseconds until a page can be used on a cold cache, and the ratio to a small static file."""
    rows = [
        [name, f"{one['median_ms']:,.0f}", f"{one['most_ms']:,.0f}", f"{one['ratio']:.1f}"]
        for name, one in data.items()
    ]
    return table(["a page can be used", "median ms", "most ms", "ratio to a static file"], rows)


def servers(data: dict[str, Any]) -> str:
    names = list(data["servers"][0]["cases"])
    head = ["workers x threads", "MiB"]
    for name in names:
        head += [f"{name} 1/s", "ratio", "p99 ms"]
    rows = []
    for server in data["servers"]:
        row = [server["name"], f"{server['memory_mib']:,}"]
        for case in server["cases"].values():
            row += [f"{case['per_second']:,.0f}", f"{case['ratio']:.2f}", f"{case['p99_ms']:.1f}"]
        rows.append(row)
    return f"{_conditions(data)}\n\n{table(head, rows)}\n\nRatios are to the empty view of the same server."


def wrk(data: dict[str, Any]) -> str:
    generators = data["generators"]
    names = list(generators["ours"]["per_second"])
    rows = [
        [
            generator,
            *(f"{figures['per_second'][name]:,.0f}" for name in names),
            f"{figures['ratio']:.3f}",
        ]
        for generator, figures in generators.items()
    ]
    return f"{_conditions(data)}\n\n{table(['', *(f'{name} 1/s' for name in names), 'ratio'], rows)}"


def _conditions(data: dict[str, Any]) -> str:
    load = data["load_average"]
    others = f"other programs took {data['others_percent']} % of the processors"
    lines = [
        f"Machine      {data['machine']}",
        f"Noise        load average {load['before']} before, {load['after']} after; {others}",
    ]
    if "seconds" in data:
        of = f"{data['rounds']} rounds of {data['seconds']:g} s, {data['connections']} connections"
        lines.insert(1, f"Load         {of}")
    elif "rounds" in data:
        lines.insert(1, f"Load         {data['rounds']} rounds")
    if "server" in data:
        lines.insert(1, f"Server       {data['server']}")
    return "\n".join(lines)


def _spread(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f} ({spread['least']:.2f}-{spread['most']:.2f})"


def _target(case: dict[str, Any]) -> str:
    if "target" not in case:
        return ""
    return f"{case['target']:.2f} {'met' if case['is_met'] else 'missed'}"
