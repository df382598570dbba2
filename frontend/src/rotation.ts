/**
 * The life of a project's ANY_LLM_KEY in the browser: making the first, rotating, adopting one that was pasted.
 *
 * The server stores what is made here and checks that it is complete; only the browser ever has the key itself.
 */

import { getJson, postJson } from "./http";
import {
  generationOf,
  headOf,
  type IdentityJson,
  identityOf,
  keyOf,
  type Keyset,
  openProjectKey,
  signedBox,
  storePin,
  type Trust,
  verifyGenerations,
} from "./keyset";
import { FormError } from "./ui/form";
import { withReauthentication } from "./unlock";
import type { Account } from "./vault/account";
import { b64, b64Decode, type Bytes, equal } from "./vault/encoding";
import { EnvelopeError } from "./vault/envelopes";
import { ProjectKeyError, ProjectKeyPair } from "./vault/project-key";
import * as statements from "./vault/statements";
import type { Identity, KeyGeneration } from "./vault/statements";
import type { Comparison } from "./vault/trust";

/**
 * The first key of a project that has none. The pair is the only copy there is, beside one's own grant of it.
 *
 * `keyset` is stale afterwards.
 */
export async function makeFirstKey(account: Account, trust: Trust, keyset: Keyset): Promise<ProjectKeyPair> {
  const pair = ProjectKeyPair.generate();
  const key = newKey(keyset, pair);
  await postJson(`${keyset.base}keys`, {
    ...(await described(account, keyset, key, pair, new Uint8Array())),
    self_grant: account.selfGrant(key, pair.privateKey),
  });
  await storePin(trust, key);
  return pair;
}

/** A provider key as a rotation starts from it. `sealed` is the head's box; null when there is none. */
interface ProviderKeyJson {
  id: string;
  provider: string;
  version: number;
  is_archived: boolean;
  sealed: string | null;
}

export interface OpenedKey extends ProviderKeyJson {
  /** null when it can't be opened: it has to be left behind, or entered again before rotating. */
  readonly value: string | null;
}

/** A member who is to hold the project's keys, and what is known of them. */
export interface Recipient {
  readonly json: IdentityJson;
  /** null when the identity's own signature is wrong. */
  readonly identity: Identity | null;
  readonly comparison: Comparison;
}

/** Everything a rotation is made of, as it was read. It holds the project's secrets: drop it when it is done. */
export interface Draft {
  readonly keyset: Keyset;
  readonly keys: OpenedKey[];
  readonly recipients: Recipient[];
}

/**
 * Reads the present state and opens every provider key.
 *
 * `withOldKey` false starts without the old private key: for those who lost it. Then nothing can be opened but what local
 * providers have. FormError when the present key must not be used.
 */
export async function draftRotation(account: Account, trust: Trust, base: string, withOldKey = true): Promise<Draft> {
  const read = await getJson<{
    keyset: Omit<Keyset, "base">;
    provider_keys: ProviderKeyJson[];
    recipients: IdentityJson[];
  }>(`${base}rotation`);
  const keyset = { ...read.keyset, base };
  const head = headOf(keyset);
  if (!head) throw new FormError("This project has no ANY_LLM_KEY yet.");
  const judged = verifyGenerations(keyset, trust.store, account).find(({ generation }) => generation === head);
  if (judged?.verdict === "stop") throw new FormError(`${judged.words} Nothing was rotated; tell your team.`);
  const pair = withOldKey ? await openProjectKey(account, trust, keyset, head.generation) : null;
  return {
    keyset,
    keys: read.provider_keys.map((each) => ({ ...each, value: opened(each.sealed, pair) })),
    recipients: read.recipients.map((json) => {
      const identity = identityOf(json);
      return { json, identity, comparison: identity ? trust.store.compareMember(identity) : "changed" };
    }),
  };
}

export interface RotationChoices {
  /** How long the old key goes on; 0 ends it at once. */
  readonly overlapSeconds: number;
  /** Who gets the new key. */
  readonly recipients: Recipient[];
  /** Ids of provider keys that can't be opened and that the person agreed to leave behind. */
  readonly leaveBehind: ReadonlySet<string>;
}

/**
 * A new generation: every provider key sealed again, the new key granted to those who keep access.
 *
 * `report` is called with each step in words. An ApiError with the code "keyset_changed" means that somebody changed the
 * keys since the draft was made: make a new one. Nothing is half done, whatever happens.
 */
export async function rotate(
  account: Account,
  trust: Trust,
  draft: Draft,
  choices: RotationChoices,
  report: (step: string) => void,
): Promise<ProjectKeyPair> {
  const { keyset } = draft;
  const head = headOf(keyset);
  if (!head) throw new FormError("This project has no ANY_LLM_KEY yet.");
  const sealable = draft.keys.filter(({ value }) => value !== null);
  const lost = draft.keys.filter(({ value }) => value === null);
  if (lost.some(({ id }) => !choices.leaveBehind.has(id))) {
    throw new FormError("Some provider keys can’t be opened. Agree to leave them behind, or replace them first.");
  }
  const pair = ProjectKeyPair.generate();
  const key = newKey(keyset, pair);

  const boxes: { provider_key_id: string; version: number; sealed: string; signature: string }[] = [];
  for (const [index, each] of sealable.entries()) {
    report(`Sealing ${index + 1} of ${counted(sealable.length, "key")}`);
    await painted();
    const { sealed, signature } = signedBox(account, key, each.provider, each.value ?? "");
    boxes.push({ provider_key_id: each.id, version: each.version, sealed, signature });
  }
  const grants: { vault_id: string; akv: number; envelope: string }[] = [];
  for (const { identity, json } of choices.recipients) {
    if (!identity) throw new FormError(`The keys of ${json.email} are not their own. Leave them out.`);
    report(`Giving the new key to ${json.name || json.email}`);
    await painted();
    const envelope = account.grantTo(identity, key, pair.privateKey);
    grants.push({ vault_id: identity.vaultId, akv: identity.akv, envelope });
  }
  report("Storing the new key");
  await withReauthentication(async () =>
    postJson(`${keyset.base}rotate`, {
      base_generation: head.generation,
      keyset_version: keyset.keyset_version,
      // Again when the password was asked for: the proof is good for two minutes.
      new: await described(account, keyset, key, pair, b64Decode(head.public_key)),
      boxes,
      drop: lost.map(({ id, version }) => ({ provider_key_id: id, version })),
      grants,
      self_grant: account.selfGrant(key, pair.privateKey),
      overlap_seconds: choices.overlapSeconds,
    }),
  );
  await storePin(trust, key);
  return pair;
}

/**
 * Takes an ANY_LLM_KEY that a member pasted: signs for it if nobody did, and keeps it as their own grant.
 *
 * FormError about the field `key` when it is none of the project's. Returns its generation.
 */
export async function adopt(account: Account, trust: Trust, keyset: Keyset, text: string): Promise<number> {
  const pair = parsed(text);
  const found = keyset.generations.find(({ public_key }) => equal(b64Decode(public_key), pair.publicKey));
  if (!found) {
    throw new FormError("", { key: "This is not a live ANY_LLM_KEY of this project. Check that it is the newest one." });
  }
  const generation = generationOf(keyset, found.generation);
  const key = keyOf(keyset, generation);
  if (trust.store.compareProject(key) === "changed") {
    throw new FormError("You have seen another key for this project before. Nothing was stored; tell your team.");
  }
  const statement = statements.projectKey(key, b64Decode(generation.previous_public_key));
  await withReauthentication(() =>
    postJson(`${keyset.base}keys/adopt`, {
      generation: generation.generation,
      kid: pair.kid,
      statement_signature: generation.statement_signature ? "" : b64(account.sign(statement)),
      self_grant: account.selfGrant(key, pair.privateKey),
    }),
  );
  await storePin(trust, key);
  return generation.generation;
}

export function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}

function newKey(keyset: Keyset, pair: ProjectKeyPair): KeyGeneration {
  return {
    organization: keyset.organization_id,
    project: keyset.project_id,
    generation: keyset.next_generation,
    publicKey: pair.publicKey,
  };
}

/** A new key as the server takes it, with the proof that this browser can open what is sealed to it. */
async function described(account: Account, keyset: Keyset, key: KeyGeneration, pair: ProjectKeyPair, previous: Bytes) {
  const candidate = { public_key: pair.encryptionKey };
  const { encrypted_challenge } = await postJson<{ encrypted_challenge: string }>(
    `${keyset.base}keys/candidate`,
    candidate,
  );
  return {
    ...candidate,
    generation: key.generation,
    kid: pair.kid,
    statement_signature: b64(account.sign(statements.projectKey(key, previous))),
    solved_challenge: pair.open(encrypted_challenge),
  };
}

function opened(sealed: string | null, pair: ProjectKeyPair | null): string | null {
  if (sealed === "") return "";
  if (sealed === null || !pair) return null;
  try {
    return pair.open(sealed);
  } catch (error) {
    if (error instanceof EnvelopeError) return null;
    throw error;
  }
}

function parsed(text: string): ProjectKeyPair {
  try {
    return ProjectKeyPair.parse(text);
  } catch (error) {
    if (error instanceof ProjectKeyError) throw new FormError("", { key: error.message });
    throw error;
  }
}

/** Lets the browser paint what was reported: sealing many keys takes a while. */
function painted(): Promise<void> {
  return new Promise((resolve) => window.setTimeout(resolve));
}
