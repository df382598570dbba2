/** The same vectors and random inputs, computed by libsodium and by WebCrypto. */

import assert from "node:assert/strict";
import { before, test } from "node:test";

import sodium from "libsodium-wrappers-sumo";

import { ctx, hex, unhex, utf8 } from "../src/vault/encoding";
import * as ours from "../src/vault/primitives";
import { openBox, sealBox } from "../src/vault/sealed-box";
import { ALICE, POINTS_OF_LOW_ORDER, PROJECT, V } from "./cast";

before(() => sodium.ready);

const SIZES = [0, 1, 15, 16, 17, 63, 64, 65, 1000, 8192];

test("libsodium derives the vectors' master key", () => {
  const password = utf8(V.kdf.password.normalize("NFKC"));
  const { crypto_pwhash, crypto_pwhash_ALG_ARGON2ID13: algorithm } = sodium;
  const master = crypto_pwhash(32, password, unhex(V.kdf.salt_hex), 3, 65_536 * 1024, algorithm);
  assert.equal(hex(master), V.kdf.master_key_hex);
});

test("libsodium opens the vectors' wrap, grant and box", () => {
  const open = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt;
  const body = sodium.from_base64(V.wrap.envelope.slice(3), sodium.base64_variants.URLSAFE_NO_PADDING);
  const context = unhex(V.wrap.context_hex);
  const nonce = body.subarray(0, 24);
  const keys = ours.hkdf(unhex(V.kdf.kek_password_hex), nonce, ctx("W1", context), 64);
  assert.deepEqual(keys.subarray(32), new Uint8Array(body.subarray(24, 56)));
  assert.equal(hex(open(null, body.subarray(56), context, nonce, keys.subarray(0, 32))), V.wrap.plaintext_hex);

  const box = sodium.from_base64(V.sealed_box.box_b64, sodium.base64_variants.ORIGINAL);
  const ephemeral = box.subarray(0, 32);
  const shared = sodium.crypto_scalarmult(PROJECT.privateKey, ephemeral);
  const hash = sodium.crypto_hash_sha512(new Uint8Array([...ephemeral, ...PROJECT.publicKey]));
  const opened = open(null, box.subarray(32), null, hash.subarray(0, 24), shared);
  assert.equal(sodium.to_string(opened), V.sealed_box.plaintext);

  const grant = sodium.from_base64(V.grant.envelope.slice(3), sodium.base64_variants.URLSAFE_NO_PADDING);
  const statement = ctx("G1-sig", unhex(V.grant.context_hex), sodium.crypto_hash_sha256(grant.subarray(0, 112)));
  assert.ok(sodium.crypto_sign_verify_detached(grant.subarray(112), statement, ALICE.ed25519Public));
});

test("libsodium signs as we do, and each takes the other's signatures", () => {
  for (const size of SIZES) {
    const [seed, message] = [ours.randomBytes(32), ours.randomBytes(size)];
    const pair = sodium.crypto_sign_seed_keypair(seed);
    assert.deepEqual(ours.ed25519Public(seed), new Uint8Array(pair.publicKey));
    const signature = ours.ed25519Sign(seed, message);
    assert.deepEqual(signature, new Uint8Array(sodium.crypto_sign_detached(message, pair.privateKey)));
    assert.ok(sodium.crypto_sign_verify_detached(signature, message, pair.publicKey));
    assert.ok(ours.ed25519Verify(pair.publicKey, message, signature));
  }
});

test("libsodium and we encrypt alike", () => {
  for (const size of SIZES) {
    const [key, nonce, plaintext, data] = [32, 24, size, size % 77].map(ours.randomBytes);
    const sealed = ours.aeadSeal(key!, nonce!, plaintext!, data);
    const theirs = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext!, data!, null, nonce!, key!);
    assert.deepEqual(sealed, new Uint8Array(theirs));
    assert.deepEqual(ours.aeadOpen(key!, nonce!, theirs, data), plaintext);
  }
});

test("libsodium, WebCrypto and we agree on shared secrets", async () => {
  for (let round = 0; round < 20; round++) {
    const [mine, yours] = [ours.randomBytes(32), ours.x25519Public(ours.randomBytes(32))];
    const shared = ours.x25519(mine, yours);
    assert.deepEqual(shared, new Uint8Array(sodium.crypto_scalarmult(mine, yours)));
    assert.deepEqual(ours.x25519Public(mine), new Uint8Array(sodium.crypto_scalarmult_base(mine)));
    assert.deepEqual(shared, await sharedByWebCrypto(mine, yours));
  }
  for (const point of POINTS_OF_LOW_ORDER) {
    assert.throws(() => sodium.crypto_scalarmult(PROJECT.privateKey, point));
    await assert.rejects(sharedByWebCrypto(PROJECT.privateKey, point));
  }
});

test("WebCrypto derives keys as we do", async () => {
  for (const size of SIZES) {
    const [key, salt, info] = [ours.randomBytes(32), ours.randomBytes(size), ours.randomBytes(size % 100)];
    const imported = await crypto.subtle.importKey("raw", key, "HKDF", false, ["deriveBits"]);
    const bits = await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, imported, 88 * 8);
    assert.deepEqual(ours.hkdf(key, salt, info, 88), new Uint8Array(bits));
  }
  const { local_hex, share_hex, key_hex } = V.unlock_cache;
  const local = await crypto.subtle.importKey("raw", unhex(local_hex), "HKDF", false, ["deriveBits"]);
  const info = utf8("any-llm-platform/v1/unlock-cache");
  const bits = await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt: unhex(share_hex), info }, local, 256);
  assert.equal(hex(new Uint8Array(bits)), key_hex);
});

test("a box sealed to WebCrypto's key opens", async () => {
  const privateKey = ours.randomBytes(32);
  const box = sealBox("clé 🔑", ours.x25519Public(privateKey));
  assert.equal(openBox(box, privateKey), "clé 🔑");
});

/** X25519 in WebCrypto, which reads private keys in PKCS #8 only (RFC 8410). */
async function sharedByWebCrypto(privateKey: Uint8Array, publicKey: Uint8Array): Promise<Uint8Array> {
  const pkcs8 = new Uint8Array([...unhex("302e020100300506032b656e04220420"), ...privateKey]);
  const mine = await crypto.subtle.importKey("pkcs8", pkcs8, "X25519", false, ["deriveBits"]);
  const yours = await crypto.subtle.importKey("raw", new Uint8Array(publicKey), "X25519", true, []);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "X25519", public: yours }, mine, 256));
}
