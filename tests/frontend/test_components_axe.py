"""The page of all components in a real browser: axe finds nothing, nothing overflows a phone, menus and dialogs work.

No server runs: the browser is handed the rendered page and the built files, under the policy that pages are served with.
"""

import mimetypes
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template.loader import render_to_string
from django.test import RequestFactory
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from apps.accounts.models import User
from config.env import ROOT
from devstack import chromium
from tests.e2e.people import ARGUMENTS
from web.policies import PAGE_HEADERS
from web.showcase import LONG_ADDRESS, sample_context

# A secure context, so that what needs the clipboard is shown.
ORIGIN = "http://localhost"
DIST = ROOT / "frontend" / "dist"
AXE = (ROOT / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1440, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = chromium.find()
    assert executable, chromium.ADVICE
    assert (DIST / "css" / "app.css").is_file(), "The front end is not built: run `make install`."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


def rendered() -> dict[str, str]:
    """The pages that are looked at, by path."""
    request = RequestFactory().get("/dev/components/")
    request.user = User(name="Ada Lovelace", email=LONG_ADDRESS)
    visitor = RequestFactory().get("/")
    visitor.user = AnonymousUser()
    addresses = {"site_url": ORIGIN, "platform_url": f"{ORIGIN}/api/v1"}
    return {
        "/dev/components/": render_to_string("dev/components.html", sample_context(), request),
        "/dev/entrance/": render_to_string("dev/entrance.html", {}, visitor),
        "/": render_to_string("landing.html", addresses, visitor),
        "/signed-in/": render_to_string("landing.html", addresses, request),
        "/404/": render_to_string("404.html", {}, visitor),
    }


@pytest.fixture
def open_page(browser: Browser) -> Iterator["Opener"]:
    opener = Opener(browser, rendered())
    yield opener
    for page in opener.pages:
        page.context.close()
    assert opener.faults == []


class Opener:
    """Opens a page in its own context; `faults` is what its console and the policy complained of."""

    def __init__(self, browser: Browser, html: dict[str, str]) -> None:
        self.browser = browser
        self.html = html
        self.pages: list[Page] = []
        self.faults: list[str] = []

    def __call__(self, path: str, *, size: dict[str, int] = DESK, theme: str = "light") -> Page:
        context = self.browser.new_context(
            viewport={"width": size["width"], "height": size["height"]},
            color_scheme="dark" if theme == "dark" else "light",
            reduced_motion="reduce",
        )
        page = context.new_page()
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        page.route("**/*", self._answer)
        page.goto(f"{ORIGIN}{path}")
        self.pages.append(page)
        return page

    def _answer(self, route: Route) -> None:
        path = route.request.url.removeprefix(ORIGIN).partition("?")[0]
        if path in self.html:
            route.fulfill(body=self.html[path], content_type="text/html; charset=utf-8", headers=dict(PAGE_HEADERS))
        elif (file := DIST / path.removeprefix("/static/")).is_file():
            route.fulfill(body=file.read_bytes(), content_type=mimetypes.guess_type(file.name)[0] or "")
        else:
            route.fulfill(status=404)


def violations(page: Page) -> list[str]:
    """What axe finds on the page as it is now: rule, element, why."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
@pytest.mark.parametrize("path", ["/dev/components/", "/dev/entrance/", "/", "/404/"])
def test_axe_finds_nothing_and_nothing_overflows(
    open_page: Opener, path: str, size: dict[str, int], theme: str
) -> None:
    page = open_page(path, size=size, theme=theme)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert violations(page) == []


@pytest.mark.parametrize("path", ["/dev/components/", "/dev/entrance/", "/", "/signed-in/", "/404/"])
def test_nothing_overflows_at_widths_between(open_page: Opener, path: str) -> None:
    page = open_page(path)
    wider = []
    for width in (320, 360, 420, 640, 700, 768, 896, 1024, 1088):
        page.set_viewport_size({"width": width, "height": 800})
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wider.append(width)
    assert wider == []


def test_axe_would_find_something(open_page: Opener) -> None:
    page = open_page("/dev/entrance/")
    page.locator("label[for=email]").evaluate("label => label.remove()")
    assert any(fault.startswith("label:") for fault in violations(page))


def test_controls_can_be_hit_with_a_thumb(open_page: Opener) -> None:
    """44 px, on what is pointed at with a finger: in the frame and in forms."""
    page = open_page("/dev/components/", size=PHONE)
    small = page.evaluate(
        """() => [...document.querySelectorAll(
            ".app-header :is(summary, button, .tab), .field :is(select, textarea, .radio-card), .form .button"
        )].filter(it => it.checkVisibility()).map(it => [it.className, it.getBoundingClientRect().height])
          .filter(([, height]) => height < 44)"""
    )
    assert small == []


def test_menu_closes_on_escape_and_outside(open_page: Opener) -> None:
    page = open_page("/dev/components/")
    summary = page.locator("summary", has_text="Your account")
    sign_out = page.get_by_role("button", name="Sign out")
    summary.press("Enter")
    expect(sign_out).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(sign_out).to_be_hidden()
    expect(summary).to_be_focused()
    summary.click()
    page.get_by_role("heading", name="Alerts").click()
    expect(sign_out).to_be_hidden()


def test_confirmation_waits_for_the_typed_name_and_returns_the_focus(open_page: Opener) -> None:
    page = open_page("/dev/components/")
    opener = page.get_by_role("button", name="Typed confirmation")
    opener.click()
    dialog = page.get_by_role("dialog", name="Delete Acme?")
    delete = dialog.get_by_role("button", name="Delete Acme")
    expect(delete).to_be_disabled()
    assert violations(page) == []
    dialog.get_by_role("textbox").fill("acme")
    expect(delete).to_be_disabled()
    dialog.get_by_role("textbox").fill("Acme")
    expect(delete).to_be_enabled()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()


def test_danger_starts_on_cancel(open_page: Opener) -> None:
    page = open_page("/dev/components/")
    page.get_by_role("button", name="Confirm", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing changed.")).to_be_visible()


def test_a_confirmed_form_is_sent_once_it_is_confirmed(open_page: Opener) -> None:
    page = open_page("/dev/components/")
    page.get_by_role("button", name="Confirmed form").click()
    dialog = page.get_by_role("dialog", name="End all other sessions?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert page.url == f"{ORIGIN}/dev/components/"
    page.get_by_role("button", name="Confirmed form").click()
    dialog.get_by_role("button", name="End sessions").click()
    expect(page.get_by_role("heading", name="There is no page here")).to_be_visible()


def test_form_shows_errors_at_their_fields(open_page: Opener) -> None:
    page = open_page("/dev/components/")
    page.locator("#sample").get_by_role("button", name="Save").click()
    field = page.locator("#id_email")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description("Enter an address.")
    expect(page.locator("#sample").get_by_role("alert")).to_have_text("Some fields need your attention.")
    assert page.locator("#sample").get_attribute("aria-busy") is None


def test_secret_is_covered_until_asked_for(open_page: Opener) -> None:
    page = open_page("/dev/components/")
    secret = page.get_by_role("group", name="OpenAI key")
    expect(secret).not_to_contain_text("not-a-key")
    secret.get_by_role("button", name="Reveal").click()
    expect(secret).to_contain_text("not-a-key")
    expect(secret).to_contain_text("Covered again in")
    secret.get_by_role("button", name="Cover").click()
    expect(secret).not_to_contain_text("not-a-key")


def test_tabs_follow_the_arrow_keys(open_page: Opener) -> None:
    page = open_page("/dev/components/")
    page.get_by_role("tab", name="Python").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Shell")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Shell")).to_be_visible()
    expect(page.get_by_role("tabpanel", name="Python")).to_be_hidden()
    page.keyboard.press("Home")
    expect(page.get_by_role("tabpanel", name="Python")).to_be_visible()


def test_error_toasts_stay_and_can_be_dismissed(open_page: Opener) -> None:
    page = open_page("/dev/components/")
    page.clock.install()
    page.get_by_role("button", name="Toast", exact=True).click()
    page.get_by_role("button", name="Error toast").click()
    expect(page.get_by_text("sealed for the project.")).to_be_visible()
    page.mouse.move(0, 0)
    page.clock.run_for(60_000)
    expect(page.locator(".toast")).to_have_count(1)
    expect(page.get_by_text("The server can’t be reached.")).to_be_visible()
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator(".toast")).to_have_count(0)


def test_a_sheet_is_printed_alone(open_page: Opener) -> None:
    page = open_page("/dev/entrance/")
    page.evaluate(
        """() => {
            const sheet = document.createElement("div");
            sheet.className = "print-sheet";
            sheet.textContent = "Encryption recovery key";
            document.querySelector(".entrance-body").append(sheet);
        }"""
    )
    page.emulate_media(media="print")
    expect(page.get_by_text("Encryption recovery key")).to_be_visible()
    for other in (page.locator("h1"), page.locator("form"), page.locator("header"), page.locator("footer")):
        expect(other).to_be_hidden()
