/** Handing project keys on to a teammate. */

import { generationOf, keyOf, type Keyset, loadKeyset, openProjectKey, type Trust } from "./keyset";
import type { Account } from "./vault/account";
import type { Identity } from "./vault/statements";

/** A generation of a project's key that somebody is to be handed. */
export interface Missing {
  project: string;
  name: string;
  environment: string;
  generation: number;
  keyset_url: string;
}

/** A grant as the server takes it. */
export interface GrantJson {
  project_id: string;
  generation: number;
  envelope: string;
}

export interface Sealed {
  grants: GrantJson[];
  /** What one doesn't hold oneself, so that somebody else has to hand it over. */
  withheld: Missing[];
}

/**
 * Opens one's own grants and seals each key to `recipient`, whose identity the person agreed to.
 *
 * Rejects as `openProjectKey` does when a grant must not be used: then nothing is handed over at all.
 */
export async function sealMissing(
  account: Account,
  trust: Trust,
  recipient: Identity,
  missing: readonly Missing[],
): Promise<Sealed> {
  const keysets = new Map<string, Keyset>();
  const sealed: Sealed = { grants: [], withheld: [] };
  for (const each of missing) {
    const keyset = keysets.get(each.project) ?? (await loadKeyset(each.keyset_url));
    keysets.set(each.project, keyset);
    const generation = generationOf(keyset, each.generation);
    if (!generation.grant) {
      sealed.withheld.push(each);
      continue;
    }
    const pair = await openProjectKey(account, trust, keyset, each.generation);
    const envelope = account.grantTo(recipient, keyOf(keyset, generation), pair.privateKey);
    sealed.grants.push({ project_id: each.project, generation: each.generation, envelope });
  }
  return sealed;
}
