/** Changing the password: the account seed is opened with the old one and wrapped for the new one. */

import {
  connectPasswordForm,
  fill,
  freshKeys,
  leaveForNextPage,
  newPassword,
  typed,
  wrapForPassword,
} from "../password-form";
import { FormError } from "../ui/form";
import { bootstrap, currentMethod, deriveKeys, openMethod } from "../unlock";
import { EnvelopeError } from "../vault/envelopes";
import { CURRENT_KDF } from "../vault/kdf";

connectPasswordForm(async (form) => {
  const password = newPassword(form);
  const boot = await bootstrap();
  const method = currentMethod(boot, "password");
  if (!method) throw new FormError("Your account has no password. Reset it to set one.");
  const old = await deriveKeys(typed(form, "password-old"), method.kdf, method.kdf_input);
  let account;
  try {
    account = openMethod(boot, method, old.keyEncryptionKey);
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error;
    throw new FormError("", { "password-old": "This is not your current password." });
  }
  const { keys, salt } = await freshKeys(password);
  const { password: wrapped, signature } = wrapForPassword(account, keys, CURRENT_KDF, salt);
  if (boot.share) await leaveForNextPage(boot.share, keys);
  fill(form, "oldpassword", old.authSecret);
  fill(form, "password1", keys.authSecret);
  fill(form, "vault", JSON.stringify({ type: "same", password: wrapped, signature }));
});
