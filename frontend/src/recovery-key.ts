/** Making an encryption recovery key, and making sure that it was saved (templates/accounts/recovery_panel.html). */

import { postJson } from "./http";
import { confirmAction } from "./ui/dialog";
import { element, required } from "./ui/dom";
import { FormError, onSubmit, showFormError } from "./ui/form";
import { requireAccount, withReauthentication } from "./unlock";
import type { Account } from "./vault/account";
import { b64u } from "./vault/encoding";
import { randomBytes } from "./vault/primitives";
import * as recovery from "./vault/recovery";
import type { UnlockMethod } from "./vault/statements";

/** Groups of 4 characters behind `RK1-`. */
const GROUPS = 9;
const ASKED_FOR = 2;

/**
 * Brings `[data-recovery-key]` to life. With `data-next` the person is sent there once the key is saved or declined.
 *
 * The key exists on this page only until it is confirmed; the server gets the account seed wrapped under it, then.
 */
export function connectRecoveryKey(root: HTMLElement): void {
  const start = required<HTMLFormElement>(root, "[data-step=start]");
  const save = required<HTMLFormElement>(root, "[data-step=save]");
  const done = required(root, "[data-step=done]");
  const text = required(root, "[data-recovery-text]");
  let made: { account: Account; secret: Uint8Array } | null = null;

  const finish = (declined: boolean): void => {
    made = null;
    text.textContent = "";
    const next = root.dataset["next"];
    if (next) return location.assign(next);
    if (declined) return location.reload();
    save.hidden = true;
    done.hidden = false;
    done.focus();
  };

  onSubmit(start, async (_data, submitter) => {
    if (submitter?.hasAttribute("data-decline")) {
      if (await agreeToGoWithout()) {
        await postJson("/vault/recovery/decline", {});
        finish(true);
      }
      return;
    }
    const account = await requireAccount();
    made = { account, secret: recovery.generate() };
    show(text, recovery.format(made.secret));
    askForGroups(save, text.textContent);
    start.hidden = true;
    save.hidden = false;
    text.focus();
  });
  for (const button of start.querySelectorAll<HTMLButtonElement>("button")) button.disabled = false;

  required(save, "[data-download]").addEventListener("click", () => download(text.textContent ?? ""));
  required(save, "[data-print]").addEventListener("click", () => window.print());
  onSubmit(save, async () => {
    if (!made) return showFormError(save, "This key is gone. Reload the page to make another one.");
    checkGroups(save, text.textContent ?? "");
    await store(made.account, made.secret);
    finish(false);
  });
  // A key that nobody confirmed must not come back from the browser's memory of pages.
  window.addEventListener("pagehide", () => {
    made = null;
    text.textContent = "";
  });
}

function agreeToGoWithout(): Promise<boolean> {
  return confirmAction({
    title: "Go without a recovery key?",
    body:
      "If you forget your password, nobody can open your keys for you. Not even we can.\n\n" +
      "A teammate could share your projects with you again. If there is none, you would have to enter every provider key anew.\n\n" +
      "You can make a recovery key later, under Account.",
    confirm: "Go without",
    danger: true,
  });
}

async function store(account: Account, secret: Uint8Array): Promise<void> {
  const method: UnlockMethod = {
    id: crypto.randomUUID(),
    type: "recovery",
    kdf: recovery.RECOVERY_KDF,
    input: new Uint8Array(),
  };
  const { envelope, signature } = account.wrapFor(method, recovery.kek(secret));
  await withReauthentication(() =>
    postJson("/vault/unlock-methods", {
      id: method.id,
      kind: method.type,
      kdf: method.kdf,
      kdf_input: b64u(method.input),
      envelope,
      signature: b64u(signature),
    }),
  );
}

/** The key with its groups numbered by the style sheet: the text stays what is copied and typed. */
function show(place: HTMLElement, key: string): void {
  const [prefix = "", ...groups] = key.split(/(?<=-)/);
  place.replaceChildren(prefix, ...groups.map((group) => element("span", {}, group)));
}

function groupsOf(key: string): string[] {
  return key.split("-").slice(1);
}

/** Names two groups, another pair each time, and empties their fields. */
function askForGroups(form: HTMLFormElement, key: string): void {
  const places = groupsOf(key).map((_, index) => index);
  const random = randomBytes(GROUPS);
  places.sort((left, right) => random[left]! - random[right]!);
  const chosen = places.slice(0, ASKED_FOR).sort((left, right) => left - right);
  const fields = form.querySelectorAll<HTMLInputElement>("input[data-group]");
  fields.forEach((field, index) => {
    const place = chosen[index]!;
    field.dataset["group"] = String(place);
    field.value = "";
    const label = field.labels?.[0];
    if (label) label.textContent = `Group ${place + 1}`;
  });
}

function checkGroups(form: HTMLFormElement, key: string): void {
  const groups = groupsOf(key);
  const wrong: Record<string, string> = {};
  for (const field of form.querySelectorAll<HTMLInputElement>("input[data-group]")) {
    const place = Number(field.dataset["group"]);
    const said = field.value.trim().toUpperCase().replaceAll("O", "0").replace(/[IL]/g, "1");
    if (said !== groups[place]) wrong[field.id] = `That is not group ${place + 1} of your key.`;
  }
  if (Object.keys(wrong).length > 0) throw new FormError("", wrong);
}

function download(key: string): void {
  const text = [
    "any-llm platform: encryption recovery key",
    "",
    key,
    "",
    `For ${location.origin}. Made on ${new Date().toISOString().slice(0, 10)}.`,
    "Whoever has it and your mailbox can open your vault. Keep it where you keep passports.",
    "It is not one of the codes of your second factor.",
    "",
  ].join("\n");
  const address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = "any-llm-recovery-key.txt";
  link.click();
  // The download reads it after the click; a minute is plenty.
  window.setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

