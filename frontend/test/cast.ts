/** The people and the project of the protocol's vectors. */

import vectors from "../../tests/cryptokit/vectors.json";
import { Account } from "../src/vault/account";
import { unhex } from "../src/vault/encoding";
import { ProjectKeyPair } from "../src/vault/project-key";
import type { KeyGeneration, UnlockMethod } from "../src/vault/statements";

export const V = vectors;
export const ALICE = new Account(V.ids.alice, 1, unhex(V.accounts.alice_seed));
export const BOB = new Account(V.ids.bob, 1, unhex(V.accounts.bob_seed));
export const PROJECT = new ProjectKeyPair(unhex(V.project.sk_hex), V.project.kid);
export const KEY: KeyGeneration = {
  organization: V.ids.org,
  project: V.ids.project,
  generation: 1,
  publicKey: PROJECT.publicKey,
};
export const KEK = unhex(V.kdf.kek_password_hex);
export const METHOD: UnlockMethod = { id: V.ids.unlock, type: "password", kdf: "a1", input: unhex(V.kdf.salt_hex) };
export const POINTS_OF_LOW_ORDER = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
].map(unhex);
