import assert from "node:assert/strict";
import { test } from "node:test";

import { argon2id } from "@noble/hashes/argon2.js";
import { argon2id as argon2idInWasm } from "hash-wasm";

import { Account } from "../src/vault/account";
import { b64u, hex, unhex, utf8 } from "../src/vault/encoding";
import { checkPassword, CURRENT_KDF, KDF } from "../src/vault/kdf";
import { randomBytes } from "../src/vault/primitives";
import { ProjectKeyPair } from "../src/vault/project-key";
import * as recovery from "../src/vault/recovery";
import { TrustStore } from "../src/vault/trust";
import { ALICE, BOB, KEY, V } from "./cast";
import { CASES, newDevice } from "./cases";

for (const [name, run] of CASES) test(name, run);

test("Argon2id: RFC 9106, 5.3", () => {
  const filled = (byte: number, length: number) => new Uint8Array(length).fill(byte);
  const options = { m: 32, t: 3, p: 4, dkLen: 32, key: filled(3, 8), personalization: filled(4, 12) };
  const tag = "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659";
  assert.equal(hex(argon2id(filled(1, 32), filled(2, 16), options)), tag);
});

test("both implementations derive the vectors' master key", async () => {
  const { memoryKib, passes, lanes } = KDF.a1!;
  const password = utf8(V.kdf.password.normalize("NFKC"));
  const salt = unhex(V.kdf.salt_hex);
  assert.equal(hex(argon2id(password, salt, { m: memoryKib, t: passes, p: lanes, dkLen: 32 })), V.kdf.master_key_hex);
  const options = { password, salt, memorySize: memoryKib, iterations: passes, parallelism: lanes, hashLength: 32 };
  assert.equal(await argon2idInWasm({ ...options, outputType: "hex" }), V.kdf.master_key_hex);
});

test("both implementations agree on anything", async () => {
  for (let round = 0; round < 25; round++) {
    const [password, salt] = [randomBytes(1 + round * 7), randomBytes(16)];
    const [m, t] = [8 + round * 5, 1 + (round % 3)];
    const options = { password, salt, memorySize: m, iterations: t, parallelism: 1, hashLength: 32 };
    const inWasm = await argon2idInWasm({ ...options, outputType: "binary" });
    assert.deepEqual([...inWasm], [...argon2id(password, salt, { m, t, p: 1, dkLen: 32 })]);
  }
});

test("derivations are frozen", () => {
  assert.deepEqual(KDF, { a1: { memoryKib: 65_536, passes: 3, lanes: 1 } });
  assert.ok(Object.isFrozen(KDF) && Object.isFrozen(KDF.a1));
  assert.equal(CURRENT_KDF, "a1");
});

test("passwords: at least 12 characters and at most 1024 bytes, as they are hashed", () => {
  assert.equal(checkPassword("correct hors"), null);
  assert.equal(checkPassword("🔑".repeat(12)), null);
  assert.match(checkPassword("🔑".repeat(11))!, /at least 12/);
  assert.match(checkPassword("e\u0301".repeat(11))!, /at least 12/); // 11 characters once composed
  assert.equal(checkPassword("ﬃ".repeat(4)), null); // 12 once taken apart
  assert.equal(checkPassword("x".repeat(1024)), null);
  assert.match(checkPassword("x".repeat(1025))!, /too long/);
  assert.match(checkPassword("é".repeat(513))!, /too long/);
  assert.match(checkPassword(`correct horse ${"\ud83d"}`)!, /can't be typed/);
  assert.equal(checkPassword(" ".repeat(12)), null); // nothing is trimmed
});

test("what is made anew differs every time, and round trips", () => {
  const [one, other] = [Account.create(), Account.create()];
  assert.notEqual(one.vaultId, other.vaultId);
  assert.notDeepEqual(one.seed, other.seed);
  assert.equal(one.akv, 1);
  assert.equal(Account.create(one.vaultId, 2).vaultId, one.vaultId);
  const pair = ProjectKeyPair.generate();
  assert.deepEqual(ProjectKeyPair.parse(pair.anyLlmKey), pair);
  assert.notEqual(pair.kid, ProjectKeyPair.generate().kid);
  const secret = recovery.generate();
  assert.deepEqual(recovery.parse(recovery.format(secret)), secret);
  assert.notEqual(pair.seal("secret"), pair.seal("secret"));
  assert.notEqual(one.selfGrant(KEY, pair.privateKey), one.selfGrant(KEY, pair.privateKey));
});

test("trust store: pins survive, changes are seen", () => {
  const device = newDevice();
  const store = TrustStore.load(ALICE, null, device);
  assert.equal(store.isRolledBack, false);
  assert.equal(store.compareMember(BOB), "new");
  assert.equal(store.compareProject(KEY), "new");
  store.pinMember(BOB, false);
  store.pinProject(KEY);
  const sealed = store.seal();
  assert.equal(sealed.sequence, 1);
  store.remember(sealed);

  const again = TrustStore.load(ALICE, sealed, newDevice());
  assert.equal(again.compareMember(BOB), "same");
  assert.equal(again.compareProject(KEY), "same");
  assert.deepEqual(again.member(BOB.vaultId), { akv: 1, fp: BOB.fingerprint, verified: false });
  assert.equal(again.compareMember(new Account(BOB.vaultId, 1, randomBytes(32))), "changed");
  assert.equal(again.compareMember(new Account(BOB.vaultId, 2, BOB.seed)), "changed");
  assert.equal(again.compareProject({ ...KEY, publicKey: BOB.x25519Public }), "changed");
  assert.equal(again.compareProject({ ...KEY, generation: 2 }), "new");
  again.pinMember(BOB, true);
  assert.equal(again.member(BOB.vaultId)?.verified, true);
  again.unpinMember(BOB.vaultId);
  again.unpinProject(KEY.project);
  assert.equal(again.compareMember(BOB), "new");
  assert.equal(again.compareProject(KEY), "new");
});

test("trust store: numbers grow, an older store is reported", () => {
  const device = newDevice();
  const store = TrustStore.load(ALICE, null, device);
  const first = store.seal();
  store.remember(first);
  const second = store.seal();
  store.remember(second);
  assert.deepEqual([first.sequence, second.sequence], [1, 2]);
  assert.equal(TrustStore.load(ALICE, second, device).isRolledBack, false);
  const old = TrustStore.load(ALICE, first, device);
  assert.equal(old.isRolledBack, true);
  assert.equal(old.seal().sequence, 3); // what follows is above all that was seen
  assert.equal(TrustStore.load(ALICE, null, device).isRolledBack, true);
  assert.equal(TrustStore.load(BOB, null, device).isRolledBack, false);
  const elsewhere = newDevice(); // another device that saw nothing takes the number from the store
  assert.equal(TrustStore.load(ALICE, second, elsewhere).seal().sequence, 3);
});

test("base64 of our own has no padding and no characters that addresses escape", () => {
  assert.equal(b64u(Uint8Array.of(0xfb, 0xff, 0xfe, 0xff)), "-__-_w");
});
