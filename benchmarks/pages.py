"""How long it takes until a page can be used in a browser that has never been here, against a small static file from
the same server, loaded in turn with it.

A page can be used when its script has enabled, or shown, what people came for.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from devstack import chromium
from tests.e2e.ground import Ground
from tests.e2e.people import ARGUMENTS, People

STATIC = "a static file"
# In place of a page's own words: when this is in the document.
READY = """
    window.readyAt = new Promise((resolve) => {
        const look = () => {
            if (!document.querySelector(SELECTOR)) return;
            observer.disconnect();
            resolve(performance.now());
        };
        const observer = new MutationObserver(look);
        observer.observe(document, {subtree: true, childList: true, attributes: true});
        look();
    });
"""
LOADED = """() => new Promise((resolve) => {
    const look = () => {
        const [{loadEventEnd}] = performance.getEntriesByType("navigation");
        if (loadEventEnd) resolve(loadEventEnd); else setTimeout(look);
    };
    look();
})"""


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Of each page: milliseconds, and the median of its ratios to the static file in the same round."""
    executable = chromium.find()
    if executable is None:
        raise SystemExit(chromium.ADVICE)
    with (
        tempfile.TemporaryDirectory(prefix="anyllm-benchmarks-") as folder,
        Ground(Path(folder)) as ground,
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=executable, args=ARGUMENTS) as browser,
        People(ground, playwright.chromium, browser, executable).leaving() as people,
    ):
        team = ground.team()
        state = people.signed_in("owner", team.owner).context.storage_state()
        organization = f"/o/{team.organization_id}/"
        pages = {
            STATIC: ("/static/img/favicon.svg", ""),
            "sign-in": ("/accounts/login/", "form[data-password-form] button[type=submit]:enabled"),
            "sign-up": ("/accounts/signup/", "form[data-password-form] button[type=submit]:enabled"),
            "projects": (organization, "button[data-vault-state]:not([hidden])"),
            "provider keys": (f"{organization}projects/{team.project_id}/", "button[data-add]:not([hidden])"),
        }
        found: dict[str, list[float]] = {name: [] for name in pages}
        for number in range(rounds + 1):
            for name, (path, selector) in pages.items():
                signed_in = state if path.startswith("/o/") else None
                took = _load(browser, ground.url + path, selector, signed_in)
                if number:  # the first round fills the server's own caches
                    found[name].append(took)
    return {
        name: {
            "median_ms": round(statistics.median(values), 1),
            "most_ms": round(max(values), 1),
            "ratio": round(statistics.median(a / b for a, b in zip(values, found[STATIC], strict=True)), 2),
        }
        for name, values in found.items()
    }


def _load(browser: Browser, url: str, selector: str, state: Any) -> float:
    """Milliseconds since the browser began to ask for it. A new context has an empty cache."""
    context = browser.new_context(storage_state=state)
    try:
        page = context.new_page()
        if selector:
            page.add_init_script(READY.replace("SELECTOR", repr(selector)))
        page.goto(url)
        return float(page.evaluate("() => window.readyAt" if selector else LOADED))
    finally:
        context.close()
