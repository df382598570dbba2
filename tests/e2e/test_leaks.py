"""That the scanner finds what there is, in every place and form; then, that nothing of what people did on this ground
is anywhere it must not be."""

import base64
import email.message
import gzip
import json
import re
import secrets
import smtplib
import time
import zlib
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlsplit

import pytest
import redis

from tests.e2e.ground import Ground
from tests.e2e.leaks import Canaries, Canary, Haystack, Leak, Scanner, haystacks
from tests.e2e.people import People

TEXT = "Zwölf große Bücher / «7» & mehr"
KEY = bytes(range(200, 232))
PLACES = {
    "database dump",
    "database files",
    "log",
    "valkey",
    "valkey files",
    "mail",
    "temporary files",
    "sent",
    "received",
    "browser storage",
    "browser profile",
}


def found(canary: Canary, data: bytes, *, packed: bool = True) -> list[Leak]:
    return Scanner([canary]).scan([Haystack("here", "it", b"before\0" + data + b"\0after", packed)])


@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.encode().hex().encode(),
        lambda text: text.encode().hex().upper().encode(),
        lambda text: quote(text, safe="").encode(),
        lambda text: re.sub("%..", lambda match: match[0].lower(), quote(text, safe="")).encode(),
        lambda text: json.dumps(text).encode(),
        lambda text: json.dumps(text, ensure_ascii=False).encode(),
        lambda text: json.dumps({"deep": json.dumps(text)}).encode(),
        lambda text: text.replace("&", "&amp;").encode(),
        lambda text: text.replace("ö", "o\u0308").replace("ü", "u\u0308").encode(),
        lambda text: base64.b64encode(zlib.compress(json.dumps(text).encode())),
        lambda text: gzip.compress(text.encode()).hex().encode(),
        lambda text: base64.b64encode(json.dumps({"key": base64.b64encode(b"\0" + text.encode()).decode()}).encode()),
    ],
)
def test_text_is_found_in_every_form(encode: Callable[[str], bytes]) -> None:
    canary = Canary("the text", TEXT)
    assert found(canary, encode(TEXT))
    assert not found(canary, encode(TEXT[::-1]))


@pytest.mark.parametrize("value", [TEXT, KEY])
@pytest.mark.parametrize("alignment", range(6))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_found_at_every_alignment(
    value: str | bytes, alignment: int, encode: Callable[[bytes], bytes]
) -> None:
    raw = value.encode() if isinstance(value, str) else value
    canary = Canary("it", value)
    encoded = encode(bytes(range(alignment)) + raw + b"\xff\x01")
    assert found(canary, encoded, packed=False)
    assert found(canary, encoded)


@pytest.mark.parametrize("start", range(len(KEY) - 11))
@pytest.mark.parametrize(
    "encode",
    [bytes, bytes.hex, lambda part: part.hex().upper(), lambda part: json.dumps(list(part)), repr],
)
def test_twelve_bytes_of_a_key_are_enough(start: int, encode: Callable[[bytes], str | bytes]) -> None:
    part = encode(KEY[start : start + 12])
    canary = Canary("the key", KEY)
    assert found(canary, part.encode() if isinstance(part, str) else part, packed=False)
    shorter = encode(KEY[start : start + 11])
    assert not found(canary, shorter.encode() if isinstance(shorter, str) else shorter)


def test_where_it_may_be_it_is_no_leak() -> None:
    canaries = Canaries()
    canaries.add("the sign-in secret", TEXT, allowed={"sent"})
    scanner = Scanner(canaries.all)
    leaks = scanner.scan([Haystack(place, "it", TEXT.encode()) for place in ("sent", "log")])
    assert [str(leak) for leak in leaks] == ["the sign-in secret, as UTF-8, in log: it"]
    assert scanner.scanned == {place: len(TEXT.encode()) for place in ("sent", "log")}


def test_what_is_too_short_is_refused() -> None:
    with pytest.raises(AssertionError, match="too short"):
        Scanner([Canary("a word", "password")])


def test_hundreds_of_megabytes_in_seconds() -> None:
    """As many canaries as a run has, in a quarter of a gigabyte of noise, found at its very end. In seconds of this
    process alone: others may be busy, too."""
    canaries = [Canary(f"key {number}", secrets.token_bytes(32)) for number in range(60)]
    canaries += [Canary(f"password {number}", secrets.token_urlsafe(24)) for number in range(40)]
    noise = secrets.token_bytes(1 << 20) * 256
    assert isinstance(canaries[0].value, bytes)
    begun = time.process_time()
    leaks = Scanner(canaries).scan([Haystack("noise", "it", noise + canaries[0].value[:12], packed=False)])
    assert [leak.canary for leak in leaks] == ["key 0"]
    assert time.process_time() - begun < 20


@pytest.fixture
def word() -> str:
    """A canary of this test alone: what it leaves behind is none of the others'."""
    return f"Geheim-é-{secrets.token_urlsafe(16)}"


@pytest.fixture
def leaks(ground: Ground, word: str) -> Callable[[], dict[str, set[str]]]:
    """Looks everywhere for the word: the forms in which it was found, by place."""

    def leaks() -> dict[str, set[str]]:
        places: dict[str, set[str]] = {}
        for leak in Scanner([Canary("the word", word)]).scan(haystacks(ground)):
            places.setdefault(leak.place, set()).add(leak.form)
        return places

    return leaks


@pytest.fixture
def table(ground: Ground) -> Iterator[str]:
    ground.query("CREATE TABLE leak_test (id int, value bytea)")
    yield "leak_test"
    ground.query("DROP TABLE leak_test")


def test_a_row_is_a_leak(ground: Ground, table: str, word: str, leaks: Callable[[], dict[str, set[str]]]) -> None:
    """As sessions are packed: compressed, then base64, and that in a column of bytes."""
    assert leaks() == {}
    packed = base64.urlsafe_b64encode(zlib.compress(json.dumps({"share": word}, ensure_ascii=False).encode()))
    ground.query(f"INSERT INTO {table} SELECT 1, decode(%s, 'hex')", [packed.hex()])
    assert any("in hex in base64" in form for form in leaks()["database dump"])
    # Gone from the table, not from the disk and the log.
    ground.query(f"DELETE FROM {table}")
    ground.query(f"INSERT INTO {table} VALUES (2, %s)", [word.encode()])
    ground.query(f"DELETE FROM {table}")
    places = leaks()
    assert "database dump" not in places
    assert places["database files"] == {"UTF-8"}
    assert "log" in places


def test_a_log_line_is_a_leak(ground: Ground, word: str, leaks: Callable[[], dict[str, set[str]]]) -> None:
    with (ground.logs / "web.log").open("a") as log:
        log.write(f'{{"message": "POST /{base64.b64encode(word.encode()).decode()}"}}\n')
    assert leaks().keys() == {"log"}


def test_a_key_in_valkey_is_a_leak(ground: Ground, word: str, leaks: Callable[[], dict[str, set[str]]]) -> None:
    with redis.Redis.from_url(ground.stack.valkey.url) as client:
        client.set(f"seen:{quote(word)}", 1)
        client.rpush("queue", json.dumps({"body": base64.b64encode(json.dumps([word]).encode()).decode()}))
        both = leaks()
        client.delete(f"seen:{quote(word)}", "queue")
    assert {"URL-encoded", "JSON in base64"} <= both["valkey"]
    # Its file remembers what was deleted.
    assert leaks().keys() == {"valkey files"}


def test_a_mail_is_a_leak(ground: Ground, word: str, leaks: Callable[[], dict[str, set[str]]]) -> None:
    message = email.message.EmailMessage()
    message["Subject"], message["From"], message["To"] = "Hello", "a@example.com", "b@example.com"
    message.set_content(f"Your password is {word}.\n" + "é" * 60, cte="quoted-printable")
    server = urlsplit(ground.mailbox.url)
    with smtplib.SMTP(server.hostname or "", server.port or 0) as client:
        client.send_message(message)
    assert leaks() == {"mail": {"UTF-8"}}


def test_a_request_is_a_leak(
    ground: Ground, people: People, word: str, leaks: Callable[[], dict[str, set[str]]]
) -> None:
    alice = people("alice")
    alice.visit("/")
    alice.page.evaluate(
        """async (word) => {
            const body = JSON.stringify({word: Array.from(word, (c) => "\\\\u" + c.charCodeAt(0).toString(16)).join("")});
            await fetch("/nowhere", {method: "POST", body: `${body} ${JSON.stringify(word)}`});
        }""",
        word,
    )
    alice.leave()
    assert leaks().keys() == {"sent"}


def test_what_a_browser_keeps_is_a_leak(
    ground: Ground, people: People, word: str, leaks: Callable[[], dict[str, set[str]]]
) -> None:
    alice = people("keeping", profile=True)
    alice.visit("/")
    alice.page.evaluate("(word) => localStorage.setItem('word', word)", word)
    alice.leave()
    assert leaks().keys() == {"browser storage", "browser profile"}


def test_the_dump_is_one_that_a_thief_could_restore(ground: Ground) -> None:
    dump = ground.dump()
    assert "CREATE TABLE public.accounts_user" in dump
    assert "PostgreSQL database dump complete" in dump


def test_nothing_leaked(ground: Ground, people: People) -> None:
    """Of all that the tests of this folder did before: they told the ground what must not be anywhere. One more person,
    with a browser that writes to disk, so that there is something to find when this test runs alone."""
    last = people("last", profile=True)
    last.join()
    last.lock()
    last.unlock()
    last.sign_out()
    last.leave()
    kinds = {canary.name.split(" of ")[0] for canary in ground.canaries.all}
    assert kinds >= {"password", "sign-in secret", "master key", "wrapping key", "seed", "account/x25519", "session"}
    scanner = Scanner(ground.canaries.all)
    leaks = scanner.scan(haystacks(ground))
    assert not leaks, "\n".join(map(str, leaks))
    assert {place for place, size in scanner.scanned.items() if size} >= PLACES - {"temporary files"}
