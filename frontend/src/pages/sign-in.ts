/** Signing in: the password becomes the secret that is sent, and a key that stays. */

import { connectPasswordForm, fill, leaveForNextPage, prelogin, typed } from "../password-form";
import { deriveKeys } from "../unlock";

connectPasswordForm(async (form) => {
  const { kdf, salt, share } = await prelogin(typed(form, "id_login"));
  const keys = await deriveKeys(typed(form, "password-typed"), kdf, salt);
  await leaveForNextPage(share, keys);
  fill(form, "password", keys.authSecret);
});
