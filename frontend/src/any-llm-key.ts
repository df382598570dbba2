/** A project's ANY_LLM_KEY in this browser: opened from one's own grant, made where the project has none. */

import { ApiError, postJson } from "./http";
import { headOf, loadKeyset, openProjectKey } from "./keyset";
import { makeFirstKey } from "./rotation";
import { requireAccount, trustSession, withReauthentication } from "./unlock";

/** The key of the project whose pages begin with `base`. The trail notes that it was shown, unless it is made just now. */
export async function anyLlmKey(base: string): Promise<string> {
  const account = await requireAccount();
  const trust = await trustSession(account);
  const keyset = await loadKeyset(`${base}keyset`);
  const head = headOf(keyset);
  if (!head) {
    try {
      return (await makeFirstKey(account, trust, keyset)).anyLlmKey;
    } catch (error) {
      // Another tab was faster: its key is the project's.
      if (!(error instanceof ApiError) || error.status !== 409) throw error;
      return anyLlmKey(base);
    }
  }
  const pair = await openProjectKey(account, trust, keyset, head.generation);
  await withReauthentication(() => postJson(`${base}keys/shown`, { generation: head.generation }));
  return pair.anyLlmKey;
}
