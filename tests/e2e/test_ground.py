"""The ground itself: that it is the product as in production, and that what is recorded is what happened."""

import json
import secrets

import pytest

from tests.e2e.ground import Ground
from tests.e2e.people import People


def test_the_landing_page_in_a_browser(people: People, ground: Ground) -> None:
    alice = people("alice")
    answer = alice.visit("/")
    assert answer.status == 200
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    static = [exchange for exchange in alice.recorder.exchanges if exchange.path.startswith("/static/")]
    assert {exchange.status for exchange in static} == {200}
    # Hashed names: a browser may keep them for good.
    assert any(exchange.path.endswith(".css") and exchange.path.count(".") == 2 for exchange in static)
    assert alice.recorder.problems() == []
    assert ground.url == answer.url.rstrip("/")


def test_every_byte_of_a_request_is_kept(people: People, ground: Ground) -> None:
    alice = people("alice")
    alice.visit("/")
    words = {name: f"{name}-{secrets.token_hex(8)}" for name in ("path", "header", "body", "beacon")}
    alice.page.evaluate(
        """async (words) => {
            await fetch(`/${words.path}`, {method: "POST", headers: {"X-Word": words.header}, body: words.body});
            navigator.sendBeacon("/beacon", words.beacon);
            await fetch("/");
        }""",
        words,
    )
    [posted] = [exchange for exchange in alice.recorder.exchanges if words["path"] in exchange.url]
    assert (posted.method, posted.body, posted.headers["x-word"]) == ("POST", words["body"].encode(), words["header"])
    assert posted.status is not None
    assert 400 <= posted.status < 500
    alice.leave()
    sent = b"".join(path.read_bytes() for path in ground.relay.sent.iterdir())
    assert [name for name, word in words.items() if word.encode() not in sent] == []


def test_problems_of_a_page_are_noticed(people: People) -> None:
    alice = people("alice")
    # A page of the test's own, whatever the product's pages and their policies are.
    policy = {"Content-Security-Policy": "img-src 'self'; connect-src 'self'", "Content-Type": "text/html"}
    alice.context.route("**/broken/", lambda route: route.fulfill(body="<p>Broken</p>", headers=policy))
    alice.context.route("**/failing/", lambda route: route.fulfill(status=500, body="failing"))
    alice.visit("/broken/")
    alice.page.evaluate(
        """async () => {
            const add = (url) => document.body.append(Object.assign(document.createElement("img"), {src: url}));
            console.error("something broke");
            add("https://example.com/pixel.png");
            await fetch("https://example.org/").catch(() => null);
            await fetch("/failing/");
            setTimeout(() => { document.body.id = "later"; throw new Error("thrown by a page"); });
        }"""
    )
    alice.page.wait_for_selector("#later")
    # A frame of another site: the policy above says nothing of those, so it is asked for.
    alice.page.evaluate(
        """() => new Promise((resolve) => {
            const frame = Object.assign(document.createElement("iframe"), {src: "https://example.net/"});
            frame.onload = frame.onerror = resolve;
            document.body.append(frame);
        })"""
    )
    problems = "\n".join(alice.recorder.problems())
    assert "something broke" in problems
    assert "thrown by a page" in problems
    assert "img-src blocked https://example.com/pixel.png" in problems
    assert "connect-src blocked https://example.org/" in problems
    assert "a request to https://example.net/" in problems
    assert f"GET {alice.page.url.replace('broken', 'failing')}: 500" in problems
    alice.recorder.expect("")
    assert alice.recorder.problems() == []


def test_what_is_stored_is_seen_and_kept(people: People, ground: Ground) -> None:
    alice = people("keeper", profile=True)
    alice.visit("/")
    alice.page.evaluate(
        """async () => {
            localStorage.setItem("word", "local");
            sessionStorage.setItem("word", "session");
            const key = await crypto.subtle.generateKey("Ed25519", false, ["sign"]);
            const open = indexedDB.open("words", 1);
            open.onupgradeneeded = () => open.result.createObjectStore("store");
            await new Promise((resolve) => { open.onsuccess = resolve; });
            const writing = open.result.transaction("store", "readwrite");
            writing.objectStore("store").put({bytes: new Uint8Array([1, 2, 255]), key: key.privateKey}, "word");
            await new Promise((resolve) => { writing.oncomplete = resolve; });
            open.result.close();
        }"""
    )
    stored = alice.stored()
    assert (stored["local"], stored["session"]) == ({"word": "local"}, {"word": "session"})
    value = {"bytes": "0102ff", "key": "[CryptoKey, extractable: false]"}
    assert stored["databases"] == {"words": {"store": [["word", value]]}}
    alice.leave()
    kept = max(ground.storage.iterdir())
    assert json.loads(kept.read_text())["stored"] == stored
    assert any(path.is_file() for path in (ground.profiles / "keeper").rglob("*"))


def test_mail_goes_out_as_in_production(ground: Ground) -> None:
    word = secrets.token_hex(8)
    code = (
        "from django.core.mail import send_mail;"
        f" send_mail('Greetings {word}', 'Look: http://localhost/x/ and {ground.url}/y/', None, ['{word}@example.com'])"
    )
    ground.manage("shell", "--no-imports", "--command", code)
    mail = ground.mailbox.wait_for(f"{word}@example.com", word)
    assert mail.link("/y/") == f"{ground.url}/y/"
    assert mail.text.startswith("Look:")
    with pytest.raises(AssertionError, match="no mail to"):
        ground.mailbox.wait_for(f"{word}@example.com", word, seconds=0)


def test_workers_and_beat_work(ground: Ground) -> None:
    """Beat queues a task every minute; the pool of spare schemas was filled by the release."""
    assert ground.query("SELECT count(*) FROM tenancy_spareschema") == [(3,)]
    for name in ("worker", "exporter", "beat"):
        assert "DEBUG" in (ground.logs / f"{name}.log").read_text(), name
