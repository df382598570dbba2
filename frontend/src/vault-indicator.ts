/** The vault's state in the header of every signed-in page: shown, locked and unlocked with one button. */

import { cachedAccount, Cancelled, lockVault, requireAccount, UNLOCKED } from "./unlock";
import { toast } from "./ui/toast";
import { forget, onLock, StorageError, watchActivity } from "./vault/session";

/** Connects `button[data-vault-state]`. Looking for the account also takes over the key that signing in left. */
export function connectVaultIndicator(button: HTMLButtonElement): void {
  const label = button.querySelector("[data-vault-label]");
  const show = (state: "locked" | "unlocked"): void => {
    button.dataset["vaultState"] = state;
    if (label) label.textContent = state === "locked" ? "Vault locked" : "Vault unlocked";
    button.title = state === "locked" ? "Unlock your vault" : "Lock your vault";
  };
  const look = async (): Promise<void> => show((await cachedAccount()) ? "unlocked" : "locked");

  button.addEventListener("click", () => {
    const work = button.dataset["vaultState"] === "locked" ? requireAccount() : lockVault();
    work.catch((error: unknown) => {
      if (error instanceof Cancelled) return;
      toast(error instanceof Error ? error.message : "That did not work. Reload the page.", "danger");
    });
  });
  document.addEventListener(UNLOCKED, () => show("unlocked"));
  onLock(() => show("locked"));
  watchActivity();
  // Another tab may have unlocked it.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) look().catch(() => show("locked"));
  });
  look()
    .catch(() => show("locked"))
    .finally(() => {
      button.hidden = false;
    });
}

/** Locks before a form signs out: what this browser kept goes, whatever becomes of the answer. */
export function connectSignOut(form: HTMLFormElement): void {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    forget()
      .catch((error: unknown) => {
        if (!(error instanceof StorageError)) reportError(error);
      })
      .finally(() => form.submit());
  });
}
