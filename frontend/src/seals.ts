/**
 * Who sealed a provider key, as far as this browser can tell.
 *
 * The boxes that programs fetch carry no sender, so a server that exchanges one deceives them unnoticed. Here it shows:
 * a member's signature binds each box to its project, its generation and its provider.
 */

import { identityOf, type IdentityJson, isOwn, type Keyset, nameOf, verifyGenerations } from "./keyset";
import type { Account } from "./vault/account";
import { b64Decode, EncodingError } from "./vault/encoding";
import * as statements from "./vault/statements";
import type { TrustStore } from "./vault/trust";

/** What the server says of one box that it would hand out. Bytes are base64; no signature is "". */
export interface SealJson {
  provider_key: string;
  generation: number;
  digest: string;
  signature: string;
  signed_by_vault: string | null;
  signed_by_account_key_version: number | null;
}

/**
 * From best to worst. "own": sealed by oneself. "known": by a member whose keys are pinned. "new": by one whose keys
 * nobody compared. "gone": by keys that are no more. "unsigned": from the command line. "missing": there is no box for a
 * live key. "changed": in the name of a member, with other keys than theirs. "wrong": not what was signed.
 */
export const STATES = ["own", "known", "new", "gone", "unsigned", "missing", "changed", "wrong"] as const;
export type SealState = (typeof STATES)[number];

export interface Seal {
  readonly state: SealState;
  readonly generation: number;
  /** The member in whose name it is, "" where there is none. */
  readonly signer: string;
}

/** The states in which programs may get something else than a member sealed. */
export function isBroken(state: SealState): boolean {
  return state === "changed" || state === "wrong";
}

/** The seals of one provider key, one for each live generation, worst first. */
export function checkSeals(
  providerKey: { id: string; provider: string },
  seals: readonly SealJson[],
  signers: readonly IdentityJson[],
  keyset: Keyset,
  trust: TrustStore,
  account: Account,
): Seal[] {
  const checked = verifyGenerations(keyset, trust, account).map(({ generation: { generation }, key, verdict }): Seal => {
    const seal = seals.find((each) => each.provider_key === providerKey.id && each.generation === generation);
    if (!seal) return { state: "missing", generation, signer: "" };
    const told = signers.find(
      ({ vault_id, akv }) => vault_id === seal.signed_by_vault && akv === seal.signed_by_account_key_version,
    );
    const signer = told ? nameOf(told) : "";
    // Sealed to a key that is not the project's: whoever signed it was deceived.
    if (verdict === "stop") return { state: "wrong", generation, signer };
    if (seal.signature === "") return { state: "unsigned", generation, signer };
    if (!told) return { state: "gone", generation, signer };
    const identity = identityOf(told);
    if (!identity) return { state: "wrong", generation, signer };
    if (!isSigned(key, providerKey.provider, seal, identity)) return { state: "wrong", generation, signer };
    if (isOwn(identity, account)) return { state: "own", generation, signer };
    const pinned = identity.vaultId === account.vaultId ? "changed" : trust.compareMember(identity);
    const states = { same: "known", new: "new", changed: "changed" } as const;
    return { state: states[pinned], generation, signer };
  });
  return checked.sort((left, right) => STATES.indexOf(right.state) - STATES.indexOf(left.state));
}

function isSigned(
  key: statements.KeyGeneration,
  provider: string,
  seal: SealJson,
  identity: statements.Identity,
): boolean {
  try {
    const statement = statements.providerKeyOf(key, provider, b64Decode(seal.digest));
    return statements.isSigned(statement, b64Decode(seal.signature), identity.ed25519Public);
  } catch (error) {
    if (error instanceof EncodingError) return false;
    throw error;
  }
}

/** A state in a word or two, for a badge, and its tone. */
export function sealLabel({ state, signer }: Seal): { label: string; tone: "sealed" | "open" | "danger" } {
  switch (state) {
    case "own":
      return { label: "Sealed by you", tone: "sealed" };
    case "known":
      return { label: `Sealed by ${signer}`, tone: "sealed" };
    case "new":
      return { label: "Signer not compared", tone: "open" };
    case "gone":
      return { label: "Signer has new keys", tone: "open" };
    case "unsigned":
      return { label: "From the command line", tone: "open" };
    case "missing":
      return { label: "Not for every key", tone: "open" };
    case "changed":
      return { label: "Signer’s keys changed", tone: "danger" };
    case "wrong":
      return { label: "Seal is broken", tone: "danger" };
  }
}

/** What a state means, and what to do about it. */
export function sealAdvice({ state, signer }: Seal): string {
  switch (state) {
    case "own":
      return "You sealed it in this or another browser of yours, and nobody changed it since.";
    case "known":
      return `${signer} sealed it, with the keys you know them by, and nobody changed it since.`;
    case "new":
      return `It is signed in the name of ${signer}, whose keys you haven’t compared yet. Compare fingerprints under Members to be sure.`;
    case "gone":
      return "Whoever signed it has made new keys since, or left, so the signature can’t be checked. Replace the key to sign it anew.";
    case "unsigned":
      return "It was set from the command line, which signs nothing. Replace it here to sign it, if you want to notice a change.";
    case "missing":
      return "It isn’t sealed for every ANY_LLM_KEY of this project that is in use, so some programs don’t get it. Replace it.";
    case "changed":
      return `It is signed in the name of ${signer}, but not with the keys you know them by: a password reset, or an attack. Ask them, outside this site.`;
    case "wrong":
      return "This is not what a member signed: somebody may have exchanged it. Make a new key at the provider, revoke the old one there, and replace it here.";
  }
}
