/** Signing up: the account's keys are made here, and sent wrapped under a key from the password. */

import {
  connectPasswordForm,
  expectKnownKdf,
  fill,
  identityOf,
  leaveForNextPage,
  newPassword,
  prelogin,
  typed,
  wrapForPassword,
} from "../password-form";
import { deriveKeys } from "../unlock";
import { Account } from "../vault/account";
import { b64uDecode } from "../vault/encoding";

connectPasswordForm(async (form) => {
  const password = newPassword(form);
  const answer = await prelogin(typed(form, "id_email"));
  expectKnownKdf(answer);
  const keys = await deriveKeys(password, answer.kdf, answer.salt);
  const account = Account.create();
  const wrapped = wrapForPassword(account, keys, answer.kdf, b64uDecode(answer.salt));
  await leaveForNextPage(answer.share, keys);
  fill(form, "password1", keys.authSecret);
  fill(form, "vault", JSON.stringify({ type: "new", identity: identityOf(account), password: wrapped.password }));
});
