"""Every template keeps to the content security policy, and the pages that belong to no app are sound documents."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.template.loader import get_template
from django.test import override_settings

from config.env import ROOT

FOLDER = ROOT / "templates"
TEMPLATES = sorted(FOLDER.rglob("*.html"))
PAGES = ["landing.html", "400.html", "403.html", "404.html", "500.html", "csrf_failure.html"]
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
    document = Document(get_template(page).render(CONTEXT if page == "landing.html" else {}))
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
