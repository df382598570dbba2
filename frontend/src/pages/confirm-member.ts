/** Comparing fingerprints with a member and handing keys to them (templates/members/confirm.html). */

import { type Missing, sealMissing } from "../grants";
import { postJson } from "../http";
import { type IdentityJson, identityOf } from "../keyset";
import { confirmAction } from "../ui/dialog";
import { element, pageData, required } from "../ui/dom";
import { fingerprintDisplay } from "../ui/fingerprint";
import { FormError, onSubmit, setBusy } from "../ui/form";
import { toast } from "../ui/toast";
import { cachedAccount, Cancelled, requireAccount, trustSession, type TrustSession, withReauthentication } from "../unlock";
import type { Account } from "../vault/account";
import { fingerprint, type Identity } from "../vault/statements";

interface ConfirmPage {
  recipient: IdentityJson;
  missing: Missing[];
  grants_url: string;
  members_url: string;
}

const page = pageData<ConfirmPage>();
const name = page.recipient.name || page.recipient.email;
const form = required<HTMLFormElement>(document, 'form[data-state="ready"]');
/** The person compared keys that are other than those they knew. */
let changeAccepted = false;

const ROLLED_BACK =
  "The server brought out an older list of the keys you trust than this browser has seen. Don’t hand over anything: " +
  "tell your team.";

void start(cachedAccount);

required<HTMLButtonElement>(document, "[data-unlock]").addEventListener("click", () => void start(requireAccount));
required<HTMLButtonElement>(document, "[data-accept-change]").addEventListener("click", () => void acceptChange());

onSubmit(form, async (_, submitter) => {
  const how = submitter instanceof HTMLButtonElement ? submitter.value : "unseen";
  const account = await requireAccount();
  const trust = await trustSession(account);
  // Between showing and sealing, another tab may have seen something else.
  const recipient = knownOrAgreed(trust);
  if (how !== "known") {
    trust.pinMember(recipient, how === "compared");
    await trust.save();
  }
  const { grants, withheld } = await sealMissing(account, trust, recipient, page.missing);
  if (grants.length === 0 && withheld.length > 0) {
    throw new FormError(`You don’t hold any of these keys yourself, so you can’t hand them on. Ask an owner or admin who does.`);
  }
  await withReauthentication(() => postJson(page.grants_url, { account_key_version: recipient.akv, grants }));
  if (withheld.length === 0) {
    location.assign(page.members_url);
    return;
  }
  required(document, "[data-withheld]").replaceChildren(
    ...withheld.map((each) => element("li", {}, `${each.name} (${each.environment.toLowerCase()})`)),
  );
  show("partly");
});

/** Shows what `find` finds: the account, null while the vault is locked. */
async function start(find: () => Promise<Account | null>): Promise<void> {
  try {
    const account = await find();
    if (account) await look(account);
    else show("locked");
  } catch (error) {
    show("locked");
    if (error instanceof Cancelled) return;
    toast(error instanceof Error ? error.message : "Something in this page broke. Reload it.", "danger");
    if (!(error instanceof Error) || error.name === "TypeError") reportError(error);
  }
}

async function look(account: Account): Promise<void> {
  const recipient = checkedRecipient();
  const trust = await trustSession(account);
  if (trust.isRolledBack) throw new FormError(ROLLED_BACK);
  const now = fingerprint(recipient);
  place("theirs", now, `Fingerprint of ${name}`);
  place("own", account.fingerprint, "Your fingerprint");
  const verdict = trust.member(recipient);
  if (verdict === "changed" && !changeAccepted) {
    place("before", trust.store.member(recipient.vaultId)?.fp ?? "", "The fingerprint you knew");
    place("now", now, "The fingerprint now");
    show("changed");
    return;
  }
  const known = verdict === "same";
  for (const part of form.querySelectorAll<HTMLElement>("[data-known]")) part.hidden = (part.dataset["known"] === "yes") !== known;
  for (const button of form.querySelectorAll<HTMLButtonElement>("button[name=how]")) {
    // Keys that changed are never taken on trust.
    button.hidden = known ? button.value !== "known" : button.value === "known" || (button.value === "unseen" && changeAccepted);
  }
  show("ready");
}

async function acceptChange(): Promise<void> {
  const agreed = await confirmAction({
    title: `Is this ${name}?`,
    body: `Did ${name} read the new fingerprint to you, by phone or in person? What you seal can be read by whoever has these keys.`,
    confirm: "We compared it",
    danger: true,
  });
  if (!agreed) return;
  changeAccepted = true;
  await start(requireAccount);
}

function checkedRecipient(): Identity {
  const recipient = identityOf(page.recipient);
  if (!recipient) throw new FormError(`The keys shown for ${name} are not signed by themselves. Hand over nothing, and tell your team.`);
  return recipient;
}

function knownOrAgreed(trust: TrustSession): Identity {
  const recipient = checkedRecipient();
  if (trust.isRolledBack) throw new FormError(ROLLED_BACK);
  if (trust.member(recipient) === "changed" && !changeAccepted) {
    throw new FormError(`The keys of ${name} are not those you know them by. Reload this page.`);
  }
  return recipient;
}

function place(where: string, value: string, label: string): void {
  required(document, `[data-fingerprint="${where}"]`).replaceChildren(fingerprintDisplay(value, label));
}

function show(state: "locked" | "changed" | "ready" | "partly"): void {
  required(document, "[data-loading]").hidden = true;
  for (const part of document.querySelectorAll<HTMLElement>("[data-state]")) part.hidden = part.dataset["state"] !== state;
  setBusy(form, null, false);
}
