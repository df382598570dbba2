"""Security headers of every kind of address, and the reports of browsers."""

import json
import logging
import uuid
from pathlib import Path

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from pytest_django import Settings

from tests.cast import Member, Workspace
from web.headers import PageHeadersMiddleware, csp_reports
from web.policies import PAGE_POLICY, WORKER_FILE, WORKER_POLICY

EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
ON_PAGES = EVERYWHERE | {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; style-src 'self'; "
        "img-src 'self' data:; font-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types alp-worker; report-to csp"
    ),
    "Reporting-Endpoints": 'csp="/csp-reports"',
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "publickey-credentials-get=(self), publickey-credentials-create=(self)",
    "X-Frame-Options": "DENY",
}


@pytest.fixture
def files(tmp_path: Path, settings: Settings) -> Client:
    """Serves what WhiteNoise finds in a folder, under the names that production gives."""
    (tmp_path / "js").mkdir()
    for name in ("js/kdf-worker.js", "js/kdf-worker.0123456789ab.js", "js/app.js", "js/my-kdf-worker.js"):
        (tmp_path / name).write_text("0")
    settings.STATIC_ROOT = tmp_path
    settings.WHITENOISE_AUTOREFRESH = settings.WHITENOISE_USE_FINDERS = False
    return Client()


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/nothing", "/o/", "/vault/nothing", "/csp-reports"])
def test_pages_have_all_of_them(db: None, path: str) -> None:
    answer = Client().get(path)
    assert {name: answer.get(name) for name in ON_PAGES} == ON_PAGES


def test_pages_of_somebody_signed_in_have_them_too(alice: Member, acme: Workspace) -> None:
    for path in ("/o/", acme.url(), "/account/security/"):
        answer = alice.browser().get(path)
        assert answer["Content-Security-Policy"] == PAGE_POLICY


def test_errors_have_them(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> HttpResponse:
        raise RuntimeError

    monkeypatch.setattr("web.views.render", broken)
    answer = Client(raise_request_exception=False).get("/")
    assert answer.status_code == 500
    assert answer["Content-Security-Policy"] == PAGE_POLICY


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/v1/nothing", "/api/v1/auth/token"])
def test_answers_to_programs_have_the_few_that_cost_nothing(db: None, path: str) -> None:
    answer = Client().get(path)
    assert {name: answer.get(name) for name in EVERYWHERE} == EVERYWHERE
    assert not (set(ON_PAGES) - set(EVERYWHERE)) & set(answer.headers)


def test_https_is_remembered(db: None, settings: Settings) -> None:
    settings.SECURE_HSTS_SECONDS = 31_536_000
    assert Client().get("/", secure=True)["Strict-Transport-Security"] == "max-age=31536000"
    assert "Strict-Transport-Security" not in Client().get("/")


@pytest.mark.parametrize("name", ["kdf-worker.js", "kdf-worker.0123456789ab.js"])
def test_the_workers_file_and_no_other_may_compile_webassembly(files: Client, name: str) -> None:
    answer = files.head(f"/static/js/{name}")
    assert answer.status_code == 200
    assert answer["Content-Security-Policy"] == "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"
    assert {header: answer.get(header) for header in EVERYWHERE} == EVERYWHERE
    for other in ("app.js", "my-kdf-worker.js"):
        answer = files.head(f"/static/js/{other}")
        assert answer.status_code == 200
        assert "wasm" not in answer["Content-Security-Policy"]
        assert answer["Cross-Origin-Resource-Policy"] == "same-origin"


def test_an_unmodified_worker_gets_no_policy_that_replaces_its_own(files: Client) -> None:
    """Browsers put the headers of a 304 over those of what they have."""
    last_modified = files.head("/static/js/kdf-worker.js")["Last-Modified"]
    answer = files.head("/static/js/kdf-worker.js", headers={"If-Modified-Since": last_modified})
    assert answer.status_code == 304
    assert answer.get("Content-Security-Policy") in (None, WORKER_POLICY)


def test_the_worker_is_built_under_the_name_that_is_allowed() -> None:
    root = Path(__file__).resolve().parents[2]
    assert (root / "frontend" / "src" / "vault" / "kdf-worker.ts").is_file()
    assert '"js/kdf-worker.js"' in (root / "templates" / "app.html").read_text()
    assert 'createPolicy("alp-worker"' in (root / "frontend" / "src" / "vault" / "kdf.ts").read_text()
    assert WORKER_FILE.search("/static/js/kdf-worker.js")


def test_a_view_may_have_its_own_policy() -> None:
    own = HttpResponse(headers={"Content-Security-Policy": "sandbox"})
    answer = PageHeadersMiddleware(lambda _request: own)(RequestFactory().get("/"))
    assert answer["Content-Security-Policy"] == "sandbox"
    assert answer["Cross-Origin-Resource-Policy"] == "same-origin"


def report(body: object, **more: str) -> HttpRequest:
    """From an address of its own, so that no other test's reports count."""
    data = body if isinstance(body, str) else json.dumps(body)
    address = str(uuid.uuid4())
    return RequestFactory().post(
        "/csp-reports", data, content_type="application/reports+json", REMOTE_ADDR=more.get("address", address)
    )


def violation(directive: str, blocked: str) -> dict[str, object]:
    return {
        "type": "csp-violation",
        "url": "https://keys.example.com/account/?secret=1",
        "body": {"effectiveDirective": directive, "blockedURL": blocked, "sample": "ANY.v1.secret", "lineNumber": 3},
    }


def test_a_report_is_counted_by_directive_and_origin_and_nothing_else_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen = violation("script-src-elem", "https://evil.example:8443/x.js?token=1")
    odd = [violation("img-src", "javascript:alert(1)"), violation("x" * 99, "http://[broken")]
    body = [seen, seen, violation("script-src", "inline"), *odd, {"type": "deprecation", "body": None}, {}]
    with caplog.at_level(logging.WARNING, "web.headers"):
        assert csp_reports(report(body)).status_code == 204
    logged = [(vars(line)["directive"], vars(line)["blocked"], vars(line)["count"]) for line in caplog.records]
    assert logged == [
        ("script-src-elem", "https://evil.example:8443", 2),
        ("script-src", "inline", 1),
        ("img-src", "other", 1),
        ("other", "other", 1),
    ]
    for secret in ("token", "secret", "x.js", "sample"):
        assert not any(secret in str(vars(line)) for line in caplog.records)


def test_reports_are_bounded_in_size_and_rate(db: None) -> None:
    client, address = Client(), str(uuid.uuid4())

    def send(body: str) -> int:
        return client.post("/csp-reports", body, "application/reports+json", REMOTE_ADDR=address).status_code

    assert send("[" + " " * 20_000 + "]") == 413
    assert send("[{") == 400
    assert send("{}") == 422
    # A minute may end meanwhile; two whole minutes can't.
    assert 429 in {send("[]") for _ in range(61)}
