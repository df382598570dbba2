/** Confirming that it's still the same person: the password becomes the secret that is sent. */

import { connectPasswordForm, fill, typed } from "../password-form";
import { FormError } from "../ui/form";
import { bootstrap, currentMethod, deriveKeys } from "../unlock";

connectPasswordForm(async (form) => {
  const method = currentMethod(await bootstrap(), "password");
  if (!method) throw new FormError("Your account has no password. Reset it to set one.");
  const keys = await deriveKeys(typed(form, "password-typed"), method.kdf, method.kdf_input);
  fill(form, "password", keys.authSecret);
});
