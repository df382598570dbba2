/** Ways to unlock: removing one, the idle time, and the way back to what old keys opened. */

import { getJson, ApiError, postJson } from "../http";
import { confirmAction } from "../ui/dialog";
import { showError, FormError } from "../ui/form";
import { announce, toast } from "../ui/toast";
import {
  ask,
  bootstrap,
  Cancelled,
  deriveKeys,
  parseRecoveryKey,
  requireAccount,
  type StoredUnlockMethod,
  unlockMethod,
  withReauthentication,
} from "../unlock";
import { Account } from "../vault/account";
import { b64u, b64uDecode } from "../vault/encoding";
import { EnvelopeError } from "../vault/envelopes";
import * as recovery from "../vault/recovery";
import { setIdleMinutes, StorageError } from "../vault/session";
import { type KeyGeneration, unlockUpdate, type UnlockType } from "../vault/statements";

/** `GET /vault/stale-grants` */
interface StaleGrants {
  grants: {
    organization_id: string;
    project_id: string;
    generation: number;
    public_key: string;
    akv: number;
    envelope: string;
  }[];
}

/**
 * Wraps the project keys that the old account opens for the new one, and stores them.
 *
 * Resolves to how many came back, and how many did not: they can't be opened, or aren't the person's any more.
 */
export async function restoreGrants(account: Account, old: Account): Promise<{ restored: number; lost: number }> {
  const { grants } = await getJson<StaleGrants>("/vault/stale-grants");
  let restored = 0;
  let lost = 0;
  for (const grant of grants.filter(({ akv }) => akv === old.akv)) {
    const key: KeyGeneration = {
      organization: grant.organization_id,
      project: grant.project_id,
      generation: grant.generation,
      publicKey: b64uDecode(grant.public_key),
    };
    try {
      const envelope = account.selfGrant(key, old.openSelfGrant(key, grant.envelope));
      const url = `/o/${key.organization}/projects/${key.project}/grants/self`;
      await withReauthentication(() => postJson(url, { generation: key.generation, envelope }));
      restored++;
    } catch (error) {
      // One project that refuses must not cost the others. Without a server, all would.
      const refused = error instanceof ApiError && error.status >= 400 && error.status < 500;
      if (!refused && !(error instanceof EnvelopeError)) throw error;
      lost++;
    }
  }
  return { restored, lost };
}

/** Asks for the old password or recovery key until it opens the stale method. */
async function askForOld(vaultId: string, method: StoredUnlockMethod): Promise<Account> {
  const isPassword = method.kind === "password";
  const found = await ask(
    {
      title: "Restore your access",
      text: "It opens your old keys on this device. What they opened is then wrapped for your new ones.",
      label: isPassword ? "Old password" : "Old encryption recovery key",
      secret: isPassword,
      submit: "Restore access",
    },
    async (typed) => {
      const kek = isPassword
        ? (await deriveKeys(typed, method.kdf, method.kdf_input)).keyEncryptionKey
        : recovery.kek(parseRecoveryKey(typed));
      try {
        return Account.unlock(vaultId, method.akv, unlockMethod(method), kek, method.envelope);
      } catch (error) {
        if (!(error instanceof EnvelopeError)) throw error;
        throw new FormError("", { secret: `This ${isPassword ? "password" : "key"} does not open your old keys.` });
      }
    },
  );
  if (found === "other") throw new Cancelled("Cancelled.");
  return found;
}

async function restore(id: string): Promise<void> {
  const account = await requireAccount();
  const boot = await bootstrap();
  const method = boot.unlock_methods.find((candidate) => candidate.id === id);
  if (!method) throw new FormError("This old way to unlock is gone. Reload the page.");
  const { restored, lost } = await restoreGrants(account, await askForOld(boot.vault_id, method));
  if (restored === 0 && lost === 0) return toast("There is nothing left to restore.", "info");
  const back = `Access to ${restored} project ${restored === 1 ? "key" : "keys"} is back.`;
  toast(lost ? `${back} ${lost} could not be restored; ask a teammate to share them.` : back, lost ? "warning" : "sealed");
}

async function remove(id: string, kind: UnlockType): Promise<void> {
  const agreed = await confirmAction({
    title: "Remove this way to unlock?",
    body:
      kind === "recovery"
        ? "The encryption recovery key that you saved opens nothing any more. If you then forget your password, nobody can open your keys for you."
        : "It opens your vault no more.",
    confirm: "Remove",
    danger: true,
  });
  if (!agreed) return;
  const account = await requireAccount();
  const signature = account.sign(unlockUpdate(account.vaultId, account.akv, { id, type: kind }, ""));
  await withReauthentication(() => postJson(`/vault/unlock-methods/${id}/delete`, { signature: b64u(signature) }));
  location.reload();
}

async function setIdle(minutes: number): Promise<void> {
  await postJson("/vault/idle", { minutes });
  try {
    await setIdleMinutes(minutes);
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
  }
  announce("Saved.");
}

/** Runs what a button or a choice does; what goes wrong is shown as a toast. */
function run(control: HTMLElement, work: () => Promise<void>): void {
  if (control.getAttribute("aria-busy") === "true") return;
  control.setAttribute("aria-busy", "true");
  work()
    .catch((error: unknown) => {
      if (error instanceof Cancelled) return;
      if (error instanceof ApiError || error instanceof FormError) return toast(error.message, "danger");
      const form = control.closest("form");
      if (form) return showError(form, error);
      toast("Something in this page broke. Reload it and try again.", "danger");
      reportError(error);
    })
    .finally(() => control.removeAttribute("aria-busy"));
}

for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-remove]")) {
  const { remove: id = "", kind = "recovery" } = button.dataset;
  button.addEventListener("click", () => run(button, () => remove(id, kind as UnlockType)));
  button.hidden = false;
}
for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-restore]")) {
  button.addEventListener("click", () => run(button, () => restore(button.dataset["restore"] ?? "")));
  button.hidden = false;
}
const idle = document.querySelector<HTMLSelectElement>("select[data-idle]");
if (idle) {
  idle.addEventListener("change", () => run(idle, () => setIdle(Number(idle.value))));
  idle.disabled = false;
}
