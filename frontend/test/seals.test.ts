import assert from "node:assert/strict";
import { test } from "node:test";

import type { GenerationJson, IdentityJson, Keyset } from "../src/keyset";
import { checkSeals, type SealJson, type SealState } from "../src/seals";
import { Account } from "../src/vault/account";
import { b64 } from "../src/vault/encoding";
import { randomBytes, sha256 } from "../src/vault/primitives";
import { ProjectKeyPair } from "../src/vault/project-key";
import * as statements from "../src/vault/statements";
import { TrustStore } from "../src/vault/trust";
import { ALICE, BOB, KEY, PROJECT } from "./cast";
import { newDevice } from "./cases";

const PROVIDER_KEY = { id: "01987a00-0000-7000-8000-000000000001", provider: "openai" };
const BOX = randomBytes(80);

function told(account: Account, changes: Partial<IdentityJson> = {}): IdentityJson {
  return {
    vault_id: account.vaultId,
    akv: account.akv,
    x25519_public_key: b64(account.x25519Public),
    ed25519_public_key: b64(account.ed25519Public),
    identity_signature: b64(account.identitySignature()),
    name: account === ALICE ? "Alice" : "Bob",
    email: "",
    ...changes,
  };
}

function generation(changes: Partial<GenerationJson> = {}): GenerationJson {
  return {
    generation: 1,
    public_key: b64(KEY.publicKey),
    kid: PROJECT.kid,
    status: "active",
    via: "browser",
    created_at: "",
    retire_at: null,
    last_used_at: null,
    previous_public_key: "",
    statement_signature: b64(ALICE.sign(statements.projectKey(KEY))),
    signer: told(ALICE),
    clients: [],
    grant: null,
    ...changes,
  };
}

function keyset(...generations: GenerationJson[]): Keyset {
  const { organization: organization_id, project: project_id } = KEY;
  return { organization_id, project_id, keyset_version: 1, next_generation: 2, generations, base: "/" };
}

function seal(account: Account, changes: Partial<SealJson> = {}, provider = PROVIDER_KEY.provider): SealJson {
  const digest = sha256(BOX);
  return {
    provider_key: PROVIDER_KEY.id,
    generation: 1,
    digest: b64(digest),
    signature: b64(account.sign(statements.providerKeyOf(KEY, provider, digest))),
    signed_by_vault: account.vaultId,
    signed_by_account_key_version: account.akv,
    ...changes,
  };
}

/** As Alice's browser sees it. */
function states(seals: SealJson[], signers: IdentityJson[], pin?: Account, keys = keyset(generation())): SealState[] {
  const trust = TrustStore.load(ALICE, null, newDevice());
  if (pin) trust.pinMember(pin, true);
  return checkSeals(PROVIDER_KEY, seals, signers, keys, trust, ALICE).map(({ state }) => state);
}

const signers = [told(ALICE), told(BOB)];

test("a digest is signed as its box is", () => {
  const box = b64(BOX);
  assert.deepEqual(statements.providerKey(KEY, "openai", box), statements.providerKeyOf(KEY, "openai", sha256(BOX)));
});

test("one's own seal, and those of members", () => {
  assert.deepEqual(states([seal(ALICE)], signers), ["own"]);
  assert.deepEqual(states([seal(BOB)], signers, BOB), ["known"]);
  assert.deepEqual(states([seal(BOB)], signers), ["new"]);
});

test("what was exchanged or moved is broken", () => {
  const others = [
    seal(ALICE, { digest: b64(sha256(randomBytes(80))) }),
    seal(ALICE, {}, "anthropic"),
    seal(BOB, { signed_by_vault: ALICE.vaultId }),
    seal(ALICE, { signature: b64(randomBytes(64)) }),
    seal(ALICE, { signature: "no base64" }),
  ];
  for (const other of others) assert.deepEqual(states([other], signers), ["wrong"]);
});

test("a server that shows other keys for a member is found out", () => {
  const impostor = new Account(BOB.vaultId, 1, randomBytes(32));
  assert.deepEqual(states([seal(impostor)], [told(impostor)], BOB), ["changed"]);
  // In one's own name it is not believed either, pinned or not.
  const self = new Account(ALICE.vaultId, 1, randomBytes(32));
  assert.deepEqual(states([seal(self)], [told(self)]), ["changed"]);
  // An identity that did not sign itself is none.
  const forged = told(BOB, { identity_signature: b64(randomBytes(64)) });
  assert.deepEqual(states([seal(BOB)], [forged], BOB), ["wrong"]);
});

test("what can't be checked is said to be so", () => {
  assert.deepEqual(states([seal(BOB)], [told(ALICE)]), ["gone"]);
  assert.deepEqual(states([seal(BOB, { signed_by_account_key_version: 2 })], signers, BOB), ["gone"]);
  const unsigned = seal(ALICE, { signature: "", signed_by_vault: null, signed_by_account_key_version: null });
  assert.deepEqual(states([unsigned], signers), ["unsigned"]);
});

test("each live key wants its box, and a false key makes every seal worthless", () => {
  const second = ProjectKeyPair.generate();
  const next = { ...KEY, generation: 2, publicKey: second.publicKey };
  const head = generation({
    generation: 2,
    public_key: second.encryptionKey,
    statement_signature: b64(ALICE.sign(statements.projectKey(next))),
  });
  // The worst comes first.
  assert.deepEqual(states([seal(ALICE)], signers, undefined, keyset(head, generation({ status: "retiring" }))), [
    "missing",
    "own",
  ]);
  const exchanged = generation({ public_key: second.encryptionKey });
  assert.deepEqual(states([seal(ALICE)], signers, undefined, keyset(exchanged)), ["wrong"]);
});
