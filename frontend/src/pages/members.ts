/** The list of members, and forms that give somebody a role. */

import { required } from "../ui/dom";
import { fingerprintDisplay } from "../ui/fingerprint";
import { toast } from "../ui/toast";
import { cachedAccount, Cancelled, requireAccount } from "../unlock";
import type { Account } from "../vault/account";

for (const card of document.querySelectorAll<HTMLElement>("[data-own-fingerprint]")) connectOwnFingerprint(card);
for (const form of document.querySelectorAll<HTMLFormElement>("form[data-access]")) connectProjects(form);

/** One's own fingerprint, from one's own keys: what the server says of them proves nothing. */
function connectOwnFingerprint(card: HTMLElement): void {
  const locked = required(card, "[data-locked]");
  const find = async (source: () => Promise<Account | null>): Promise<void> => {
    try {
      const account = await source();
      locked.hidden = account !== null;
      if (account) required(card, "[data-place]").replaceChildren(fingerprintDisplay(account.fingerprint, "Your fingerprint"));
    } catch (error) {
      locked.hidden = false;
      if (error instanceof Cancelled) return;
      toast(error instanceof Error ? error.message : "Your fingerprint can’t be shown. Reload the page.", "danger");
    }
  };
  required<HTMLButtonElement>(card, "[data-unlock]").addEventListener("click", () => void find(requireAccount));
  void find(cachedAccount);
}

/** Projects are a developer's only. */
function connectProjects(form: HTMLFormElement): void {
  const projects = required<HTMLFieldSetElement>(form, "[data-projects]");
  const update = (): void => {
    projects.hidden = new FormData(form).get("role") !== "developer";
  };
  form.addEventListener("change", update);
  update();
}
