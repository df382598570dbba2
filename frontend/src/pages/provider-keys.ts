/** A project's provider keys (templates/vault/provider_keys.html): adding, replacing, revealing, and who sealed them. */

import { ApiError, getJson, postJson } from "../http";
import { generationOf, type IdentityJson, type Keyset, loadKeyset, openProjectKey, type SignedBoxJson } from "../keyset";
import { type Provider, providerKeyForm, sealAndSend, unlisted } from "../provider-key-form";
import { checkSeals, isBroken, type Seal, sealAdvice, type SealJson, sealLabel } from "../seals";
import { confirmAction, openDialog } from "../ui/dialog";
import { element, pageData, required } from "../ui/dom";
import { FormError, setBusy } from "../ui/form";
import { secretField } from "../ui/secret";
import { connectTimes, relativeTime } from "../ui/time";
import { toast } from "../ui/toast";
import { cachedAccount, requireAccount, trustSession, UNLOCKED, withReauthentication } from "../unlock";
import type { Account } from "../vault/account";
import { EnvelopeError } from "../vault/envelopes";
import { onLock } from "../vault/session";

/** A provider key as the server lists it (apps/vault/selectors.py). */
interface Row {
  id: string;
  provider: string;
  version: number;
  added_by: string;
  added_at: string;
  replaced_by: string;
  replaced_at: string | null;
  last_used_at: string | null;
  archived_at: string | null;
  generations: number[];
  is_empty: boolean;
}

interface Data {
  project_id: string;
  provider_keys: Row[];
  providers: Provider[];
  is_archived: boolean;
  may_seal: boolean;
  may_keep: boolean;
  may_reveal: boolean;
  environments: { project_id: string; label: string }[];
}

type Listing = { provider_keys: Row[] };

const data = pageData<Data>();
// The page's address, and those of the project's JSON: /o/<organization>/projects/<project>/.
const base = location.pathname;
const list = required(document, "[data-keys]");
const addButton = required<HTMLButtonElement>(document, "[data-add]");

let rows = data.provider_keys;
/** By the provider key's id, once they were checked; null while the vault is locked. */
let checked: Map<string, Seal[]> | null = null;

function providerOf(name: string): Provider {
  return data.providers.find((provider) => provider.name === name) ?? unlisted(name);
}

function address(row: Row, action: string): string {
  return `${base}provider-keys/${row.id}/${action}`;
}

function show(listing: Listing): void {
  rows = listing.provider_keys;
  render();
  void check();
}

async function refresh(): Promise<void> {
  show(await getJson<Listing>(`${base}provider-keys`));
}

// --- The list ---

function currentRows(): Row[] {
  return rows.filter((row) => row.archived_at === null);
}

function render(): void {
  const current = currentRows();
  const archived = rows.filter((row) => row.archived_at !== null);
  const wasOpen = list.querySelector<HTMLDetailsElement>("details")?.open ?? false;
  list.replaceChildren(
    ...[
      element("div", { class: "empty:hidden", "data-seal-summary": true }),
      current.length > 0 ? table(current) : emptyState(),
      archived.length > 0 && archive(archived, wasOpen),
    ].filter((part) => part instanceof Node),
  );
  renderSeals();
  connectTimes(list);
}

/** What is known of the seals, in the list as it stands: a check ends while people are at work in it. */
function renderSeals(): void {
  const current = currentRows();
  const summary = current.length > 0 ? sealSummary(current) : null;
  required(list, "[data-seal-summary]").replaceChildren(...(summary ? [summary] : []));
  for (const row of current) required(list, `[data-seal="${row.id}"]`).replaceChildren(sealBadge(row));
}

function emptyState(): HTMLElement {
  const add = data.may_seal && button("Add a provider key", addKey, "button-primary");
  return element(
    "div",
    { class: "empty-state empty-panel" },
    element("h2", { class: "text-title" }, "No provider keys yet"),
    element(
      "div",
      { class: "empty-state-body" },
      element("p", {}, "Add the key of a provider that this project’s programs call. It leaves this browser sealed, and only holders of the project’s ANY_LLM_KEY can open it."),
    ),
    add,
  );
}

function table(shown: Row[]): HTMLElement {
  const headings = ["Provider", "Seal", "Changed", "Last used"];
  return element(
    "div",
    { class: "table-frame" },
    element(
      "table",
      { class: "table" },
      element("caption", { class: "sr-only" }, "Provider keys of this project"),
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          ...headings.map((heading) => element("th", { scope: "col" }, heading)),
          element("th", { scope: "col" }, element("span", { class: "sr-only" }, "Actions")),
        ),
      ),
      element("tbody", {}, ...shown.map(tableRow)),
    ),
  );
}

function tableRow(row: Row): HTMLElement {
  const { label, name, key } = providerOf(row.provider);
  const changed = row.replaced_at ?? row.added_at;
  const who = row.replaced_at ? row.replaced_by : row.added_by;
  return element(
    "tr",
    {},
    element(
      "th",
      { scope: "row" },
      element("span", { class: "cell-main" }, label),
      row.is_empty ? element("span", { class: "cell-note" }, "no key needed") : label !== name && element("span", { class: "cell-note" }, name),
    ),
    element("td", { "data-label": "Seal", "data-seal": row.id }),
    element(
      "td",
      { "data-label": "Changed" },
      element("span", { class: "cell-main" }, row.replaced_at ? "Replaced " : "Added ", time(changed)),
      element("span", { class: "cell-note" }, who ? `by ${who}` : "by somebody who left"),
    ),
    element("td", { "data-label": "Last used" }, element("span", { class: "whitespace-nowrap" }, row.last_used_at ? time(row.last_used_at) : "Never")),
    element(
      "td",
      { class: "row-actions" },
      data.may_reveal && !row.is_empty && button("Reveal", () => reveal(row), "button-quiet button-small", `Reveal the ${label} key`),
      data.may_seal && key !== "none" && button("Replace", () => replace(row), "button-quiet button-small", `Replace the ${label} key`),
      button("More", () => more(row), "button-quiet button-small", `More about the ${label} key`),
    ),
  );
}

function archive(archived: Row[], open: boolean): HTMLElement {
  return element(
    "details",
    { class: "card archived-keys", open },
    element("summary", { class: "card-header" }, element("span", { class: "card-title" }, `Archived (${archived.length})`)),
    element(
      "ul",
      { class: "card-body archived-list" },
      ...archived.map((row) => {
        const { label } = providerOf(row.provider);
        return element(
          "li",
          { class: "archived-key" },
          element(
            "div",
            {},
            element("span", { class: "cell-main" }, label),
            element("span", { class: "cell-note" }, "archived ", time(row.archived_at ?? ""), ". Programs can’t fetch it."),
          ),
          element(
            "div",
            { class: "actions" },
            data.may_keep && button("Restore", () => restore(row), "button-secondary button-small", `Restore the ${label} key`),
            data.may_reveal && !row.is_empty && button("Reveal", () => reveal(row), "button-quiet button-small", `Reveal the ${label} key`),
            data.may_keep && button("Delete for good", () => remove(row), "button-quiet button-small", `Delete for good: the ${label} key`),
          ),
        );
      }),
    ),
  );
}

function time(iso: string): HTMLElement {
  return element("time", { datetime: iso, "data-relative": true }, relativeTime(new Date(iso)));
}

function button(label: string, action: () => Promise<void> | void, variant: string, name?: string): HTMLButtonElement {
  const made = element("button", { type: "button", class: `button ${variant}`, "aria-label": name }, label);
  made.addEventListener("click", () => {
    if (made.getAttribute("aria-busy") === "true") return;
    setBusy(null, made, true);
    Promise.resolve(action())
      .catch(report)
      .finally(() => setBusy(null, made, false));
  });
  return made;
}

/** What went wrong, as a sentence. After a change by somebody else, the list is shown as it is now. */
function report(error: unknown): void {
  if (error instanceof Error && error.name === "Cancelled") return;
  if (!(error instanceof Error) || !(error instanceof ApiError || error instanceof FormError || error.name === "VaultError")) {
    toast("Something in this page broke. Reload it and try again.", "danger");
    reportError(error);
    return;
  }
  toast(error.message, "danger");
  if (error instanceof ApiError && error.status === 409) refresh().catch(() => undefined);
}

// --- Seals ---

function sealBadge(row: Row): HTMLElement {
  const [worst] = checked?.get(row.id) ?? [];
  if (!worst) return element("span", { class: "badge" }, "Not checked");
  const { label, tone } = sealLabel(worst);
  return element("span", { class: `badge badge-${tone} seal-badge`, title: sealAdvice(worst) }, label);
}

function sealSummary(current: Row[]): HTMLElement | null {
  if (checked === null) {
    return element(
      "div",
      { class: "alert" },
      element(
        "div",
        { class: "alert-body" },
        element("p", { class: "alert-title" }, "Seals are not checked yet"),
        element("p", {}, "Unlock your vault, and this browser checks that each key is still what a member sealed."),
        button("Unlock and check", checkNow, "button-secondary button-small"),
      ),
    );
  }
  const worst = current.map((row) => ({ row, seal: checked?.get(row.id)?.[0] }));
  const broken = worst.filter(({ seal }) => seal && isBroken(seal.state));
  if (broken.length > 0) {
    return element(
      "div",
      { class: "alert alert-danger", role: "alert" },
      element(
        "div",
        { class: "alert-body" },
        element("p", { class: "alert-title" }, broken.length === 1 ? "One key is not what a member sealed" : `${broken.length} keys are not what members sealed`),
        ...broken.map(({ row, seal }) =>
          element("p", {}, element("strong", {}, `${providerOf(row.provider).label}: `), seal ? sealAdvice(seal) : ""),
        ),
      ),
    );
  }
  return null;
}

async function checkNow(): Promise<void> {
  await checkWith(await requireAccount());
}

/** Without asking: where the vault is unlocked already. */
async function check(): Promise<void> {
  try {
    const account = await cachedAccount();
    if (account) await checkWith(account);
  } catch (error) {
    report(error);
  }
}

async function checkWith(account: Account): Promise<void> {
  const [trust, keyset, { seals, signers }] = await Promise.all([
    trustSession(account),
    loadKeyset(`${base}keyset`),
    getJson<{ seals: SealJson[]; signers: IdentityJson[] }>(`${base}provider-keys/seals`),
  ]);
  const found = rows
    .filter((row) => row.archived_at === null)
    .map((row): [string, Seal[]] => [row.id, checkSeals(row, seals, signers, keyset, trust.store, account)]);
  checked = new Map(found);
  renderSeals();
}

// --- Adding and replacing ---

async function addKey(): Promise<void> {
  const taken = rows.filter((row) => row.archived_at === null).map((row) => row.provider);
  const cancel = cancelButton();
  const { form, focus } = providerKeyForm({
    providers: data.providers,
    taken,
    submit: "Seal and save",
    others: [cancel],
    async save(provider, value) {
      const listing = await sealAndSend(base, provider.name, value, (boxes) =>
        postJson<Listing>(`${base}provider-keys/add`, { provider: provider.name, boxes }),
      );
      opened.close();
      show(listing);
      toast(`The ${provider.label} key is sealed. Programs can fetch it now.`, "sealed");
    },
  });
  const opened = openDialog({ title: "Add a provider key", body: form });
  opened.dialog.classList.add("dialog-wide");
  cancel.addEventListener("click", () => opened.close());
  focus();
}

async function replace(row: Row): Promise<void> {
  const provider = providerOf(row.provider);
  let expected = row.version;
  const cancel = cancelButton();
  const { form, focus } = providerKeyForm({
    providers: [provider],
    submit: "Seal and replace",
    others: [cancel],
    async save(_, value) {
      const send = (boxes: SignedBoxJson[]) =>
        postJson<Listing>(address(row, "replace"), { expected_version: expected, boxes });
      try {
        show(await sealAndSend(base, row.provider, value, send));
      } catch (error) {
        if (!(error instanceof ApiError) || error.code !== "provider_key_changed") throw error;
        const now = await asItIsNow(row);
        expected = now.version;
        const when = now.replaced_at ? relativeTime(new Date(now.replaced_at)) : "just now";
        throw new FormError(`${now.replaced_by || "Somebody"} replaced this key ${when}. Save again to replace theirs.`);
      }
      opened.close();
      toast(`The ${provider.label} key is replaced. Programs fetch the new one from now on.`, "sealed");
    },
  });
  form.prepend(element("p", {}, "Programs fetch the new key from the next start on. Those that run keep the old one in memory, so revoke it at the provider only when they are done with it."));
  const opened = openDialog({ title: `Replace the ${provider.label} key`, body: form });
  cancel.addEventListener("click", () => opened.close());
  focus();
}

/** The row after somebody else was faster. FormError when there is nothing left to replace. */
async function asItIsNow(row: Row): Promise<Row> {
  await refresh();
  const now = rows.find(({ id }) => id === row.id);
  if (!now) throw new FormError("This key was deleted meanwhile. Add the new one as a provider key of its own.");
  if (now.archived_at !== null) throw new FormError("This key was archived meanwhile. Restore it first, then replace it.");
  return now;
}

function cancelButton(): HTMLButtonElement {
  return element("button", { type: "button", class: "button button-secondary" }, "Cancel");
}

// --- Revealing ---

/** The key in the clear. The trail notes that it was fetched, before it is. */
async function opened(row: Row): Promise<string> {
  const { label } = providerOf(row.provider);
  const account = await requireAccount();
  const trust = await trustSession(account);
  const { generation, sealed } = await withReauthentication(() =>
    postJson<{ generation: number; sealed: string }>(address(row, "reveal"), {}),
  );
  const keyset: Keyset = await loadKeyset(`${base}keyset`);
  generationOf(keyset, generation);
  const pair = await openProjectKey(account, trust, keyset, generation);
  try {
    return pair.open(sealed);
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error;
    throw new FormError(`The ${label} key doesn’t open with this project’s key. It was sealed for another, or altered. Replace it.`);
  }
}

function reveal(row: Row): void {
  const { label } = providerOf(row.provider);
  const secret = secretField({ label: `${label} key`, value: () => opened(row) });
  const close = element("button", { type: "button", class: "button button-secondary" }, "Close");
  const dialog = openDialog({
    title: `${label} key`,
    body: element(
      "div",
      { class: "stack stack-tight" },
      element("p", {}, "Opened in this browser, for 30 seconds at a time. Each time, the activity of your organization says that you fetched it."),
      secret,
    ),
    actions: [close],
  });
  close.addEventListener("click", () => dialog.close());
  required<HTMLButtonElement>(secret, "button").click();
}

// --- The rest ---

function more(row: Row): void {
  const { label, url } = providerOf(row.provider);
  const fact = (term: string, ...value: (Node | string)[]) =>
    element("div", {}, element("dt", {}, term), element("dd", {}, ...value));
  const seals = checked?.get(row.id);
  const close = element("button", { type: "button", class: "button button-secondary" }, "Close");
  const then = (action: () => Promise<void>) => async () => {
    dialog.close();
    await action();
  };
  const dialog = openDialog({
    title: `${label} key`,
    body: element(
      "div",
      { class: "stack" },
      element(
        "dl",
        { class: "facts" },
        fact("Name for SDKs", element("code", {}, row.provider)),
        fact("Added", time(row.added_at), row.added_by ? ` by ${row.added_by}` : ""),
        row.replaced_at ? fact("Replaced", time(row.replaced_at), row.replaced_by ? ` by ${row.replaced_by}` : "") : "",
        fact("Last used", row.last_used_at ? time(row.last_used_at) : "Never"),
        fact("Seal", ...(seals ? seals.map(sealLine) : ["Not checked: your vault is locked."])),
        url ? fact("At the provider", element("a", { href: url, rel: "noreferrer", target: "_blank" }, new URL(url).hostname)) : "",
      ),
      element(
        "div",
        { class: "actions" },
        ...(data.may_reveal && data.may_seal
          ? data.environments.map(({ project_id, label: place }) =>
              button(`Copy to ${place}`, then(() => copyTo(row, project_id, place)), "button-secondary button-small"),
            )
          : []),
        data.may_keep && button("Archive", then(() => putAway(row)), "button-secondary button-small"),
        data.may_keep && button("Delete for good", then(() => remove(row)), "button-danger button-small"),
      ),
    ),
    actions: [close],
  });
  close.addEventListener("click", () => dialog.close());
}

function sealLine(seal: Seal, _: number, all: Seal[]): HTMLElement {
  const { label, tone } = sealLabel(seal);
  return element(
    "span",
    { class: "seal-line" },
    element("span", { class: `badge badge-${tone}` }, all.length > 1 ? `${label}, for key ${seal.generation}` : label),
    element("span", { class: "cell-note" }, sealAdvice(seal)),
  );
}

async function copyTo(row: Row, project: string, place: string): Promise<void> {
  const { label } = providerOf(row.provider);
  const there = base.replace(data.project_id, project);
  const value = row.is_empty ? "" : await opened(row);
  try {
    await sealAndSend(there, row.provider, value, (boxes) =>
      postJson(`${there}provider-keys/add`, { provider: row.provider, boxes }),
    );
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== "provider_key_exists") throw error;
    const { provider_keys: theirs } = await getJson<Listing>(`${there}provider-keys`);
    const present = theirs.find(({ provider, archived_at }) => provider === row.provider && archived_at === null);
    if (!present) throw error;
    const agreed = await confirmAction({
      title: `Replace the ${label} key of ${place}?`,
      body: `${place} has a key for ${label}. Its programs fetch this one instead from their next start on.`,
      confirm: "Replace",
    });
    if (!agreed) return;
    await sealAndSend(there, row.provider, value, (boxes) =>
      postJson(`${there}provider-keys/${present.id}/replace`, { expected_version: present.version, boxes }),
    );
  }
  toast(`The ${label} key is sealed for ${place}.`, "sealed");
}

async function putAway(row: Row): Promise<void> {
  const { label } = providerOf(row.provider);
  const agreed = await confirmAction({
    title: `Archive the ${label} key?`,
    body: "Programs get it no more, from their next request on. Those that hold it in memory keep it until they restart. You can restore it.",
    confirm: "Archive",
  });
  if (!agreed) return;
  show(await postJson<Listing>(address(row, "archive"), { expected_version: row.version }));
  toast(`The ${label} key is archived.`);
}

async function restore(row: Row): Promise<void> {
  const { label } = providerOf(row.provider);
  show(await postJson<Listing>(address(row, "restore"), { expected_version: row.version }));
  toast(`The ${label} key is restored. Programs can fetch it again.`, "sealed");
}

async function remove(row: Row): Promise<void> {
  const { label } = providerOf(row.provider);
  const { clients } = await getJson<{ clients: { name: string; last_used_at: string }[] }>(address(row, "clients"));
  const body = element(
    "div",
    { class: "stack stack-tight" },
    element("p", {}, "What is sealed here is deleted, for every member, and can’t be brought back. Past calls keep their place in the ledger."),
    clients.length > 0
      ? element("p", {}, "Programs that used it lately, and get no key from their next start on:")
      : row.last_used_at
        ? element("p", {}, "A program fetched it ", time(row.last_used_at), ", and gets no key from its next start on.")
        : element("p", {}, "No program has fetched it."),
    clients.length > 0 &&
      element(
        "ul",
        { class: "used-by" },
        ...clients.map(({ name, last_used_at }) => element("li", {}, name || "programs without a name", ", ", time(last_used_at))),
      ),
    element("p", {}, `The key itself stays valid until you revoke it at ${label}.`),
  );
  const agreed = await confirmAction({
    title: `Delete the ${label} key for good?`,
    body,
    confirm: "Delete for good",
    danger: true,
    typed: row.provider,
  });
  if (!agreed) return;
  const request = { expected_version: row.version, provider: row.provider };
  show(await withReauthentication(() => postJson<Listing>(address(row, "delete"), request)));
  toast(`The ${label} key is deleted.`);
}

addButton.hidden = !data.may_seal;
addButton.addEventListener("click", () => void addKey().catch(report));
render();
void check();
document.addEventListener(UNLOCKED, () => void check());
onLock(() => {
  checked = null;
  renderSeals();
});
