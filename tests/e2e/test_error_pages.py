"""Errors on our side, with secrets in what was sent: neither the page nor a log repeats them, in development either."""

import json
import secrets
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devstack.servers import free_port
from tests.e2e.ground import Ground
from tests.e2e.keys import keys_of
from tests.e2e.leaks import Canaries, Haystack, Scanner
from tests.e2e.people import People
from tests.faults.stack import wait_until

# What each is asked, with a table missing that it needs.
FORMS = ["/accounts/login/", "/accounts/signup/", "/accounts/password/reset/"]
SIGNED_IN_FORMS = ["/accounts/password/change/", "/accounts/reauthenticate/", "/account/"]
JSON = ["/vault/prelogin", "/vault/reauthenticate", "/vault/unlock-methods", "/vault/idle", "/vault/recovery/decline"]


@contextmanager
def missing(ground: Ground, table: str) -> Iterator[None]:
    ground.query(f"ALTER TABLE {table} RENAME TO {table}_gone")
    try:
        yield
    finally:
        ground.query(f"ALTER TABLE {table}_gone RENAME TO {table}")


@pytest.fixture(scope="module")
def development(ground: Ground) -> Iterator[str]:
    """A web server beside the other, as developers run it."""
    port = free_port()
    web = ground.program("web", DEBUG="true", PORT=str(port), WEB_WORKERS="1")
    web.start()
    wait_until(lambda: ground.stack.is_ready(port), "the second web server is ready")
    yield f"http://localhost:{port}"
    web.stop()


@pytest.mark.parametrize("mode", ["production", "development"])
def test_what_was_sent_comes_back_nowhere(people: People, ground: Ground, development: str, mode: str) -> None:
    bob = people.signed_in("bob")
    bob.recorder.expect("500")
    keys = keys_of(ground, bob.email, bob.password)
    raw = f"a raw password by mistake {secrets.token_hex(6)}"
    ground.canaries.add("a raw password in a body", raw, allowed={"sent"})
    canaries = Canaries()
    canaries.add("the raw password", raw)
    canaries.add("the sign-in secret", keys.password.auth_secret)
    for value in ground.secrets():
        canaries.add("a key of the application", value.removeprefix("k1:"))
    scanner = Scanner(canaries.all)
    origin = ground.url if mode == "production" else development

    bob.visit("/account/")
    token = bob.page.locator("meta[name=csrf-token]").get_attribute("content") or ""
    fields = {
        "email": bob.email,
        "login": bob.email,
        "organization": "Acme",
        "name": "Bob",
        "time_zone": "UTC",
        "password": keys.password.auth_secret,
        "oldpassword": keys.password.auth_secret,
        "password1": keys.password.auth_secret,
        "password-typed": raw,
        "vault": json.dumps({"type": "same", "signature": raw}),
    }
    body = {"email": bob.email, "auth_secret": keys.password.auth_secret, "minutes": 5, "envelope": raw}
    failed = set()
    for table in ("accounts_vault", "accounts_user", "accounts_session"):
        with missing(ground, table):
            for path in [*FORMS, *SIGNED_IN_FORMS, *JSON]:
                is_json = path in JSON
                headers = {"X-CSRFToken": token, "Content-Type": "application/x-www-form-urlencoded"}
                if is_json:
                    headers |= {"Accept": "application/json", "Content-Type": "application/json"}
                data = json.dumps(body | {"extra": raw}) if is_json else urllib.parse.urlencode(fields)
                answer = bob.context.request.post(origin + path, data=data, headers=headers, max_redirects=0)
                leaks = scanner.scan([Haystack("answer", f"{path} without {table}", answer.body())])
                assert not leaks, "\n".join(map(str, leaks))
                if answer.status == 500:
                    failed.add(path)
                    # Developers see where it happened, others don't.
                    assert is_json or ("Traceback" in answer.text()) == (mode == "development")
    assert failed == {*FORMS, *SIGNED_IN_FORMS, *JSON}
