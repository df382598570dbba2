"""One ground for all tests of this folder that need it, run one after the other by one process: first what tries the leak
scan out, while there is little to look through, and last the scan of all that the others left."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from config.env import ROOT
from devstack import chromium
from tests.e2e.ground import Ground
from tests.e2e.people import ARGUMENTS, People

HERE = Path(__file__).parent
LEAKS, LAST = "test_leaks.py", "test_nothing_leaked"
# A function: what an expression comes to would be looked through for something to send back.
AXE = f"() => {{ {(ROOT / 'node_modules' / 'axe-core' / 'axe.min.js').read_text(encoding='utf-8')} }}"
PHONE, DESK = 390, 1440
# What these find is minor or moderate, which is not counted here: tests/frontend/test_components_axe.py counts it.
SLIGHT = (
    "aria-allowed-role", "aria-deprecated-role", "empty-heading", "empty-table-header", "form-field-multiple-labels",
    "heading-order", "html-xml-lang-mismatch", "image-redundant-alt", "landmark-banner-is-top-level",
    "landmark-contentinfo-is-top-level", "landmark-main-is-top-level", "landmark-no-duplicate-banner",
    "landmark-no-duplicate-contentinfo", "landmark-no-duplicate-main", "landmark-one-main", "landmark-unique",
    "meta-viewport-large", "meta-viewport", "no-autoplay-audio", "page-has-heading-one", "presentation-role-conflict",
    "region", "scope-attr-valid", "server-side-image-map", "skip-link", "table-duplicate-name",
)  # fmt: skip
# A theme changes colours and nothing else, so everything else is looked at once.
RULES: dict[Literal["light", "dark"], dict[str, Any]] = {
    "light": {"rules": {name: {"enabled": False} for name in SLIGHT}},
    "dark": {"runOnly": ["color-contrast"]},
}
# The theme has reached everything, and nothing is half-way to where it goes.
SETTLED = """async () => {
    for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
    document.getAnimations().forEach((animation) => animation.cancel());
}"""


def pytest_itemcollected(item: pytest.Item) -> None:
    """What needs no ground may run anywhere, so that the process with the ground is done sooner."""
    if isinstance(item, pytest.Function) and "ground" in item.fixturenames:
        item.add_marker(pytest.mark.xdist_group("e2e"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They take longest, so they start first, in one process and in several: xdist begins with the largest group."""

    def place(item: pytest.Item) -> tuple[bool, int]:
        is_here = item.path.is_relative_to(HERE)
        return not is_here, 2 if item.name.startswith(LAST) else 0 if is_here and item.path.name == LEAKS else 1

    items.sort(key=place)


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with Ground(tmp_path_factory.mktemp("ground")) as ground:
        yield ground


_opened = ExitStack()


@cache
def _opened_browser() -> tuple[Playwright, Browser, Path]:
    executable = chromium.find()
    assert executable, chromium.ADVICE
    playwright = _opened.enter_context(sync_playwright())
    browser = _opened.enter_context(playwright.chromium.launch(executable_path=executable, args=ARGUMENTS))
    return playwright, browser, executable


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    """One browser for all tests of this folder, and none beside others: Playwright keeps an event loop running in this
    thread, and Django's ORM refuses to work beside one. No scope of fixtures ends there."""
    try:
        return (yield)
    finally:
        if nextitem is None or not nextitem.path.is_relative_to(HERE):
            _opened_browser.cache_clear()
            _opened.close()


@pytest.fixture
def people(ground: Ground) -> Iterator[People]:
    """`people("alice")` opens a browser for Alice. At the test's end it is an error when the console had one, when the
    security policy was violated, or when anybody but the product was asked for anything."""
    playwright, browser, executable = _opened_browser()
    with People(ground, playwright.chromium, browser, executable).leaving() as people:
        yield people


@pytest.fixture
def axe() -> Callable[[Page], None]:
    """`axe(page)` fails where axe finds something serious on the page as it is now, light or dark, or where it is wider
    than a phone. It comes by the debugger, which the page's policy does not stop."""

    def look(page: Page) -> None:
        found = []
        if page.evaluate("typeof axe === 'undefined'"):
            page.evaluate(AXE)
        size = page.viewport_size
        for theme in RULES:
            page.emulate_media(color_scheme=theme)
            page.evaluate(SETTLED)
            result = page.evaluate(
                "(rules) => axe.run(document, {resultTypes: ['violations'], ...rules})", RULES[theme]
            )
            found += [
                f"{page.url} ({theme}): {rule['id']}: {node['target']} {node['failureSummary']}"
                for rule in result["violations"]
                if rule["impact"] in {"serious", "critical"}
                for node in rule["nodes"]
            ]
        page.set_viewport_size({"width": PHONE, "height": 844})
        if (width := page.evaluate("document.documentElement.scrollWidth")) > PHONE:
            found.append(f"{page.url}: {width} pixels wide on a phone of {PHONE}")
        page.set_viewport_size(size or {"width": DESK, "height": 900})
        page.emulate_media(color_scheme=None)
        assert not found, "\n".join(found)

    return look
