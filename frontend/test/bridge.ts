/** Lets Python ask: a list of [function, argument…] as JSON on standard input, the answers on standard output. */

import { readFileSync } from "node:fs";

import { Account } from "../src/vault/account";
import { b64, b64Decode, hex, unhex, utf8, utf8Decode } from "../src/vault/encoding";
import { unwrap, wrap } from "../src/vault/envelopes";
import { ProjectKeyPair } from "../src/vault/project-key";
import * as recovery from "../src/vault/recovery";
import { openBox, sealBox } from "../src/vault/sealed-box";
import type { KeyGeneration } from "../src/vault/statements";
import { TrustStore } from "../src/vault/trust";
import { newDevice } from "./cases";

type Person = [vaultId: string, akv: number, seed: string];
type Place = [organization: string, project: string, generation: number, publicKey: string];

const account = ([vaultId, akv, seed]: Person) => new Account(vaultId, akv, unhex(seed));
const place = ([organization, project, generation, publicKey]: Place): KeyGeneration => ({
  organization,
  project,
  generation,
  publicKey: unhex(publicKey),
});

const FUNCTIONS = {
  wrap: (key: string, context: string, plaintext: string) => wrap(unhex(key), unhex(context), unhex(plaintext)),
  unwrap: (key: string, context: string, envelope: string) => hex(unwrap(unhex(key), unhex(context), envelope)),
  sealBox: (plaintext: string, publicKey: string) => sealBox(plaintext, b64Decode(publicKey)),
  openBox: (box: string, privateKey: string) => openBox(box, unhex(privateKey)),
  generateKey: () => {
    const pair = ProjectKeyPair.generate();
    return { anyLlmKey: pair.anyLlmKey, privateKey: hex(pair.privateKey), encryptionKey: b64(pair.publicKey) };
  },
  parseKey: (anyLlmKey: string) => {
    const pair = ProjectKeyPair.parse(anyLlmKey);
    return { anyLlmKey: pair.anyLlmKey, privateKey: hex(pair.privateKey), encryptionKey: b64(pair.publicKey) };
  },
  selfGrant: (of: Person, at: Place, projectPrivate: string) => account(of).selfGrant(place(at), unhex(projectPrivate)),
  openSelfGrant: (of: Person, at: Place, envelope: string) => hex(account(of).openSelfGrant(place(at), envelope)),
  grantTo: (from: Person, to: Person, at: Place, projectPrivate: string) =>
    account(from).grantTo(account(to), place(at), unhex(projectPrivate)),
  openGrantFrom: (to: Person, from: Person, at: Place, envelope: string) =>
    hex(account(to).openGrantFrom(account(from), place(at), envelope)),
  identitySignature: (of: Person) => hex(account(of).identitySignature()),
  recoveryKey: () => {
    const secret = recovery.generate();
    return { secret: hex(secret), text: recovery.format(secret), kek: hex(recovery.kek(secret)) };
  },
  parseRecoveryKey: (text: string) => hex(recovery.parse(text)),
  sealTrust: (of: Person, pinned: Person, at: Place) => {
    const store = TrustStore.load(account(of), null, newDevice());
    store.pinMember(account(pinned), true);
    store.pinProject(place(at));
    return store.seal();
  },
  compareTrust: (of: Person, sequence: number, envelope: string, other: Person, at: Place) => {
    const store = TrustStore.load(account(of), { sequence, envelope }, newDevice());
    return [store.compareMember(account(other)), store.compareProject(place(at))];
  },
} satisfies Record<string, (...given: never[]) => unknown>;

const questions = JSON.parse(utf8Decode(readFileSync(0))) as [keyof typeof FUNCTIONS, ...never[]][];
const answers = questions.map(([name, ...given]) => (FUNCTIONS[name] as (...given: never[]) => unknown)(...given));
process.stdout.write(utf8(JSON.stringify(answers)));
