"""Looks for secrets in everything that a run left behind: the acceptance test of what the product promises.

A canary is a value that must not get out of the browser. It is searched for in every form that it may have taken on
the way, and a 32-byte secret also by every 12 bytes of it.
"""

import base64
import binascii
import gzip
import html
import io
import json
import math
import mmap
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, quote_plus

import redis
from ahocorasick_rs import BytesAhoCorasick

if TYPE_CHECKING:
    from tests.e2e.ground import Ground

# Shorter values would be found by chance.
SHORTEST = 10
WINDOW = 12
# How deep something is unpacked: base64 of compressed JSON that holds base64 is three.
LAYERS = 4


@dataclass(frozen=True)
class Canary:
    """A secret by its name. Bytes are key material; text is what a person typed or was shown. `allowed` are the places,
    by the names that `haystacks` gives, where it may be."""

    name: str
    value: bytes | str
    allowed: frozenset[str] = frozenset()

    def forms(self) -> Iterator[tuple[str, bytes]]:
        """(what it is, the bytes to look for) of every form."""
        assert len(self.value) >= SHORTEST, f"{self.name} is too short to be looked for"
        if isinstance(self.value, bytes):
            yield from _forms_of_bytes(self.value)
            return
        for normal_form in ("NFC", "NFD", "NFKC", "NFKD"):
            text = unicodedata.normalize(normal_form, self.value)
            yield from _forms_of_text(text)


def _forms_of_text(text: str) -> Iterator[tuple[str, bytes]]:
    raw = text.encode()
    yield "UTF-8", raw
    # Chromium stores a text so whose characters all fit into one byte.
    with suppress(UnicodeEncodeError):
        yield "Latin-1", text.encode("latin-1")
    yield "UTF-16", text.encode("utf-16-le")
    yield "UTF-16, big-endian", text.encode("utf-16-be")
    for upper in (raw.hex(), raw.hex().upper()):
        yield "hex", upper.encode()
    for alignment in range(3):
        for alphabet, encoded in _base64(raw, alignment):
            yield f"{alphabet}, shifted by {alignment}", encoded
    # Of JavaScript's encodeURIComponent, forms, and Python; hex digits in both cases.
    for encoded_text in (quote(text, safe=""), quote(text, safe="!'()*~-_."), quote(text), quote_plus(text)):
        yield "URL-encoded", encoded_text.encode()
        yield "URL-encoded", re.sub("%..", lambda match: match[0].lower(), encoded_text).encode()
    for ascii_only in (True, False):
        escaped = json.dumps(text, ensure_ascii=ascii_only)
        yield "JSON", escaped[1:-1].encode()
        # JSON as a text inside JSON.
        yield "JSON", json.dumps(escaped[1:-1], ensure_ascii=ascii_only)[1:-1].encode()
        # As Django puts it into a page, and some libraries put slashes.
        yield "JSON", re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04X}", escaped[1:-1]).encode()
        yield "JSON", escaped[1:-1].replace("/", "\\/").encode()
    yield "HTML", html.escape(text).encode()
    yield "repr", repr(text)[1:-1].encode()


def _forms_of_bytes(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Windows of every form, so that half a key is found, too."""
    size = min(WINDOW, len(value))
    for start in range(len(value) - size + 1):
        part = value[start : start + size]
        yield "bytes", part
        yield "hex", part.hex().encode()
        yield "hex", part.hex().upper().encode()
        yield "numbers", ",".join(map(str, part)).encode()
        yield "numbers", ", ".join(map(str, part)).encode()
        yield "repr", repr(part)[2:-1].encode()
    characters = size * 4 // 3
    for alignment in range(3):
        for alphabet, encoded in _base64(value, alignment):
            for start in range(max(1, len(encoded) - characters + 1)):
                yield f"{alphabet}, shifted by {alignment}", encoded[start : start + characters]


def _base64(value: bytes, alignment: int) -> Iterator[tuple[str, bytes]]:
    """The characters that depend on `value` alone where it starts so many bytes into a group of three."""
    first, end = math.ceil(4 * alignment / 3), 4 * (alignment + len(value)) // 3
    padded = bytes(alignment) + value
    yield "base64", base64.b64encode(padded)[first:end]
    yield "base64url", base64.urlsafe_b64encode(padded)[first:end]


class Canaries:
    """Collects them; the same name may stand for several values."""

    def __init__(self) -> None:
        self.all: list[Canary] = []

    def add(self, name: str, value: bytes | str, *, allowed: Iterable[str] = ()) -> None:
        canary = Canary(name, value, frozenset(allowed))
        if canary not in self.all:
            self.all.append(canary)


class Haystack(NamedTuple):
    """`place` is the kind of thing it is, `name` which one. What is `packed` is also searched after decoding what looks
    like hex, base64 or compressed data in it; not database and browser files, whose contents come unpacked elsewhere.
    """

    place: str
    name: str
    data: "bytes | mmap.mmap"
    packed: bool = True


class Leak(NamedTuple):
    canary: str
    form: str
    place: str
    name: str

    def __str__(self) -> str:
        return f"{self.canary}, as {self.form}, in {self.place}: {self.name}"


@dataclass
class Scanner:
    """Searches for all forms of all canaries at once, some hundred megabytes in a second."""

    canaries: list[Canary]
    scanned: dict[str, int] = field(default_factory=dict)  # place -> bytes, for tests to see that it was there

    def __post_init__(self) -> None:
        meanings: dict[bytes, list[tuple[Canary, str]]] = {}
        for canary in self.canaries:
            for form, needle in canary.forms():
                known = meanings.setdefault(needle, [])
                if all(canary is not other for other, _ in known):
                    known.append((canary, form))
        self._meanings = list(meanings.values())
        self._automaton = BytesAhoCorasick(list(meanings))

    def scan(self, haystacks: Iterable[Haystack]) -> list[Leak]:
        """Every leak once, whatever number of times it is there."""
        leaks: dict[Leak, None] = {}
        for haystack in haystacks:
            self.scanned[haystack.place] = self.scanned.get(haystack.place, 0) + len(haystack.data)
            for how, data in [("", haystack.data), *(unpacked(bytes(haystack.data)) if haystack.packed else ())]:
                for number, _, _ in self._automaton.find_matches_as_indexes(data, overlapping=True):
                    for canary, form in self._meanings[number]:
                        if haystack.place not in canary.allowed:
                            leaks[Leak(canary.name, f"{form}{how}", haystack.place, haystack.name)] = None
        return list(leaks)


_HEX = re.compile(rb"(?:[0-9a-f]{2}){16,}|(?:[0-9A-F]{2}){16,}")
# It may begin anywhere in a run of its characters: a path's slash is one of them.
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}")


def unpacked(data: bytes, layers: int = LAYERS) -> Iterator[tuple[str, bytes]]:
    """(how, contents) of what is encoded or compressed inside, all pieces of one kind joined, down to `layers`."""
    if layers == 0:
        return
    # Each run once: most of a log is the same words again and again.
    pieces = {
        " in hex": [bytes.fromhex(run.decode()) for run in set(_HEX.findall(data))],
        " in base64": [_decoded(run[start:]) for run in set(_BASE64.findall(data)) for start in range(4)],
    }
    for how, contents in pieces.items():
        if contents:
            inflated = filter(None, map(_inflated, contents))
            # NUL is in neither alphabet: pieces stay apart in the next layer.
            joined = b"\0\0".join([*contents, *inflated])
            yield how, joined
            for deeper, inner in unpacked(joined, layers - 1):
                yield how + deeper, inner


def _decoded(run: bytes) -> bytes:
    run = run.translate(bytes.maketrans(b"-_", b"+/"))
    run = run[: len(run) - (len(run) % 4 == 1)]
    return binascii.a2b_base64(run + b"=" * (-len(run) % 4))


def _inflated(content: bytes) -> bytes:
    """What zlib or gzip makes of it, as far as it goes; nothing for what is not compressed."""
    if content[:2] == b"\x1f\x8b":
        with gzip.open(io.BytesIO(content)) as file:
            try:
                return file.read()
            except (OSError, EOFError, zlib.error):
                return b""
    if content[:1] == b"\x78":
        try:
            return zlib.decompressobj().decompress(content)
        except zlib.error:
            return b""
    return b""


def haystacks(ground: "Ground") -> Iterator[Haystack]:
    """Everything that a run leaves behind: the database, its files and log, what ran, Valkey, mails, temporary files,
    both directions of every connection of the browsers, what they stored, and their profiles."""
    yield Haystack("database dump", "pg_dump", ground.dump().encode())
    yield from files("database files", ground.database_files(), packed=False)
    yield from files("log", ground.logs, "*.log")
    yield from valkey("valkey", ground.stack.valkey.url)
    yield from files("valkey files", ground.stack.valkey.data_dir)
    for number, mail in enumerate(ground.mailbox.mails, 1):
        name = f"mail {number} to {mail.to}"
        yield Haystack("mail", name, mail.raw)
        for part in mail.message.walk():
            if isinstance(payload := part.get_payload(decode=True), bytes):
                yield Haystack("mail", f"{name}, {part.get_content_type()}", payload)
    yield from files("temporary files", ground.temporary)
    yield from files("exports", ground.stack.exports)
    yield from files("sent", ground.relay.sent)
    yield from files("received", ground.relay.received)
    yield from files("browser storage", ground.storage)
    yield from files("browser profile", ground.profiles, packed=False)


def files(place: str, folder: Path, pattern: str = "*", *, packed: bool = True) -> Iterator[Haystack]:
    """Every file below `folder`, its own name and path included, because a name can leak as well."""
    for path in sorted(folder.rglob(pattern)):
        name = str(path.relative_to(folder))
        yield Haystack(place, f"the name {name}", name.encode())
        if path.is_symlink() or not path.is_file():
            continue
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield Haystack(place, name, data, packed)
        except (FileNotFoundError, ValueError):
            # Removed by the program that it belongs to, or empty.
            continue


def valkey(place: str, url: str) -> Iterator[Haystack]:
    """Every key with its value, of every database: cache, sessions, queued tasks."""
    with redis.Redis.from_url(url) as client:
        databases = client.info("keyspace")
        assert isinstance(databases, dict)
        for database in databases:
            client.select(int(database.removeprefix("db")))
            for key in client.scan_iter():
                yield Haystack(place, f"the key {key!r}", key)
                for value in _values(client, key):
                    yield Haystack(place, repr(key), value)


# How each kind of value is read whole.
_READING: dict[bytes, Callable[[bytes], tuple[Any, ...]]] = {
    b"string": lambda key: ("GET", key),
    b"list": lambda key: ("LRANGE", key, 0, -1),
    b"set": lambda key: ("SMEMBERS", key),
    b"zset": lambda key: ("ZRANGE", key, 0, -1),
    b"hash": lambda key: ("HVALS", key),
    b"none": lambda key: ("EXISTS", key),  # expired meanwhile
}


def _values(client: redis.Redis, key: bytes) -> list[bytes]:
    run: Callable[..., Any] = client.execute_command
    kind = run("TYPE", key)
    values = run(*_READING[kind](key))
    if kind == b"hash":
        values += run("HKEYS", key)
    return [value for value in (values if isinstance(values, (list, set)) else [values]) if isinstance(value, bytes)]
