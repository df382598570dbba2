"""The browser's library in a real Chromium, under the product's security policy: vectors, the worker, the storage."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright

from config.env import ROOT
from devstack import chromium
from tests.e2e.people import ARGUMENTS
from tests.frontend.vault_build import Build
from tests.frontend.vault_site import (
    WORKER,
    WORKER_MISSING,
    WORKER_WITH_POLICY_OF_PAGES,
    WORKER_WITH_WRONG_ANSWER,
    Site,
    serving,
)

V: dict[str, Any] = json.loads((ROOT / "tests" / "cryptokit" / "vectors.json").read_text(encoding="utf-8"))
KDF = V["kdf"]
SHARE, OTHER_SHARE = "32" * 32, "33" * 32
ALICE = (V["ids"]["alice"], 1, V["accounts"]["alice_seed"])

# One process for all of them: each would start a Chromium.
pytestmark = pytest.mark.xdist_group("vault-browser")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("vault")
    Build.into(folder)
    with serving(folder) as site:
        yield site


# Of this module, not of the session: Playwright's event loop would keep the ORM from working in this thread.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = chromium.find()
    assert executable, chromium.ADVICE
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext, site: Site) -> Page:
    site.requests.clear()
    return opened(context, site)


def opened(context: BrowserContext, site: Site, worker: str = WORKER) -> Page:
    page = context.new_page()
    page.goto(site.page(worker))
    return page


def call(page: Page, name: str, *arguments: object) -> Any:
    """What `vault.<name>(…)` of frontend/test/browser.ts returns; Playwright's Error if it rejects."""
    return page.evaluate("([name, given]) => window.vault[name](...given)", [name, list(arguments)])


def test_every_vector_and_negative(page: Page) -> None:
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    names = call(page, "runCases")
    assert set(names) >= {name for name, _ in V["negatives"]}
    assert len(names) > 35
    assert problems == []


class TestKdf:
    def test_the_worker_runs_webassembly_and_the_page_can_not(self, page: Page, site: Site) -> None:
        found = call(page, "derive")
        assert found["engine"] == "wasm"
        assert found["key"] == KDF["master_key_hex"]
        smallest = "WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))"
        assert page.evaluate(f"{smallest}.then(() => 'compiled', (error) => error.name)") == "CompileError"
        assert site.requests == ["/", "/js/browser.js", WORKER]

    def test_passwords_and_passphrases(self, page: Page) -> None:
        keys = call(page, "passwordKeys", KDF["password"], "a1", KDF["salt_hex"])
        assert keys == [KDF["auth_secret"], KDF["kek_password_hex"]]
        # The same derivation; no secret to sign in with is made of it.
        assert call(page, "passphraseKek", KDF["password"], KDF["salt_hex"]) == KDF["kek_password_hex"]

    def test_without_webassembly_the_bytes_are_the_same(self, context: BrowserContext, site: Site) -> None:
        page = opened(context, site, WORKER_WITH_POLICY_OF_PAGES)
        found = call(page, "derive")
        assert found["engine"] == "javascript"
        assert found["key"] == KDF["master_key_hex"]

    @pytest.mark.parametrize("kdf", ["a2", "", "A1", "toString", "__proto__"])
    def test_an_unknown_derivation_is_refused_before_hashing(self, page: Page, site: Site, kdf: str) -> None:
        with pytest.raises(Error, match="key derivation that this page doesn't know"):
            call(page, "passwordKeys", KDF["password"], kdf, KDF["salt_hex"])
        assert WORKER not in site.requests

    def test_a_salt_of_another_length_is_refused_before_hashing(self, page: Page, site: Site) -> None:
        with pytest.raises(Error, match="malformed salt"):
            call(page, "passwordKeys", KDF["password"], "a1", KDF["salt_hex"][:-2])
        assert WORKER not in site.requests

    def test_a_wrong_answer_to_the_known_question_is_refused(self, context: BrowserContext, site: Site) -> None:
        page = opened(context, site, WORKER_WITH_WRONG_ANSWER)
        assert call(page, "derive") == {"error": "known-answer"}
        with pytest.raises(Error, match="computes a wrong key"):
            call(page, "passwordKeys", KDF["password"], "a1", KDF["salt_hex"])

    @pytest.mark.parametrize("worker", [WORKER_MISSING, "https://elsewhere.example/js/kdf-worker.js", "", "data:,"])
    def test_a_worker_that_can_not_start(self, page: Page, worker: str) -> None:
        page.evaluate("(url) => { document.querySelector('meta[name=kdf-worker]').content = url; }", worker)
        with pytest.raises(Error, match="could not start"):
            call(page, "derive")

    def test_the_one_trusted_types_policy_passes_on_the_one_address(self, page: Page) -> None:
        with pytest.raises(Error, match="TrustedScriptURL"):
            page.evaluate("(url) => window.vault.policy.worker(url)", WORKER)
        assert call(page, "derive")["engine"] == "wasm"
        with pytest.raises(Error, match="TypeError"):  # it exists already, and no other name is allowed
            page.evaluate("() => window.vault.policy.create()")
        # What the page says later is not believed.
        page.evaluate("() => { document.querySelector('meta[name=kdf-worker]').content = '/js/browser.js'; }")
        with pytest.raises(Error, match="could not start"):
            call(page, "derive")


class TestSession:
    def test_a_pending_key_waits_until_a_page_has_put_the_account_in_its_place(self, page: Page, site: Site) -> None:
        call(page, "storePendingKek", SHARE, KDF["kek_password_hex"])
        # A page that is left before it has done so costs nothing.
        for _ in range(2):
            page.goto(site.page())
            assert call(page, "pendingKek", SHARE) == KDF["kek_password_hex"]
        call(page, "storeSeed", SHARE, *ALICE)
        assert call(page, "pendingKek", SHARE) is None
        assert "kek" not in call(page, "dump")

    def test_a_pending_key_needs_the_share_it_was_stored_with(self, page: Page) -> None:
        call(page, "storePendingKek", SHARE, KDF["kek_password_hex"])
        assert call(page, "pendingKek", OTHER_SHARE) is None
        assert call(page, "pendingKek", SHARE) is None

    def test_a_pending_key_waits_ten_minutes(self, page: Page) -> None:
        page.clock.install()
        call(page, "storePendingKek", SHARE, KDF["kek_password_hex"])
        page.clock.fast_forward("09:59")
        assert call(page, "pendingKek", SHARE) == KDF["kek_password_hex"]
        call(page, "storePendingKek", SHARE, KDF["kek_password_hex"])
        page.clock.fast_forward("10:00")
        assert call(page, "pendingKek", SHARE) is None

    def test_the_account_stays_unlocked_on_other_pages_and_tabs(self, page: Page, site: Site) -> None:
        vault, version, seed = ALICE
        assert call(page, "loadSeed", SHARE, vault, version) is None
        call(page, "storeSeed", SHARE, *ALICE)
        page.goto(site.page())
        assert call(page, "loadSeed", SHARE, vault, version) == seed
        assert call(opened(page.context, site), "loadSeed", SHARE, vault, version) == seed

    @pytest.mark.parametrize(
        "of",
        [(OTHER_SHARE, ALICE[0], 1), (SHARE, V["ids"]["bob"], 1), (SHARE, ALICE[0], 2)],
        ids=["session", "vault", "key version"],
    )
    def test_of_another_session_vault_or_version_it_is_locked_and_forgotten(
        self, page: Page, of: tuple[str, str, int]
    ) -> None:
        call(page, "storeSeed", SHARE, *ALICE)
        assert call(page, "loadSeed", *of) is None
        assert call(page, "loadSeed", SHARE, ALICE[0], 1) is None
        assert "seed" not in call(page, "dump")

    def test_what_an_earlier_session_left_does_not_cost_the_next_one_its_key(self, page: Page) -> None:
        call(page, "storeSeed", OTHER_SHARE, *ALICE)
        call(page, "storePendingKek", SHARE, KDF["kek_password_hex"])
        assert call(page, "loadSeed", SHARE, ALICE[0], 1) is None
        assert call(page, "pendingKek", SHARE) == KDF["kek_password_hex"]

    def test_what_is_stored_holds_no_key_and_the_local_one_is_not_handed_out(self, page: Page) -> None:
        call(page, "storeSeed", SHARE, *ALICE)
        call(page, "storePendingKek", SHARE, KDF["kek_password_hex"])
        records = call(page, "dump")
        assert records["local"] == {"extractable": False, "usages": ["deriveBits"], "exported": "NotSupportedError"}
        assert set(records) == {"local", "kek", "seed"}
        for name in ("kek", "seed"):
            assert records[name]["envelope"].startswith("W1.")
        assert ALICE[2] not in json.dumps(records)
        first = records["seed"]["envelope"]
        call(page, "forget")
        assert call(page, "dump") == {}
        call(page, "storeSeed", SHARE, *ALICE)
        assert call(page, "dump")["seed"]["envelope"] != first

    def test_locking_in_one_tab_locks_all(self, page: Page, site: Site) -> None:
        other = opened(page.context, site)
        call(page, "storeSeed", SHARE, *ALICE)
        for tab in (page, other):
            tab.evaluate("() => { window.lock = window.vault.nextLock(); }")
        call(page, "forget")
        assert page.evaluate("() => window.lock") == "locked"
        assert other.evaluate("() => window.lock") == "locked"
        assert call(other, "loadSeed", SHARE, ALICE[0], 1) is None

    def test_it_locks_after_half_an_hour_without_activity(self, page: Page) -> None:
        page.clock.install()
        call(page, "storeSeed", SHARE, *ALICE)
        assert call(page, "idleMinutes") == 30
        page.clock.fast_forward("29:00")
        assert call(page, "loadSeed", SHARE, ALICE[0], 1) == ALICE[2]  # activity
        page.clock.fast_forward("29:00")
        call(page, "touch")
        page.clock.fast_forward("29:59")
        assert call(page, "loadSeed", SHARE, ALICE[0], 1) == ALICE[2]
        page.clock.fast_forward("30:00")
        call(page, "touch")  # too late
        assert call(page, "loadSeed", SHARE, ALICE[0], 1) is None
        assert "seed" not in call(page, "dump")

    def test_a_watched_page_locks_by_itself_unless_somebody_is_there(self, page: Page) -> None:
        page.clock.install()
        call(page, "setIdleMinutes", 2)
        call(page, "storeSeed", SHARE, *ALICE)
        page.evaluate("() => { window.vault.watch(); window.lock = window.vault.nextLock(); }")
        deadline = call(page, "dump")["seed"]["deadline"]
        page.clock.fast_forward("01:30")
        page.keyboard.press("Shift")
        # The key press writes the new deadline behind our back: ask until it is there.
        later = (
            "async () => { let at; do at = (await window.vault.dump()).seed.deadline; while (at <= %d); return at; }"
        )
        assert page.evaluate(later % deadline) >= deadline + 90_000
        page.clock.fast_forward("02:15")
        assert page.evaluate("() => window.lock") == "locked"
        assert call(page, "loadSeed", SHARE, ALICE[0], 1) is None

    def test_the_idle_time_is_set_for_this_browser(self, page: Page, site: Site) -> None:
        page.clock.install()
        call(page, "setIdleMinutes", 5)
        call(page, "storeSeed", SHARE, *ALICE)
        page.clock.fast_forward("05:00")
        assert call(page, "loadSeed", SHARE, ALICE[0], 1) is None
        page.goto(site.page())
        assert call(page, "idleMinutes") == 5  # locking does not forget it
        for minutes in (0, -1, 1.5, 100_000):
            with pytest.raises(Error, match="RangeError"):
                call(page, "setIdleMinutes", minutes)

    def test_a_browser_that_stores_nothing_says_so(self, context: BrowserContext, site: Site) -> None:
        context.add_init_script("Object.defineProperty(window, 'indexedDB', { value: undefined })")
        page = opened(context, site)
        for question in (("storeSeed", SHARE, *ALICE), ("loadSeed", SHARE, ALICE[0], 1), ("pendingKek", SHARE)):
            with pytest.raises(Error, match="stores nothing for this site"):
                call(page, *question)


class TestHttp:
    def test_what_is_sent(self, page: Page, site: Site) -> None:
        plain = {"Accept": "application/json", "Content-Type": None, "X-CSRFToken": None, "Origin": None}
        assert call(page, "http", "get", "/api/echo") == {"method": "GET", "headers": plain, "body": None}
        sent = call(page, "http", "post", "/api/echo", {"name": "é"})
        json_with_token = {"Content-Type": "application/json", "X-CSRFToken": "the-token", "Origin": site.origin}
        assert sent == {"method": "POST", "headers": plain | json_with_token, "body": {"name": "é"}}
        deleted = call(page, "http", "delete", "/api/echo")
        assert (deleted["method"], deleted["headers"]["X-CSRFToken"], deleted["body"]) == ("DELETE", "the-token", None)
        assert call(page, "http", "post", "/api/nothing", {}) is None

    @pytest.mark.parametrize(
        ("url", "status", "code", "detail"),
        [
            ("/api/refused", 409, "archived", "This project is archived."),
            ("/api/crash", 500, "failed", "The server could not do this (status 500). Try again later."),
            ("/api/page", 200, "unexpected", "The server answered with something else. Reload this page."),
            ("/api/gone", 0, "unreachable", "The server can't be reached. Check your connection, then try again."),
        ],
    )
    def test_errors_can_be_shown(self, page: Page, url: str, status: int, code: str, detail: str) -> None:
        assert call(page, "http", "post", url, {}) == {"status": status, "code": code, "detail": detail}
