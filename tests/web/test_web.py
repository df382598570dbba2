"""Errors, request ids, logs, health, callers: what every answer shares."""

import json
import logging
import uuid
from collections.abc import Iterator
from io import StringIO

import pytest
from django.db import OperationalError, connection
from django.http import HttpRequest
from django.test import Client, RequestFactory
from pytest_django import Settings

from tenancy import tenant_scope
from tests.cast import Workspace
from web import callers, checks, health
from web.logs import JsonFormatter, request_id, scrub

SECRETS = [
    "ANY.v1.deadbeef.89a8cd8e-wMHCw8TFxsfIycrLzM3Oz9DR0tPU1dbX2Nna29zd3t8=",
    "as1.KHo8HXCQC60kTSmGwJ7k45mOZjqOgQ6C_KX261qT-e8",
    "W1.AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcY-csUi8nDiZjYFq2ulOFJy",
    "alp_pat_0123456789ab_secretsecretsecret_01234567",
    "RK1-2491-650N-2RBH-G68T-3CE1-T7GZ-40GJ-48S4-3MPB",
    "sk-proj-0123456789abcdef",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl",
]


@pytest.fixture
def lines() -> Iterator[StringIO]:
    """What the whole process logs, as the JSON handler writes it."""
    stream = StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def test_a_log_line_is_one_json_object_with_its_context(lines: StringIO, acme: Workspace) -> None:
    token = request_id.set("r-1234567")
    with tenant_scope(acme.organization):
        logging.getLogger("apps.some").warning("stored %d events", 3, extra={"batch": 7})
    request_id.reset(token)
    line = json.loads(lines.getvalue().splitlines()[-1])
    assert line.pop("time")
    assert line == {
        "level": "WARNING",
        "logger": "apps.some",
        "message": "stored 3 events",
        "batch": 7,
        "request_id": "r-1234567",
        "organization_id": str(acme.organization.pk),
    }


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_scrubbed_wherever_they_stand(lines: StringIO, secret: str) -> None:
    logger = logging.getLogger("apps.some")
    try:
        raise ValueError(f"could not use {secret}")
    except ValueError:
        logger.exception("failed with %s", secret, extra={"key": secret, "nested": {"deep": [secret]}})
    assert "[secret]" in lines.getvalue()
    assert secret not in lines.getvalue()


def test_ordinary_text_is_left_alone() -> None:
    for text in ("risk-averse", "ask-me", "Any.version", "POST /api/v1/auth/token 401", str(uuid.uuid4())):
        assert scrub(text) == text


def test_a_request_is_logged_without_what_it_carried(lines: StringIO, acme: Workspace) -> None:
    sdk = acme.sdk()
    answer = sdk.client.post(
        "/api/v1/usage-events/?token=in-the-query",
        json.dumps({"prompt": "in-the-body"}),
        content_type="application/json",
        headers={**sdk.bearer, "X-Request-ID": "given-by-a-proxy", "X-Secret": "in-a-header"},
    )
    assert answer["X-Request-ID"] == "given-by-a-proxy"
    logged = [json.loads(line) for line in lines.getvalue().splitlines()]
    (line,) = [line for line in logged if line["logger"] == "request"]
    assert line["message"] == "POST /api/v1/usage-events/ 422"
    assert (line["status"], line["request_id"]) == (422, "given-by-a-proxy")
    for secret in ("in-the-query", "in-the-body", "in-a-header", sdk.token):
        assert secret not in lines.getvalue()


def test_a_made_up_request_id_is_replaced(db: None) -> None:
    for given in ("short", "x" * 65, "with space", 'quote"', "line\nbreak"):
        answer = Client().get("/healthz", headers={"X-Request-ID": given})
        assert answer["X-Request-ID"] != given
        assert len(answer["X-Request-ID"]) == 32


def test_unknown_paths_answer_programs_in_json_and_people_in_html(db: None, settings: Settings) -> None:
    settings.STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
    for debug in (False, True):
        settings.DEBUG = debug
        for answer in (Client().get("/api/v1/nothing"), Client(enforce_csrf_checks=True).post("/api/v1/nothing", {})):
            assert answer.status_code == 404
            assert answer.json()["code"] == "not_found"
            assert answer.json()["detail"] == "There is no /api/v1/nothing. Trailing slashes matter."
    settings.DEBUG = False
    page = Client().get("/nothing")
    assert page.status_code == 404
    assert page["Content-Type"].startswith("text/html")


def test_a_wrong_method_is_an_error_of_the_same_shape(db: None) -> None:
    answer = Client().get("/api/v1/auth/token")
    assert answer.status_code == 405
    assert set(answer.json()) == {"detail", "code"}


def test_what_breaks_on_our_side_says_so_and_nothing_more(
    acme: Workspace, monkeypatch: pytest.MonkeyPatch, lines: StringIO
) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("the innermost thing at /some/path")

    monkeypatch.setattr("apps.sdk.api.authenticate", broken)
    answer = acme.sdk().client.get("/api/v1/provider-keys/openai")
    assert answer.status_code == 500
    assert set(answer.json()) == {"detail", "code"}
    assert "innermost" not in answer.content.decode()
    assert "the innermost thing" in lines.getvalue()


def test_healthz_touches_nothing() -> None:
    """No `db` fixture: asking the database would fail the test."""
    answer = Client().get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_readyz_names_what_is_missing(db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Client().get("/readyz").json() == {
        "status": "ready", "database": "ok", "broker": "ok", "migrations": "ok",
    }  # fmt: skip
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["broker"] == "unreachable"

    def no_database() -> str:
        raise OperationalError("password=hunter2 at host db.internal")

    monkeypatch.setattr(health, "_database", no_database)
    answer = Client().get("/readyz")
    assert answer.json()["database"] == "unreachable"
    assert "hunter2" not in answer.content.decode()


def test_readyz_waits_for_migrations(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'directory'")
    answer = Client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["migrations"] == "missing"


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "1.1.1.1", "9.9.9.9"),
        (1, "", "9.9.9.9"),
        (1, "1.1.1.1", "1.1.1.1"),
        (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (3, "1.1.1.1", "1.1.1.1"),
    ],
)
def test_as_many_proxies_are_believed_as_there_are(
    settings: Settings, proxies: int, forwarded: str, expected: str
) -> None:
    settings.TRUSTED_PROXIES = proxies
    request: HttpRequest = RequestFactory().get("/", headers={"X-Forwarded-For": forwarded}, REMOTE_ADDR="9.9.9.9")
    assert callers.address(request) == expected


def test_without_the_cache_nothing_is_limited(settings: Settings) -> None:
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    }
    assert not callers.too_many_failures(RequestFactory().get("/"), "test", 0)


def test_failures_are_counted_by_purpose_and_address() -> None:
    one, other = RequestFactory().get("/", REMOTE_ADDR=uuid.uuid4().hex), RequestFactory().get("/")
    purpose = uuid.uuid4().hex
    assert not callers.too_many_failures(one, purpose, 1)
    assert not callers.too_many_failures(other, purpose, 1)
    assert not callers.too_many_failures(one, "another", 1)
    # A minute may have ended meanwhile; of two more, one is the second of its minute.
    assert callers.too_many_failures(one, purpose, 1) or callers.too_many_failures(one, purpose, 1)


@pytest.mark.parametrize(
    ("site_url", "allowed", "expected"),
    [
        ("http://127.0.0.1:8000", ["127.0.0.1"], []),
        ("https://keys.example.com", ["keys.example.com"], []),
        ("http://keys.example.com", ["keys.example.com"], ["web.W001"]),
        ("https://keys.example.com", ["other.example.com"], ["web.E002"]),
        ("https://keys.example.com/api/v1", ["keys.example.com"], ["web.E001"]),
        ("keys.example.com", ["keys.example.com"], ["web.E001"]),
    ],
)
def test_the_address_that_sdks_are_told_is_checked(
    settings: Settings, site_url: str, allowed: list[str], expected: list[str]
) -> None:
    settings.SITE_URL, settings.ALLOWED_HOSTS = site_url, allowed
    messages = list(checks.check_site_url(None))
    assert [message.id for message in messages] == expected
    assert all(message.hint for message in messages)
