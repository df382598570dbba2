"""The browser's library in Node: its own tests (frontend/test/), then with the protocol's Python side."""

import json
import re
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cryptokit import envelopes, sealed_box, statements
from cryptokit.encoding import b64, b64_decode
from devstack.browser import Account, ProjectKeyPair, RecoveryKey, unwrap, wrap
from tests.contract.environments import python_of
from tests.contract.releases import CLIENTS
from tests.frontend.vault_build import Build, node

ORGANIZATION, PROJECT = uuid.uuid4(), uuid.uuid4()
TEXTS = ["x", "sk-proj-0123456789", "clé 🔑 ключ 鍵", "\ufeffmark", "\0", "é" * 4096, "a" * 8192]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return Build.into(tmp_path_factory.mktemp("vault"))


@pytest.mark.parametrize(("name", "least"), [("vault", 45), ("oracles", 7), ("properties", 8), ("seals", 6)])
def test_own_tests(build: Build, name: str, least: int) -> None:
    report = node("--test", "--test-reporter=tap", str(build.folder / f"{name}.test.cjs"))
    passed = re.search(r"^# pass (\d+)$", report, re.MULTILINE)
    assert passed
    assert int(passed[1]) >= least
    assert "# skipped 0\n# todo 0\n" in report


def person(account: Account) -> list[Any]:
    return [str(account.vault_id), account.account_key_version, account.seed.hex()]


def place(key: ProjectKeyPair, generation: int = 1) -> list[Any]:
    return [str(ORGANIZATION), str(PROJECT), generation, key.public.hex()]


def test_wraps_open_on_the_other_side(build: Build) -> None:
    key, context = bytes(range(32)), b"any context"
    plaintexts = [bytes(size) for size in (0, 1, 32, 8192)] + [text.encode() for text in TEXTS]
    made = build.ask(*(["wrap", key.hex(), context.hex(), plaintext.hex()] for plaintext in plaintexts))
    assert [unwrap(key, context, envelope) for envelope in made] == plaintexts
    own = [["unwrap", key.hex(), context.hex(), wrap(key, context, plaintext)] for plaintext in plaintexts]
    assert [bytes.fromhex(opened) for opened in build.ask(*own)] == plaintexts


def test_boxes_open_on_the_other_side(build: Build) -> None:
    key = ProjectKeyPair()
    made = build.ask(*(["sealBox", text, b64(key.public)] for text in ["", *TEXTS]))
    assert [key.open(box) for box in made] == ["", *TEXTS]
    assert [len(b64_decode(box)) for box in made[1:]] == [48 + len(text.encode()) for text in TEXTS]
    assert build.ask(*(["openBox", key.seal(text), key.private.hex()] for text in ["", *TEXTS])) == ["", *TEXTS]


def test_grants_open_on_the_other_side(build: Build) -> None:
    alice, bob, key = Account.new(), Account.new(), ProjectKeyPair()
    at = (ORGANIZATION, PROJECT, 3)
    grant, self_grant, signature = build.ask(
        ["grantTo", person(alice), person(bob), place(key, 3), key.private.hex()],
        ["selfGrant", person(alice), place(key, 3), key.private.hex()],
        ["identitySignature", person(alice)],
    )
    assert bob.open_grant_from(alice.public, *at, key.public, grant) == key.private
    assert alice.open_self_grant(*at, key.public, self_grant) == key.private
    assert statements.is_signed(alice.identity, bytes.fromhex(signature), alice.ed25519_public)
    # What the server checks when a browser uploads it.
    assert envelopes.GRANT.fullmatch(grant)
    assert envelopes.WRAPPED_KEY.fullmatch(self_grant)
    context = statements.grant_context(
        *at,
        key.public,
        recipient=bob.vault_id,
        recipient_version=1,
        recipient_x25519_public=bob.x25519_public,
        sender=alice.vault_id,
        sender_version=1,
        sender_ed25519_public=alice.ed25519_public,
    )
    assert envelopes.is_grant_signed(grant, context, alice.ed25519_public)
    assert build.ask(
        ["openGrantFrom", person(bob), person(alice), place(key, 3), alice.grant_to(bob.public, *at, key)],
        ["openSelfGrant", person(alice), place(key, 3), alice.self_grant(*at, key)],
    ) == [key.private.hex(), key.private.hex()]


def test_recovery_keys_read_on_the_other_side(build: Build) -> None:
    own = RecoveryKey()
    made, parsed = build.ask(["recoveryKey"], ["parseRecoveryKey", own.text])
    key = RecoveryKey.parse(made["text"])
    assert (key.secret.hex(), key.key_encryption_key.hex()) == (made["secret"], made["kek"])
    assert parsed == own.secret.hex()


def test_trust_stores_open_on_the_other_side(build: Build) -> None:
    alice, bob, key = Account.new(), Account.new(), ProjectKeyPair()
    [sealed] = build.ask(["sealTrust", person(alice), person(bob), place(key)])
    pins = alice.open_trust_store(sealed["sequence"], sealed["envelope"])
    fingerprint = statements.fingerprint(bob.identity)
    assert pins["users"] == {str(bob.vault_id): {"akv": 1, "fp": fingerprint, "verified": True}}
    assert list(pins["projects"]) == [str(PROJECT)]
    assert list(pins["projects"][str(PROJECT)]) == ["1"]
    own = alice.trust_store(9, pins)
    compared = build.ask(
        ["compareTrust", person(alice), 9, own, person(bob), place(key)],
        ["compareTrust", person(alice), 9, own, [str(bob.vault_id), 1, alice.seed.hex()], place(ProjectKeyPair())],
        ["compareTrust", person(alice), 9, own, person(alice), place(key, 2)],
    )
    assert compared == [["same", "same"], ["changed", "changed"], ["new", "new"]]


ASK_CLIENT = """
import json, sys
from any_llm_platform_client import crypto
key, boxes, text = json.load(sys.stdin)
parts = crypto.parse_any_llm_key(key)
private = crypto.load_private_key(parts.base64_encoded_private_key)
made, _ = crypto.generate_keypair()
print(json.dumps({
    "kid": parts.key_id,
    "encryption_key": crypto.extract_public_key(private),
    "opened": [crypto.decrypt_data(box, private) for box in boxes],
    "box": crypto.encrypt_data(text, private.public_key),
    "key": crypto.format_any_llm_key(made),
    "made_encryption_key": crypto.extract_public_key(made),
}))
"""


@pytest.fixture
def client(tmp_path: Path) -> Callable[[list[Any]], dict[str, Any]]:
    """The newest released client's own functions, in an environment of its own."""
    python = python_of(CLIENTS[-1])

    def ask(question: list[Any]) -> dict[str, Any]:
        command = [str(python), "-I", "-c", ASK_CLIENT]
        result = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    return ask


@pytest.mark.xdist_group(CLIENTS[-1].name)
def test_the_released_client_reads_our_keys_and_boxes(
    build: Build, client: Callable[[list[Any]], dict[str, Any]]
) -> None:
    [key] = build.ask(["generateKey"])
    boxes = build.ask(*(["sealBox", text, key["encryptionKey"]] for text in TEXTS))
    challenge = str(uuid.uuid4())
    boxes += build.ask(["sealBox", challenge, key["encryptionKey"]])
    found = client([key["anyLlmKey"], boxes, TEXTS[2]])
    assert found["opened"] == [*TEXTS, challenge]
    assert found["encryption_key"] == key["encryptionKey"]
    assert found["kid"] == key["anyLlmKey"].split(".")[2]

    # And what it makes, the browser reads: a box, a key, and the challenge that the server seals.
    box = sealed_box.seal(challenge.encode(), b64_decode(key["encryptionKey"]))
    opened, solved, parsed = build.ask(
        ["openBox", found["box"], key["privateKey"]],
        ["openBox", box, key["privateKey"]],
        ["parseKey", found["key"]],
    )
    assert (opened, solved) == (TEXTS[2], challenge)
    assert parsed["anyLlmKey"] == found["key"]
    assert parsed["encryptionKey"] == found["made_encryption_key"]
