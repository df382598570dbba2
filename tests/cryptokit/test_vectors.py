"""The protocol's fixed vectors: each format byte for byte, and what must be refused."""

import hashlib
import hmac
import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nacl.bindings
import pytest

from cryptokit import envelopes, sealed_box, statements
from cryptokit.encoding import b64, b64_decode, b64u_decode, ctx
from cryptokit.public_keys import InvalidPublicKeyError, admit_public_key
from devstack.browser import (
    Account,
    Identity,
    PasswordKeys,
    ProjectKeyPair,
    RecoveryKey,
    WrapError,
    derive,
    hkdf,
    open_grant,
    seal_grant,
    unwrap,
    wrap,
)

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


def grant_context(
    *,
    organization: uuid.UUID = IDS["org"],
    project: uuid.UUID = IDS["project"],
    generation: int = 1,
    project_public: bytes = PROJECT.public,
    recipient: Identity = BOB.public,
    sender: Identity = ALICE.public,
) -> bytes:
    return statements.grant_context(
        organization,
        project,
        generation,
        project_public,
        recipient=recipient.vault_id,
        recipient_version=recipient.account_key_version,
        recipient_x25519_public=recipient.x25519_public,
        sender=sender.vault_id,
        sender_version=sender.account_key_version,
        sender_ed25519_public=sender.ed25519_public,
    )


def test_grant() -> None:
    context = grant_context()
    assert context == unhex("grant", "context_hex")
    ephemeral = unhex("grant", "ephemeral_sk_hex")
    envelope = seal_grant(context, BOB.x25519_public, ALICE, PROJECT.private, ephemeral=ephemeral)
    assert envelope == V["grant"]["envelope"]
    assert envelopes.GRANT.fullmatch(envelope)
    assert envelopes.is_grant_signed(envelope, context, ALICE.ed25519_public)
    place = (IDS["org"], IDS["project"], 1)
    assert BOB.open_grant_from(ALICE.public, *place, PROJECT.public, envelope) == PROJECT.private
    again = ALICE.grant_to(BOB.public, *place, PROJECT)
    assert BOB.open_grant_from(ALICE.public, *place, PROJECT.public, again) == PROJECT.private
    with pytest.raises(WrapError):
        ALICE.open_grant_from(ALICE.public, *place, PROJECT.public, again)


OTHER_GRANTS = {
    "organization": grant_context(organization=IDS["unlock"]),
    "project": grant_context(project=IDS["org"]),
    "generation": grant_context(generation=2),
    "project key": grant_context(project_public=ALICE.x25519_public),
    "recipient": grant_context(recipient=replace(BOB.public, vault_id=IDS["alice"])),
    "recipient version": grant_context(recipient=replace(BOB.public, account_key_version=2)),
    "recipient key": grant_context(recipient=replace(BOB.public, x25519_public=ALICE.x25519_public)),
    "sender": grant_context(sender=replace(ALICE.public, vault_id=IDS["bob"])),
    "sender version": grant_context(sender=replace(ALICE.public, account_key_version=2)),
    "sender key": grant_context(sender=replace(ALICE.public, ed25519_public=BOB.ed25519_public)),
}


@pytest.mark.parametrize("field", OTHER_GRANTS)
def test_a_grant_is_bound_to_every_field_of_its_context(field: str) -> None:
    envelope, other = V["grant"]["envelope"], OTHER_GRANTS[field]
    assert not envelopes.is_grant_signed(envelope, other, ALICE.ed25519_public)
    with pytest.raises(WrapError):
        open_grant(other, ALICE.ed25519_public, BOB, PROJECT.public, envelope)


def test_every_altered_byte_of_a_grant_is_noticed() -> None:
    context, envelope = grant_context(), V["grant"]["envelope"]
    for position in range(3, len(envelope)):
        altered = envelope[:position] + ("A" if envelope[position] != "A" else "B") + envelope[position + 1 :]
        assert not envelopes.is_grant_signed(altered, context, ALICE.ed25519_public)
    for malformed in (
        "",
        "G1.",
        envelope[:-1],
        envelope + "A",
        envelope + "\n",
        "W1." + envelope[3:],
        "G1." + "é" * 235,
    ):
        assert not envelopes.is_grant_signed(malformed, context, ALICE.ed25519_public)
    for key in (BOB.ed25519_public, bytes(32), b""):
        assert not envelopes.is_grant_signed(envelope, context, key)


def test_a_grant_that_its_sender_signed_must_hold_the_projects_key() -> None:
    """A server's forgery has no signature; a member's has one, but no member can make another key fit."""
    context = grant_context()
    forged = seal_grant(context, BOB.x25519_public, BOB, PROJECT.private)
    assert not envelopes.is_grant_signed(forged, context, ALICE.ed25519_public)
    other = seal_grant(context, BOB.x25519_public, ALICE, bytes(range(32)))
    assert envelopes.is_grant_signed(other, context, ALICE.ed25519_public)
    with pytest.raises(WrapError):
        open_grant(context, ALICE.ed25519_public, BOB, PROJECT.public, other)


def test_recovery_key() -> None:
    key = RecoveryKey(unhex("recovery", "code_bytes_hex"))
    assert key.text == V["recovery"]["text"]
    assert key.key_encryption_key == unhex("recovery", "kek_hex")
    typed = " rkl " + key.text[4:].lower().replace("-", " ").replace("0", "o").replace("1", "i") + "\n"
    assert RecoveryKey.parse(typed).secret == key.secret
    made = RecoveryKey()
    assert RecoveryKey.parse(made.text).secret == made.secret


MISTYPED: dict[str, Callable[[str], str]] = {
    "another check character": lambda text: text[:-1] + "0",
    "another character": lambda text: text.replace("2491", "2492"),
    "swapped groups": lambda text: text.replace("2491-650N", "650N-2491"),
    "too short": lambda text: text[:-1],
    "too long": lambda text: text + "0",
    "no prefix": lambda text: text[4:],
    "a letter that is not in the alphabet": lambda text: text.replace("8", "U"),
}


@pytest.mark.parametrize("mistake", MISTYPED)
def test_a_mistyped_recovery_key_is_refused(mistake: str) -> None:
    with pytest.raises(ValueError, match="recovery key"):
        RecoveryKey.parse(MISTYPED[mistake](V["recovery"]["text"]))


def test_trust_store() -> None:
    vector = V["trust_store"]
    context = ctx("trust-store", ALICE.vault_id, 1, 7)
    assert context == bytes.fromhex(vector["context_hex"])
    key = derive(ALICE.seed, "account/symmetric")
    assert (
        wrap(key, context, vector["plaintext"].encode(), nonce=bytes.fromhex(vector["nonce_hex"])) == vector["envelope"]
    )
    assert ALICE.open_trust_store(7, vector["envelope"]) == {"users": {}, "projects": {}}
    with pytest.raises(WrapError):
        ALICE.open_trust_store(6, vector["envelope"])
    assert ALICE.open_trust_store(8, ALICE.trust_store(8, {"users": {"é": 1}})) == {"users": {"é": 1}}


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
