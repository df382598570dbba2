/**
 * The last page of a reset. With the recovery key, the account seed is opened and wrapped for the new password. Without
 * it there is a new seed: whoever had the old one, who may not be the person at all, opens nothing new with it.
 */

import {
  connectPasswordForm,
  fill,
  freshKeys,
  identityOf,
  leaveForNextPage,
  newPassword,
  prelogin,
  typed,
  wrapForPassword,
} from "../password-form";
import { pageData, required } from "../ui/dom";
import { FormError } from "../ui/form";
import { parseRecoveryKey, type StoredUnlockMethod, unlockMethod } from "../unlock";
import { Account } from "../vault/account";
import { EnvelopeError } from "../vault/envelopes";
import { CURRENT_KDF } from "../vault/kdf";
import * as recovery from "../vault/recovery";

interface Reset {
  email: string;
  vault_id: string;
  akv: number;
  recovery: StoredUnlockMethod | null;
}

const data = pageData<Reset>();
const method = data.recovery;
const key = required(document, "[data-recovery]");
const input = required<HTMLInputElement>(key, "input");
const lost = required(document, "[data-lost]");
const isLost = required<HTMLInputElement>(lost, "input");

key.hidden = lost.hidden = method === null;
required(document, "[data-no-recovery]").hidden = method !== null;
isLost.addEventListener("change", () => {
  key.hidden = isLost.checked;
});

connectPasswordForm(async (form) => {
  const password = newPassword(form);
  const known = method && !isLost.checked ? openWithRecoveryKey(method, typed(form, "recovery-typed")) : null;
  const { keys, salt } = await freshKeys(password);
  const account = known ?? Account.create(data.vault_id, data.akv + 1);
  const { password: wrapped, signature } = wrapForPassword(account, keys, CURRENT_KDF, salt);
  const { share } = await prelogin(data.email);
  await leaveForNextPage(share, keys);
  fill(form, "password1", keys.authSecret);
  fill(
    form,
    "vault",
    JSON.stringify(
      known
        ? { type: "same", password: wrapped, signature }
        : { type: "new", identity: identityOf(account), password: wrapped },
    ),
  );
});

function openWithRecoveryKey(stored: StoredUnlockMethod, text: string): Account {
  const field = input.id;
  try {
    const kek = recovery.kek(parseRecoveryKey(text));
    return Account.unlock(data.vault_id, data.akv, unlockMethod(stored), kek, stored.envelope);
  } catch (error) {
    if (error instanceof FormError) throw new FormError("", { [field]: error.fields["secret"] ?? error.message });
    if (error instanceof EnvelopeError) {
      throw new FormError("", { [field]: "This is another recovery key, not the current one of this account." });
    }
    throw error;
  }
}
