/**
 * A project's keys as this browser may use them: which ones to trust, which it can open, sealing to all that are live.
 *
 * The server says which keys a project has; what is pinned or signed here decides whether to believe it.
 */

import { FormError } from "./ui/form";
import { confirmAction } from "./ui/dialog";
import { element } from "./ui/dom";
import { fingerprintDisplay } from "./ui/fingerprint";
import { getJson, postJson } from "./http";
import type { Account } from "./vault/account";
import { b64, b64Decode, type Bytes, EncodingError, equal } from "./vault/encoding";
import { EnvelopeError } from "./vault/envelopes";
import { ProjectKeyPair } from "./vault/project-key";
import { sealBox } from "./vault/sealed-box";
import * as statements from "./vault/statements";
import type { Identity, KeyGeneration } from "./vault/statements";
import type { TrustStore } from "./vault/trust";

/** The pins, and how a change of them is stored. `unlock.ts` has it. */
export interface Trust {
  readonly store: TrustStore;
  save(): Promise<void>;
}

/** A member's public identity as the server tells it: keys and signature in base64. */
export interface IdentityJson {
  vault_id: string;
  akv: number;
  x25519_public_key: string;
  ed25519_public_key: string;
  identity_signature: string;
  name: string;
  email: string;
}

export type KeyStatus = "unproven" | "active" | "retiring";

export interface GenerationJson {
  generation: number;
  public_key: string;
  kid: string;
  status: KeyStatus;
  via: "browser" | "cli";
  created_at: string;
  retire_at: string | null;
  last_used_at: string | null;
  /** Of the head that it took over from; empty for the first. */
  previous_public_key: string;
  statement_signature: string | null;
  /** Who signed the statement; null when those keys are gone. */
  signer: IdentityJson | null;
  clients: { name: string; last_seen_at: string }[];
  /** One's own, for one's current keys; `sender` is null when the sender's keys are gone. */
  grant: { envelope: string; sender: IdentityJson | null } | null;
}

interface KeysetJson {
  organization_id: string;
  project_id: string;
  keyset_version: number;
  next_generation: number;
  generations: GenerationJson[];
}

export interface Keyset extends KeysetJson {
  /** Where it came from; the project's other addresses begin with the same. */
  readonly base: string;
}

/** `url` is the project's `…/keyset`. Generations come newest first. */
export async function loadKeyset(url: string): Promise<Keyset> {
  const base = url.replace(/keyset$/, "");
  return { ...(await getJson<KeysetJson>(url)), base };
}

/** The one that new programs use; null for a project without a key. Others are retiring. */
export function headOf(keyset: Keyset): GenerationJson | null {
  return keyset.generations.find(({ status }) => status !== "retiring") ?? null;
}

export function generationOf(keyset: Keyset, generation: number): GenerationJson {
  const found = keyset.generations.find((each) => each.generation === generation);
  if (!found) throw new FormError("This ANY_LLM_KEY was retired meanwhile. Reload the page.");
  return found;
}

/** What statements and envelopes of a generation are bound to. FormError when the server's public key is none. */
export function keyOf(keyset: Keyset, { generation, public_key }: GenerationJson): KeyGeneration {
  const publicKey = decode(public_key);
  return { organization: keyset.organization_id, project: keyset.project_id, generation, publicKey };
}

/** An identity whose own signature fits; null otherwise. */
export function identityOf(json: IdentityJson | null): Identity | null {
  if (!json) return null;
  const identity = {
    vaultId: json.vault_id,
    akv: json.akv,
    x25519Public: decode(json.x25519_public_key),
    ed25519Public: decode(json.ed25519_public_key),
  };
  return statements.isIdentitySigned(identity, decode(json.identity_signature)) ? identity : null;
}

/** "sure": seal to it. "ask": a person has to agree first. "stop": don't use it at all. */
export type Verdict = "sure" | "ask" | "stop";

export interface Judgement {
  readonly generation: GenerationJson;
  readonly key: KeyGeneration;
  readonly verdict: Verdict;
  /** Why, as a sentence for the person. */
  readonly words: string;
  /** Of the project's public key, to compare. */
  readonly fingerprint: string;
  /** Who signed it, where that could be checked. */
  readonly signer: Identity | null;
}

/**
 * Which of the project's keys are what they say, by pins first, then by the signature of a member that is known.
 *
 * Nothing is pinned here: `sealForProject` and `openProjectKey` do, once the person agreed.
 */
export function verifyGenerations(keyset: Keyset, trust: TrustStore, account: Account): Judgement[] {
  return keyset.generations.map((generation) => {
    const key = keyOf(keyset, generation);
    const signer = identityOf(generation.signer);
    const fingerprint = statements.projectFingerprint(key.publicKey);
    return { generation, key, fingerprint, signer, ...judge(generation, key, signer, trust, account) };
  });
}

function judge(
  generation: GenerationJson,
  key: KeyGeneration,
  signer: Identity | null,
  trust: TrustStore,
  account: Account,
): { verdict: Verdict; words: string } {
  const pinned = trust.compareProject(key);
  if (pinned === "changed") {
    return { verdict: "stop", words: "This is not the key you have seen for this project. Somebody may have exchanged it." };
  }
  if (pinned === "same") return { verdict: "sure", words: "You have seen this key before, and it is the same." };
  const { statement_signature: signature, signer: told } = generation;
  if (!signature) {
    return { verdict: "ask", words: "It was set from the command line, so no member has signed it." };
  }
  if (!told) return { verdict: "ask", words: "The member who signed it has other keys now, so it can’t be checked." };
  const statement = statements.projectKey(key, decode(generation.previous_public_key));
  if (!signer || !statements.isSigned(statement, decode(signature), signer.ed25519Public)) {
    return { verdict: "stop", words: "Its signature is wrong. Somebody may have exchanged this key." };
  }
  if (isOwn(signer, account)) return { verdict: "sure", words: "You made this key." };
  const name = nameOf(told);
  switch (signer.vaultId === account.vaultId ? "changed" : trust.compareMember(signer)) {
    case "same":
      return { verdict: "sure", words: `${name} signed it, with the keys you know them by.` };
    case "changed":
      return { verdict: "stop", words: `It is signed in the name of ${name}, but not with the keys you know them by.` };
    case "new":
      return { verdict: "ask", words: `${name} signed it. You haven’t compared keys with them yet.` };
  }
}

/**
 * The private key of a generation, from one's own grant.
 *
 * A grant of a teammate is checked against what is known of them, opened, and kept as one's own from then on: that pins
 * the key for good. FormError when there is no grant, or it must not be used; a rejection named "Cancelled" when the
 * person would rather not.
 */
export async function openProjectKey(
  account: Account,
  trust: Trust,
  keyset: Keyset,
  generation: number,
): Promise<ProjectKeyPair> {
  const found = generationOf(keyset, generation);
  const key = keyOf(keyset, found);
  if (!found.grant) {
    throw new FormError("You don’t hold the keys of this project. Ask an owner or admin to give them to you.");
  }
  if (trust.store.compareProject(key) === "changed") {
    throw new FormError("This is not the key you have seen for this project. Nothing was opened; tell your team.");
  }
  const { envelope, sender: told } = found.grant;
  try {
    if (envelope.startsWith("W1.")) return new ProjectKeyPair(account.openSelfGrant(key, envelope), found.kid);
    const sender = identityOf(told);
    if (!sender || !told) {
      throw new FormError("The member who gave you this key has other keys now. Ask an owner or admin to give it again.");
    }
    await checkSender(sender, told, account, trust);
    const privateKey = account.openGrantFrom(sender, key, envelope);
    await storeOwnGrant(account, trust, keyset, found, privateKey);
    return new ProjectKeyPair(privateKey, found.kid);
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error;
    throw new FormError("The key you were given doesn’t open with your keys. Ask an owner or admin to give it again.");
  }
}

/** Wraps a private key for oneself and stores it: nobody else can make such a grant, so it pins the key. */
export async function storeOwnGrant(
  account: Account,
  trust: Trust,
  keyset: Keyset,
  generation: GenerationJson,
  privateKey: Uint8Array,
): Promise<void> {
  const key = keyOf(keyset, generation);
  const envelope = account.selfGrant(key, privateKey);
  await postJson(`${keyset.base}grants/self`, { generation: generation.generation, envelope });
  generation.grant = { envelope, sender: null };
  await storePin(trust, key);
}

/** Pins a key of a project that this browser made or opened. */
export async function storePin(trust: Trust, key: KeyGeneration): Promise<void> {
  trust.store.pinProject(key);
  await trust.save();
}

/** A provider key sealed for one generation, as the server takes it. */
export interface SignedBoxJson {
  generation: number;
  sealed: string;
  signature: string;
}

/**
 * A provider key sealed and signed once for each live generation; for an empty `value` (a local provider), empty boxes.
 *
 * Keys that nobody vouches for are shown to the person first, and pinned once they agree. FormError when a key must not
 * be used or the value is too long; a rejection named "Cancelled" when the person would rather not.
 */
export async function sealForProject(
  account: Account,
  trust: Trust,
  keyset: Keyset,
  provider: string,
  value: string,
): Promise<SignedBoxJson[]> {
  if (keyset.generations.length === 0) throw new FormError("This project has no ANY_LLM_KEY yet. Make it first.");
  if (new TextEncoder().encode(value).length > LONGEST_VALUE) throw new FormError("A provider key has at most 8 KiB.");
  const keys = await trustedKeys(account, trust, keyset);
  return keys.map((key) => signedBox(account, key, provider, value));
}

const LONGEST_VALUE = 8 * 1024;

/** One box, signed. `key` has to be trusted: see `trustedKeys`. */
export function signedBox(account: Account, key: KeyGeneration, provider: string, value: string): SignedBoxJson {
  const sealed = sealBox(value, key.publicKey);
  const signature = b64(account.sign(statements.providerKey(key, provider, sealed)));
  return { generation: key.generation, sealed, signature };
}

/** The live keys, all of them trusted, after asking where that needs a person. Pins them. */
export async function trustedKeys(account: Account, trust: Trust, keyset: Keyset): Promise<KeyGeneration[]> {
  const judged = verifyGenerations(keyset, trust.store, account);
  const stopped = judged.find(({ verdict }) => verdict === "stop");
  if (stopped) throw new FormError(`${stopped.words} Nothing was sealed; tell your team.`);
  const unsure = judged.filter(({ verdict }) => verdict === "ask");
  if (unsure.length > 0 && !(await askAbout(unsure))) throw new NotAgreed();
  const unpinned = judged.filter(({ key }) => trust.store.compareProject(key) === "new");
  if (unpinned.length > 0) {
    for (const { key } of unpinned) trust.store.pinProject(key);
    await trust.save();
  }
  return judged.map(({ key }) => key);
}

/** Whether two identities are one account with the same keys. */
export function isOwn(identity: Identity, account: Account): boolean {
  return (
    identity.vaultId === account.vaultId &&
    identity.akv === account.akv &&
    equal(identity.x25519Public, account.x25519Public) &&
    equal(identity.ed25519Public, account.ed25519Public)
  );
}

export function nameOf({ name, email }: Pick<IdentityJson, "name" | "email">): string {
  return name || email;
}

/** The person would rather not. Forms show nothing for a rejection of this name. */
class NotAgreed extends Error {
  override readonly name = "Cancelled";
}

async function checkSender(sender: Identity, told: IdentityJson, account: Account, trust: Trust): Promise<void> {
  const name = nameOf(told);
  switch (sender.vaultId === account.vaultId ? "changed" : trust.store.compareMember(sender)) {
    case "same":
      return;
    case "changed":
      throw new FormError(`The keys of ${name} are not those you know them by: a password reset, or an attack. Ask them.`);
    case "new": {
      const body = element(
        "div",
        { class: "stack" },
        element("p", {}, `${name} gave you this project’s key. Compare this fingerprint with them, by phone or in person.`),
        fingerprintDisplay(statements.fingerprint(sender), `Fingerprint of ${name}`),
      );
      const agreed = await confirmAction({ title: `Is this ${name}?`, body, confirm: "It is the same" });
      if (!agreed) throw new NotAgreed();
      trust.store.pinMember(sender, true);
      await trust.save();
    }
  }
}

async function askAbout(unsure: Judgement[]): Promise<boolean> {
  const body = element(
    "div",
    { class: "stack" },
    ...unsure.flatMap(({ words, fingerprint }) => [
      element("p", {}, words),
      fingerprintDisplay(fingerprint, "Fingerprint of the project’s key"),
    ]),
    element("p", {}, "If you seal to a wrong key, somebody else can read what you enter."),
  );
  return confirmAction({ title: "Is this the project’s key?", body, confirm: "Trust this key" });
}

/** Base64 that the server sent. FormError when it is none: it would not be our server's doing. */
function decode(text: string): Bytes {
  try {
    return b64Decode(text);
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error;
    throw new FormError("The server sent a key that is none. Reload the page.");
  }
}
