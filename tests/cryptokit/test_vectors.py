"""The protocol's fixed vectors: each format byte for byte, and what must be refused."""

import hashlib
import hmac
import json
import uuid
from pathlib import Path
from typing import Any

import nacl.bindings
import pytest

from cryptokit import sealed_box, statements
from cryptokit.encoding import b64, b64_decode, b64u_decode, ctx
from cryptokit.public_keys import InvalidPublicKeyError, admit_public_key
from devstack.browser import Account, PasswordKeys, ProjectKeyPair, WrapError, derive, hkdf, unwrap, wrap

V: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))
IDS = {name: uuid.UUID(value) for name, value in V["ids"].items()}
ALICE = Account(IDS["alice"], bytes.fromhex(V["accounts"]["alice_seed"]))
BOB = Account(IDS["bob"], bytes.fromhex(V["accounts"]["bob_seed"]))
PROJECT = ProjectKeyPair(bytes.fromhex(V["project"]["sk_hex"]), V["project"]["kid"])


def unhex(*path: str) -> bytes:
    value = V
    for name in path:
        value = value[name]
    return bytes.fromhex(value)  # type: ignore[arg-type]


def test_password_derivation() -> None:
    keys = PasswordKeys.from_password(V["kdf"]["password"], unhex("kdf", "salt_hex"))
    assert keys.auth_secret == V["kdf"]["auth_secret"]
    assert keys.key_encryption_key == unhex("kdf", "kek_password_hex")


def test_prelogin_salt_of_an_unknown_address() -> None:
    salt = hmac.new(unhex("kdf", "prelogin_key_hex"), ctx("prelogin-salt", V["kdf"]["email"]), hashlib.sha256)
    assert salt.digest()[:16] == unhex("kdf", "salt_hex")


@pytest.mark.parametrize(("name", "account"), [("alice", ALICE), ("bob", BOB)])
def test_account_keys(name: str, account: Account) -> None:
    assert derive(account.seed, "account/x25519") == unhex("accounts", name, "x25519_sk")
    assert account.x25519_public == unhex("accounts", name, "x25519_pk")
    assert derive(account.seed, "account/ed25519") == unhex("accounts", name, "ed25519_seed")
    assert account.ed25519_public == unhex("accounts", name, "ed25519_pk")
    assert derive(account.seed, "account/symmetric") == unhex("accounts", name, "symmetric")


def test_identity_statement_fingerprint_and_signature() -> None:
    assert ALICE.identity == unhex("identity", "statement_hex")
    assert statements.fingerprint(ALICE.identity) == V["identity"]["fingerprint"]
    assert ALICE.sign(ALICE.identity) == unhex("identity", "self_signature_hex")
    assert statements.is_signed(ALICE.identity, ALICE.sign(ALICE.identity), ALICE.ed25519_public)


def test_wrap() -> None:
    context = ALICE.unlock_context(IDS["unlock"], "password", "a1", unhex("kdf", "salt_hex"))
    assert context == unhex("wrap", "context_hex")
    key = unhex("kdf", "kek_password_hex")
    assert wrap(key, context, ALICE.seed, nonce=unhex("wrap", "nonce_hex")) == V["wrap"]["envelope"]
    assert unwrap(key, context, V["wrap"]["envelope"]) == ALICE.seed


def test_self_grant() -> None:
    context = ctx("self-grant", IDS["org"], IDS["project"], 1, PROJECT.public, ALICE.vault_id, 1)
    assert context == unhex("self_grant", "context_hex")
    key = derive(ALICE.seed, "account/symmetric")
    envelope = wrap(key, context, PROJECT.private, nonce=unhex("self_grant", "nonce_hex"))
    assert envelope == V["self_grant"]["envelope"]
    made = ALICE.self_grant(IDS["org"], IDS["project"], 1, PROJECT)
    assert unwrap(key, context, made) == PROJECT.private


def test_project_key() -> None:
    assert PROJECT.public == unhex("project", "pk_hex")
    assert b64(PROJECT.public) == V["project"]["encryption_key"]
    assert PROJECT.any_llm_key == V["project"]["any_llm_key"]


def test_sealed_box() -> None:
    box = V["sealed_box"]
    sealed = sealed_box.seal(
        box["plaintext"].encode(), PROJECT.public, ephemeral_key=bytes.fromhex(box["ephemeral_sk_hex"])
    )
    assert sealed == box["box_b64"]
    assert PROJECT.open(sealed) == box["plaintext"]


def test_challenge() -> None:
    vector = V["challenge"]
    sealed = sealed_box.seal(
        vector["uuid"].encode(), PROJECT.public, ephemeral_key=bytes.fromhex(vector["ephemeral_sk_hex"])
    )
    assert sealed == vector["encrypted_challenge"]
    assert hashlib.sha256(vector["uuid"].encode()).hexdigest() == vector["stored_hash_hex"]


def test_statements() -> None:
    box = b64_decode(V["sealed_box"]["box_b64"])
    of_provider = statements.provider_key(IDS["project"], 1, PROJECT.public, "openai", box)
    assert of_provider == unhex("provider_key_statement", "statement_hex")
    assert ALICE.sign(of_provider) == unhex("provider_key_statement", "signature_hex")
    of_project = statements.project_key(IDS["org"], IDS["project"], 1, PROJECT.public)
    assert of_project == unhex("project_key_statement", "statement_hex")
    assert ALICE.sign(of_project) == unhex("project_key_statement", "signature_hex")
    update = statements.unlock_update(ALICE.vault_id, 1, IDS["unlock"], "password", V["wrap"]["envelope"])
    assert update == unhex("unlock_update", "statement_hex")
    assert ALICE.sign(update) == unhex("unlock_update", "signature_hex")


def test_unlock_cache_key() -> None:
    cache = V["unlock_cache"]
    label = b"any-llm-platform/v1/unlock-cache"
    key = hkdf(bytes.fromhex(cache["local_hex"]), label, salt=bytes.fromhex(cache["share_hex"]))
    assert key == bytes.fromhex(cache["key_hex"])
    envelope = wrap(key, unhex("unlock_cache", "context_hex"), ALICE.seed, nonce=unhex("unlock_cache", "nonce_hex"))
    assert envelope == cache["envelope"]


def other_contexts() -> dict[str, tuple[bytes, bytes]]:
    """What an envelope must not open under: name → (key, context)."""
    key, salt = unhex("kdf", "kek_password_hex"), unhex("kdf", "salt_hex")
    right = unhex("wrap", "context_hex")
    return {
        "other user": (key, BOB.unlock_context(IDS["unlock"], "password", "a1", salt)),
        "other account key version": (
            key,
            Account(ALICE.vault_id, ALICE.seed, 2).unlock_context(IDS["unlock"], "password", "a1", salt),
        ),
        "other unlock method": (key, ALICE.unlock_context(IDS["project"], "password", "a1", salt)),
        "other kind": (key, ALICE.unlock_context(IDS["unlock"], "recovery", "a1", salt)),
        "other derivation": (key, ALICE.unlock_context(IDS["unlock"], "password", "a2", salt)),
        "other salt": (key, ALICE.unlock_context(IDS["unlock"], "password", "a1", bytes(16))),
        "other key": (bytes(32), right),
        "a self-grant's context": (key, unhex("self_grant", "context_hex")),
    }


@pytest.mark.parametrize("case", other_contexts())
def test_a_wrap_opens_under_its_own_key_and_context_only(case: str) -> None:
    key, context = other_contexts()[case]
    with pytest.raises(WrapError):
        unwrap(key, context, V["wrap"]["envelope"])


def test_every_altered_byte_of_a_wrap_is_noticed() -> None:
    key, context = unhex("kdf", "kek_password_hex"), unhex("wrap", "context_hex")
    envelope = V["wrap"]["envelope"]
    for position in range(3, len(envelope)):
        other = "A" if envelope[position] != "A" else "B"
        with pytest.raises(WrapError):
            unwrap(key, context, envelope[:position] + other + envelope[position + 1 :])
    for malformed in ("", "W1.", envelope[:90], "W2." + envelope[3:], envelope + "=", envelope + "A"):
        with pytest.raises(WrapError):
            unwrap(key, context, malformed)


def test_every_altered_byte_of_a_box_is_noticed() -> None:
    raw = b64_decode(V["sealed_box"]["box_b64"])
    for position in range(len(raw)):
        altered = bytearray(raw)
        altered[position] ^= 1
        with pytest.raises(WrapError):
            PROJECT.open(b64(bytes(altered)))


LOW_ORDER = [
    bytes(32),
    bytes([1]) + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
]


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
def test_a_box_or_key_at_a_low_order_point_is_refused(point: bytes) -> None:
    with pytest.raises(InvalidPublicKeyError):
        admit_public_key(b64(point))
    with pytest.raises(WrapError):
        PROJECT.open(b64(point + bytes(20)))


def test_public_keys_have_one_spelling() -> None:
    assert admit_public_key(b64(PROJECT.public)) == PROJECT.public
    high_bit = PROJECT.public[:31] + bytes([PROJECT.public[31] | 0x80])
    assert nacl.bindings.crypto_scalarmult(bytes(range(32)), high_bit) == nacl.bindings.crypto_scalarmult(
        bytes(range(32)), PROJECT.public
    )
    above_prime = (2**255 - 19 + 9).to_bytes(32, "little")
    for wrong in (
        b64(high_bit),
        b64(above_prime),
        b64(PROJECT.public)[:-1],
        b64(PROJECT.public) + "\n",
        b64(PROJECT.public).replace("+", "-").replace("/", "_"),
        b64(PROJECT.public[:31]),
        b64(PROJECT.public + b"\0"),
        "",
        "\0" * 44,
        "é" * 44,
    ):
        with pytest.raises(InvalidPublicKeyError):
            admit_public_key(wrong)


def test_context_encoding_is_injective() -> None:
    assert ctx("x", "ab", "c") != ctx("x", "a", "bc")
    assert ctx("x", "a") != ctx("x", "a", "")
    assert ctx("xa") != ctx("x", "a")


def test_base64_is_strict() -> None:
    for text in ("AA", "AA=", "AB==", "A A=", "AA==\n", "-_8="):
        with pytest.raises(ValueError, match="base64"):
            b64_decode(text)
    for text in ("AB", "AA==", "A+", "A"):
        with pytest.raises(ValueError, match=r"base64|encoded"):
            b64u_decode(text)


def test_a_signature_is_by_one_key_over_one_statement() -> None:
    signature = ALICE.sign(ALICE.identity)
    assert not statements.is_signed(ALICE.identity, signature, BOB.ed25519_public)
    assert not statements.is_signed(BOB.identity, signature, ALICE.ed25519_public)
    assert not statements.is_signed(ALICE.identity, signature[:-1], ALICE.ed25519_public)
    assert not statements.is_signed(ALICE.identity, bytes(64), ALICE.ed25519_public)
