/** Forms whose hidden `credential` a security key fills (templates/mfa/key_form.html and webauthn/add_form.html). */

import { SecurityKeyError, whyUnavailable } from "../webauthn";
import { required } from "./dom";
import { clearErrors, setBusy, showFormError } from "./form";

/** Asks `ceremony` for the credential when the form is submitted, then sends the form. */
export function connectKeyForm(ceremony: () => Promise<object>): void {
  const form = required<HTMLFormElement>(document, "[data-webauthn]");
  const button = required<HTMLButtonElement>(form, "[data-webauthn-submit]");
  const credential = required<HTMLInputElement>(form, "[name=credential]");
  const reason = whyUnavailable();
  if (reason) return showFormError(form, reason, false);
  button.disabled = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    clearErrors(form);
    setBusy(form, button, true);
    ceremony()
      .then((answer) => {
        credential.value = JSON.stringify(answer);
        form.submit();
      })
      .catch((error: unknown) => {
        setBusy(form, button, false);
        showFormError(form, error instanceof SecurityKeyError ? error.message : "Something in this page broke. Reload it.");
        if (!(error instanceof SecurityKeyError)) reportError(error);
      });
  });
}
