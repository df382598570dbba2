"""How long a browser derives the key of a password, against the reference implementation in C on the same processor.

One derivation at a time, of each kind in turn; a browser's includes starting its worker, as people wait for that, too.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from argon2.low_level import Type, hash_secret_raw
from playwright.sync_api import Page, sync_playwright

from devstack import chromium
from devstack.browser import KDF_LANES, KDF_MEMORY_KIB, KDF_PASSES
from tests.frontend.vault_build import Build
from tests.frontend.vault_site import WORKER, WORKER_WITH_POLICY_OF_PAGES, serving

NATIVE, WASM, JAVASCRIPT = "native", "browser, WebAssembly", "browser, JavaScript"


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Of each way: milliseconds, and the median of its ratios to the native one in the same round."""
    executable = chromium.find()
    if executable is None:
        raise SystemExit(chromium.ADVICE)
    with tempfile.TemporaryDirectory(prefix="anyllm-benchmarks-") as folder:
        Build.into(Path(folder))
        with serving(Path(folder)) as site, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=executable, args=["--disable-gpu"])
            ways: dict[str, Callable[[], float]] = {NATIVE: native}
            for name, worker, engine in (
                (WASM, WORKER, "wasm"),
                (JAVASCRIPT, WORKER_WITH_POLICY_OF_PAGES, "javascript"),
            ):
                page = browser.new_page()
                page.goto(site.page(worker))
                ways[name] = in_page(page, engine)
            found: dict[str, list[float]] = {name: [] for name in ways}
            for number in range(rounds + 1):
                for name, way in ways.items():
                    took = way()
                    if number:  # the first round compiles and warms up
                        found[name].append(took)
            browser.close()
    return {
        name: {
            "median_ms": round(statistics.median(values), 1),
            "most_ms": round(max(values), 1),
            "ratio": round(statistics.median(a / b for a, b in zip(values, found[NATIVE], strict=True)), 2),
        }
        for name, values in found.items()
    }


def native() -> float:
    started = time.perf_counter()
    hash_secret_raw(b"correct horse battery", bytes(16), KDF_PASSES, KDF_MEMORY_KIB, KDF_LANES, 32, Type.ID)
    return 1000 * (time.perf_counter() - started)


def in_page(page: Page, engine: str) -> Callable[[], float]:
    def derive() -> float:
        answer = page.evaluate("() => window.vault.derive()")
        assert answer["engine"] == engine, answer
        return float(answer["ms"])

    return derive
