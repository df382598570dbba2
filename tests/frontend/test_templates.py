"""Every template keeps to the content security policy, and the pages that belong to no app are sound documents."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest
from django.template.loader import get_template
from django.test import Client, RequestFactory, override_settings

from apps.accounts.models import User
from config.env import ROOT
from web.showcase import sample_context
from web.templatetags.ui import grouped, initials, nav_item

FOLDER = ROOT / "templates"
TEMPLATES = sorted(FOLDER.rglob("*.html"))
PAGES = ["landing.html", "400.html", "403.html", "404.html", "500.html", "csrf_failure.html"]
PAGES += ["dev/components.html", "dev/entrance.html"]
CONTEXT = {"site_url": "https://keys.example.com", "platform_url": "https://keys.example.com/api/v1"}

# What `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:` refuses.
REFUSED = {
    "inline script": re.compile(r"<script(?![^>]*\ssrc=)", re.IGNORECASE),
    "inline style": re.compile(r"<style\b|\sstyle\s*=", re.IGNORECASE),
    "inline handler": re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE),
    "javascript address": re.compile(r"""=\s*["']?javascript:""", re.IGNORECASE),
    "request to another origin": re.compile(
        r"""<(?!a\b)[a-z]+\b[^>]*\s(?:src|srcset|data|poster|action)\s*=\s*["']?(?:https?:)?//"""
        r"""|<(?:link(?![^>]*rel="canonical")|use)\b[^>]*\shref\s*=\s*["']?(?:https?:)?//""",
        re.IGNORECASE,
    ),
}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Document(HTMLParser):
    """The skeleton of a page: ids, what refers to them, levels of headings, and end tags that match no start."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: set[str] = set()
        self.headings: list[int] = []
        self.stray: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self._note(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.stray.append(tag)

    def _note(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if "id" in given:
            self.ids.append(given["id"])
        for name in ("aria-labelledby", "aria-describedby", "for"):
            self.references.update(given.get(name, "").split())
        if given.get("href", "").startswith("#"):
            self.references.add(given["href"][1:])
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))


def request(path: str) -> HttpRequest:
    """One of a person who is signed in, who need not be in a database."""
    made = RequestFactory().get(path)
    made.user = User(name="Ada Lovelace", email="ada@acme.example")
    return made


@pytest.fixture(autouse=True)
def _unhashed() -> Iterator[None]:
    """Static files under their own names, so that the build need not have run."""
    unhashed = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    with override_settings(STORAGES={"staticfiles": unhashed}):
        yield


@pytest.mark.parametrize(
    ("fault", "html"),
    [
        ("inline script", "<script>go()</script>"),
        ("inline style", '<p class="a" style="color: red">'),
        ("inline style", "<style>p {}</style>"),
        ("inline handler", '<button type="button" onclick="go()">'),
        ("javascript address", '<a href="javascript:go()">'),
        ("request to another origin", '<script src="https://cdn.example.com/a.js"></script>'),
        ("request to another origin", '<img alt="" src="//cdn.example.com/a.png">'),
        ("request to another origin", '<link rel="stylesheet" href="https://cdn.example.com/a.css">'),
    ],
)
def test_the_patterns_find_what_the_policy_refuses(fault: str, html: str) -> None:
    assert REFUSED[fault].search(html)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_template_keeps_to_the_policy(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert [fault for fault, pattern in REFUSED.items() if pattern.search(source)] == []


@pytest.mark.parametrize("page", PAGES)
def test_page_is_a_sound_document(page: str) -> None:
    context = {"landing.html": CONTEXT, "dev/components.html": sample_context()}.get(page, {})
    document = Document(get_template(page).render(context, request("/o/1/") if page.startswith("dev/") else None))
    assert (document.stray, document.open) == ([], [])
    assert len(document.ids) == len(set(document.ids))
    assert document.references <= set(document.ids)
    assert document.headings[0] == 1
    assert document.headings.count(1) == 1
    # No level is skipped on the way down.
    assert all(after <= before + 1 for before, after in zip(document.headings, document.headings[1:], strict=False))


def test_server_error_page_extends_and_loads_nothing() -> None:
    """It must render when static files, the database or a context processor are what is broken."""
    source = (FOLDER / "500.html").read_text(encoding="utf-8")
    assert not re.search(r"\{%|\{\{", source)


def test_landing_quickstart_names_this_installation() -> None:
    html = get_template("landing.html").render(CONTEXT)
    assert "export ANY_LLM_PLATFORM_URL=https://keys.example.com/api/v1\n" in html
    assert '<link rel="canonical" href="https://keys.example.com/">' in html


def test_landing_leads_visitors_to_an_account_and_others_to_their_projects() -> None:
    visitor = RequestFactory().get("/")
    visitor.user = AnonymousUser()
    html = get_template("landing.html").render(CONTEXT, visitor)
    assert 'href="/accounts/signup/"' in html
    assert 'href="/o/"' not in html
    html = get_template("landing.html").render(CONTEXT, request("/"))
    assert 'href="/accounts/signup/"' not in html
    assert 'href="/o/"' in html


def test_frame_of_the_application_needs_no_context() -> None:
    document = Document(get_template("app.html").render({}))
    assert (document.stray, document.open) == ([], [])


def test_frame_of_the_application_signs_out_by_post() -> None:
    html = get_template("app.html").render({"shell": {"memberships": [], "organization": None}}, request("/account/"))
    form = re.search(r'<form[^>]*action="/accounts/logout/".*?</form>', html, re.DOTALL)
    assert form
    assert 'method="post"' in form[0]
    assert "csrfmiddlewaretoken" in form[0]


@pytest.mark.parametrize("path", ["/dev/components/", "/dev/entrance/"])
def test_samples_exist_in_development_only(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("path", "current"),
    [
        ("/o/1/members/", "page"),
        ("/o/1/members/2/", "true"),
        ("/o/1/", ""),
        ("/o/1/settings/", ""),
    ],
)
def test_navigation_knows_where_it_is(path: str, current: str) -> None:
    context = {"request": RequestFactory().get(path)}
    assert nav_item(context, "/o/1/members/", "Members")["current"] == current


def test_navigation_item_for_pages_elsewhere_and_for_one_page_only() -> None:
    context = {"request": RequestFactory().get("/o/1/projects/2/")}
    assert nav_item(context, "/o/1/", "Projects", below="/o/1/projects/")["current"] == "true"
    assert nav_item(context, "/o/1/", "Overview", below="exact")["current"] == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Ada Lovelace", "AL"),
        ("Ada King, Countess of Lovelace", "AL"),
        ("ada.lovelace@acme.example", "AL"),
        ("acme", "A"),
        ("“Öre” & Söhne", "ÖS"),
        ("", "?"),
        ("—", "?"),
    ],
)
def test_initials(name: str, expected: str) -> None:
    assert initials(name) == expected


def test_grouped() -> None:
    assert grouped("9f3a61c0 7be2") == ["9f3a", "61c0", "7be2"]
