/** The page of a project's ANY_LLM_KEY: its generations, and everything that is done with them. */

import { ApiError, postJson } from "../http";
import {
  type GenerationJson,
  headOf,
  type Keyset,
  loadKeyset,
  nameOf,
  openProjectKey,
  type Trust,
} from "../keyset";
import {
  adopt,
  counted,
  type Draft,
  draftRotation,
  makeFirstKey,
  type OpenedKey,
  type Recipient,
  rotate,
} from "../rotation";
import { confirmAction, openDialog } from "../ui/dialog";
import { type Child, element, pageData, required, uniqueId } from "../ui/dom";
import { fingerprintDisplay } from "../ui/fingerprint";
import { FormError, onSubmit, setBusy } from "../ui/form";
import { secretField } from "../ui/secret";
import { relativeTime } from "../ui/time";
import { announce, toast } from "../ui/toast";
import { requireAccount, trustSession, withReauthentication } from "../unlock";
import type { Account } from "../vault/account";
import type { ProjectKeyPair } from "../vault/project-key";
import { fingerprint } from "../vault/statements";

interface Page {
  keyset: string;
  project: string;
  environment: string;
  isArchived: boolean;
  mayCreate: boolean;
  mayHold: boolean;
  mayKeep: boolean;
  rotationRequired: boolean;
  members: string;
}

const HOUR = 3600;
const DAY = 24 * HOUR;
interface Overlap {
  seconds: number;
  label: string;
  description?: string;
}

/** How long an old key goes on. */
const OVERLAPS: Overlap[] = [
  {
    seconds: 0,
    label: "It ends at once",
    description: "The key leaked. Every program that has the old one is refused at its next call.",
  },
  {
    seconds: DAY,
    label: "24 hours",
    description: "Somebody left. Programs that get the new key and restart today notice nothing.",
  },
  {
    seconds: 72 * HOUR,
    label: "72 hours",
    description: "A routine change: time to give the new key to every program, one after the other.",
  },
  { seconds: 7 * DAY, label: "7 days", description: "Others have to roll it out, too." },
  { seconds: 30 * DAY, label: "30 days", description: "The longest there is." },
];
/** The same without their occasions, which are those of a rotation. */
const TIMES: Overlap[] = OVERLAPS.map(({ seconds, label }) => ({ seconds, label }));

const page = pageData<Page>();
const root = required(document, "[data-key-page]");
const base = page.keyset.replace(/keyset$/, "");

void start();

async function start(): Promise<void> {
  try {
    show(...overview(await loadKeyset(page.keyset)));
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const again = button("Try again", "secondary", async () => start());
    show(alertBox("danger", "The keys could not be loaded", error.detail), actions(again));
  }
}

function show(...children: Child[]): void {
  root.replaceChildren(...children.filter((child) => child instanceof Node));
}

// --- What there is ---

function overview(keyset: Keyset): Node[] {
  const head = headOf(keyset);
  if (keyset.generations.length === 0) return [firstKey(keyset)];
  // A key from the command line comes without grants, even for those who hold the one before.
  const holdsHead = head === null || head.grant !== null;
  return [
    head?.status === "unproven" && unfinished(keyset, head),
    !holdsHead && page.mayHold && !page.isArchived && head?.status !== "unproven" && notHeld(keyset),
    element(
      "section",
      { class: "stack", "aria-labelledby": "generations" },
      element(
        "div",
        { class: "section-row" },
        element("h2", { class: "section-title", id: "generations" }, "ANY_LLM_KEY"),
        page.mayKeep &&
          !page.isArchived &&
          head?.status === "active" &&
          button("Rotate the key", page.rotationRequired ? "primary" : "secondary", () => beginRotation()),
      ),
      table(keyset),
    ),
    explanation(),
  ].filter((node) => node instanceof Node);
}

function table(keyset: Keyset): HTMLElement {
  const acts = page.mayKeep && !page.isArchived;
  const columns = ["Generation", "State", "Last used", "Used by"];
  return element(
    "div",
    { class: "table-frame" },
    element(
      "table",
      { class: "table" },
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          ...columns.map((name) => element("th", { scope: "col" }, name)),
          acts && element("th", { scope: "col" }, element("span", { class: "sr-only" }, "Actions")),
        ),
      ),
      element("tbody", {}, ...keyset.generations.map((generation) => row(keyset, generation, acts))),
    ),
  );
}

function row(keyset: Keyset, generation: GenerationJson, acts: boolean): HTMLElement {
  const { signer, via } = generation;
  const by = signer ? `signed by ${nameOf(signer)}` : via === "cli" ? "set from the command line" : "signer’s keys are gone";
  return element(
    "tr",
    {},
    element(
      "th",
      { scope: "row" },
      element("span", { class: "cell-main" }, `Generation ${generation.generation}`),
      element("span", { class: "cell-note" }, "Made ", time(generation.created_at), `, ${by}`),
    ),
    element("td", { "data-label": "State" }, ...state(generation)),
    element("td", { "data-label": "Last used" }, generation.last_used_at ? time(generation.last_used_at) : "not yet"),
    element(
      "td",
      { "data-label": "Used by" },
      generation.clients.length > 0 ? generation.clients.map(({ name }) => name).join(", ") : "—",
    ),
    acts && element("td", { class: "row-actions" }, element("div", { class: "row-buttons" }, ...rowActions(keyset, generation))),
  );
}

function state({ status, retire_at }: GenerationJson): Child[] {
  const [tone, label, note]: [string, string, Child] =
    status === "active"
      ? ["badge-sealed", "active", "New programs use it"]
      : status === "unproven"
        ? ["badge-danger", "not used yet", "Nobody has shown to hold it"]
        : ["badge-open", "retiring", retire_at ? element("span", {}, "Ends ", time(retire_at)) : "Ends once the new one is used"];
  return [element("span", { class: `badge ${tone}` }, label), element("span", { class: "cell-note" }, note)];
}

function rowActions(keyset: Keyset, generation: GenerationJson): Child[] {
  const { status, retire_at, grant } = generation;
  const number = generation.generation;
  const isOver = retire_at !== null && new Date(retire_at) <= new Date();
  const headIsActive = headOf(keyset)?.status === "active";
  return [
    grant && small("Show again", number, () => showAgain(keyset, number)),
    status === "retiring" && headIsActive && !isOver && small("Give more time", number, () => extend(number)),
    status === "retiring" && headIsActive && !isOver && small("Roll back", number, () => rollBack(keyset, number)),
    status === "retiring" && headIsActive && small("Retire now", number, () => retireNow(generation)),
  ];
}

function explanation(): HTMLElement {
  return element(
    "section",
    { class: "stack stack-tight narrow", "aria-labelledby": "how" },
    element("h2", { class: "text-title", id: "how" }, "What programs notice"),
    element(
      "p",
      { class: "field-help" },
      "A program reads ANY_LLM_KEY when it starts, and keeps its access for up to 23 hours. After a rotation the old key " +
        "and the new one both work until the old one ends: change the variable and restart, one program after the " +
        "other. When the old key ends, a program that still has it is refused at its next call.",
    ),
    element(
      "p",
      { class: "field-help" },
      "Rotating changes what opens your provider keys, not the provider keys themselves. If somebody may have copied those, " +
        "replace them at the provider, too.",
    ),
  );
}

function unfinished(keyset: Keyset, head: GenerationJson): HTMLElement {
  const before = keyset.generations.find(({ status, retire_at }) => status === "retiring" && retire_at === null);
  const text =
    `The command line set a new key (generation ${head.generation}), and no program has used it yet. ` +
    (before
      ? `The key before it goes on working until one does. If the new key was never printed, undo this.`
      : "If it was never printed, undo this.");
  return alertBox(
    "warning",
    "A rotation from the command line is not finished",
    text,
    page.mayHold && actions(
      button("Paste the new key", "primary", () => paste(keyset)),
      page.mayKeep && button("Undo", "secondary", () => undo(head)),
    ),
  );
}

function notHeld(keyset: Keyset): HTMLElement {
  const holdsOlder = keyset.generations.some(({ grant }) => grant !== null);
  return alertBox(
    "info",
    holdsOlder ? "You don’t hold the newest key" : "You don’t hold this key",
    (holdsOlder
      ? "So you can’t show it, and a rotation would leave provider keys behind."
      : "So you can’t show it, reveal provider keys or rotate.") +
      " Ask a teammate who holds it to give it to you on the Members page, or paste the ANY_LLM_KEY if you have it.",
    actions(
      button("Paste the ANY_LLM_KEY", "secondary", () => paste(keyset)),
      element("a", { class: "button button-quiet", href: page.members }, "Members"),
    ),
  );
}

// --- The first key ---

function firstKey(keyset: Keyset): HTMLElement {
  const text = page.mayCreate
    ? "Your browser makes it: a private key that opens what is sealed for this project. Only its public half is sent to us."
    : "An owner or admin makes it. Until then no provider key can be added.";
  return element(
    "div",
    { class: "empty-state empty-panel" },
    element("h2", { class: "text-title" }, page.mayCreate ? "Make the ANY_LLM_KEY" : "No ANY_LLM_KEY yet"),
    element("div", { class: "empty-state-body" }, element("p", {}, text)),
    page.mayCreate &&
      !page.isArchived &&
      button("Make the key", "primary", async () => {
        const { account, trust } = await unlocked();
        showNewKey(await makeFirstKey(account, trust, keyset), "first");
      }),
  );
}

/** The one time a new key is shown without asking. */
function showNewKey(pair: ProjectKeyPair, occasion: "first" | "rotated" | "replaced"): void {
  const title = element("h2", { class: "section-title", tabindex: "-1" }, "Your new ANY_LLM_KEY");
  const stored = button("I stored it", "primary", async () => {
    page.rotationRequired = false;
    await start();
  });
  show(
    element(
      "section",
      { class: "card" },
      element("header", { class: "card-header" }, title),
      element(
        "div",
        { class: "card-body stack stack-tight" },
        element(
          "p",
          {},
          {
            first: "Give it to your program as the environment variable ANY_LLM_KEY, and keep it where you keep passwords.",
            rotated: "Give it to every program that uses this project, and restart them. Until its time is over, the old key works, too.",
            replaced: "Give it to every program that uses this project, and restart them: the old key opens nothing any more.",
          }[occasion],
        ),
        secretField({ label: "ANY_LLM_KEY", value: pair.anyLlmKey, seconds: 120 }),
        element(
          "p",
          { class: "field-help" },
          "We don’t have it. Members who hold this project’s keys can show it again here; if all of them lose their keys, " +
            "this text is what brings them back.",
        ),
      ),
      element("footer", { class: "card-footer" }, stored, element("a", { class: "button button-secondary", href: base }, "Provider keys")),
    ),
  );
  title.focus();
}

async function showAgain(keyset: Keyset, generation: number): Promise<void> {
  const { account, trust } = await unlocked();
  await withReauthentication(() => postJson(`${base}keys/shown`, { generation }));
  const pair = await openProjectKey(account, trust, keyset, generation);
  const body = element(
    "div",
    { class: "stack stack-tight" },
    element("p", {}, "Whoever has it can read every provider key of this project. That you showed it is in the activity."),
    secretField({ label: `ANY_LLM_KEY, generation ${generation}`, value: pair.anyLlmKey }),
  );
  const done = element("button", { type: "button", class: "button button-primary" }, "Done");
  const { close } = openDialog({ title: `ANY_LLM_KEY, generation ${generation}`, body, actions: [done] });
  done.addEventListener("click", () => close());
}

// --- Old keys ---

async function extend(generation: number): Promise<void> {
  const seconds = await askOverlap({
    title: "Give the old key more time",
    text: "From now on it goes on working for:",
    submit: "Give it more time",
    choices: TIMES.filter((choice) => choice.seconds > 0),
  });
  if (seconds === null) return;
  await change("keys/extend", { generation, overlap_seconds: seconds }, "The old key has more time.");
}

async function rollBack(keyset: Keyset, generation: number): Promise<void> {
  const head = headOf(keyset);
  const seconds = await askOverlap({
    title: `Roll back to generation ${generation}`,
    text: `Generation ${generation} is the key for new programs again. Generation ${head?.generation} goes on working for:`,
    submit: "Roll back",
    choices: TIMES,
  });
  if (seconds === null) return;
  await change("keys/roll-back", { generation, overlap_seconds: seconds }, "The old key is the project’s key again.");
}

async function retireNow({ generation, clients, last_used_at }: GenerationJson): Promise<void> {
  const users = clients.length > 0 ? ` It was last used by ${clients.map(({ name }) => name).join(", ")}.` : "";
  const used = last_used_at ? ` Its last use was ${relativeTime(new Date(last_used_at))}.${users}` : " It was never used.";
  const agreed = await confirmAction({
    title: `Retire generation ${generation} now?`,
    body: `Programs that still have this ANY_LLM_KEY are refused at their next call.${used}\n\nThis can’t be undone.`,
    confirm: "Retire now",
    danger: true,
  });
  if (agreed) await change("keys/retire", { generation }, "The old key is retired.");
}

async function undo({ generation }: GenerationJson): Promise<void> {
  const agreed = await confirmAction({
    title: "Undo the rotation from the command line?",
    body: `Generation ${generation} is deleted, with what was sealed for it, and the key before it is the project’s key again.`,
    confirm: "Undo",
    danger: true,
  });
  if (agreed) await change("keys/undo", { generation }, "The rotation was undone.");
}

async function change(action: string, body: unknown, done: string): Promise<void> {
  await withReauthentication(() => postJson(base + action, body));
  await start();
  toast(done, "sealed");
}

function paste(keyset: Keyset): Promise<void> {
  const id = uniqueId("key");
  const cancel = element("button", { type: "button", class: "button button-secondary" }, "Cancel");
  const form = element(
    "form",
    { class: "dialog-form" },
    element("p", {}, "Your browser checks that it is this project’s key. It is wrapped for you before anything is sent."),
    element(
      "div",
      { class: "field" },
      element("label", { for: id }, "ANY_LLM_KEY"),
      element("textarea", {
        id,
        name: "key",
        class: "input-code",
        rows: 3,
        required: true,
        autocomplete: "off",
        autocapitalize: "none",
        spellcheck: "false",
        placeholder: "ANY.v1.…",
      }),
    ),
    element("div", { class: "dialog-actions" }, element("button", { type: "submit", class: "button button-primary" }, "Keep it"), cancel),
  );
  const { close } = openDialog({ title: "Paste the ANY_LLM_KEY", body: form });
  cancel.addEventListener("click", () => close());
  onSubmit(form, async (data) => {
    const { account, trust } = await unlocked();
    await adopt(account, trust, keyset, String(data.get("key") ?? ""));
    form.reset();
    close();
    page.mayKeep = true;
    toast("You hold this project’s key now. Give it to your team on the Members page.", "sealed");
    await start();
  });
  return Promise.resolve();
}

// --- Rotation ---

async function beginRotation(): Promise<void> {
  const { account, trust } = await unlocked();
  let draft: Draft;
  try {
    draft = await draftRotation(account, trust, base);
  } catch (error) {
    if (!(error instanceof FormError)) throw error;
    const agreed = await confirmAction({
      title: "Rotate without the present key?",
      body:
        `${error.message}\n\nWithout it, no provider key can be carried over: you enter each of them again afterwards. ` +
        "Programs with the present key go on until it ends.",
      confirm: "Go on without it",
      danger: true,
    });
    if (!agreed) return;
    draft = await draftRotation(account, trust, base, false);
  }
  showWizard(account, trust, draft);
}

function showWizard(account: Account, trust: Trust, draft: Draft): void {
  const lost = draft.keys.filter(({ value }) => value === null);
  const sealed = draft.keys.length - lost.length;
  const title = element("h2", { class: "section-title", tabindex: "-1" }, "Rotate the ANY_LLM_KEY");
  const status = element("p", { class: "field-help", role: "status" });
  const submit = element("button", { type: "submit", class: "button button-primary" }, "Rotate the key");
  const form = element(
    "form",
    { class: "form narrow" },
    title,
    element(
      "p",
      {},
      `Your browser makes a new key${sealed > 0 ? ` and seals ${counted(sealed, "provider key")} for it` : ""}. ` +
        "The old key and the new one work side by side for the time you choose.",
    ),
    overlapField("How long does the old key go on?", OVERLAPS, page.rotationRequired ? DAY : 72 * HOUR),
    recipientsField(draft.recipients),
    lost.length > 0 && lostField(lost),
    element("div", { class: "actions" }, submit, button("Cancel", "secondary", () => start())),
    status,
  );
  onSubmit(form, async (data) => {
    const chosen = draft.recipients.filter(({ json }) => data.getAll("recipient").includes(json.vault_id));
    await pinCompared(trust, chosen);
    try {
      const pair = await rotate(
        account,
        trust,
        draft,
        {
          overlapSeconds: Number(data.get("overlap")),
          recipients: chosen,
          leaveBehind: new Set(data.getAll("leave").map(String)),
        },
        (step) => {
          status.textContent = `${step}…`;
        },
      );
      showNewKey(pair, Number(data.get("overlap")) > 0 ? "rotated" : "replaced");
      announce("The key was rotated.");
    } catch (error) {
      status.textContent = "";
      if (!(error instanceof ApiError) || error.status !== 409) throw error;
      // Nothing was stored: what is there now is read again, and the person looks at it again.
      showWizard(account, trust, await draftRotation(account, trust, base));
      toast(error.detail, "warning");
    }
  });
  show(form);
  title.focus();
}

/** People are not asked for again once somebody agreed to their keys. */
async function pinCompared(trust: Trust, recipients: Recipient[]): Promise<void> {
  const met = recipients.filter(({ comparison }) => comparison === "new");
  for (const { identity } of met) if (identity) trust.store.pinMember(identity, true);
  if (met.length > 0) await trust.save();
}

function overlapField(legend: string, choices: Overlap[], chosen: number): HTMLElement {
  return element(
    "fieldset",
    { class: "field" },
    element("legend", {}, legend),
    element(
      "div",
      { class: "radio-cards" },
      ...choices.map(({ seconds, label, description }) => {
        const id = uniqueId("overlap");
        return element(
          "label",
          { class: "radio-card", for: id },
          element("input", { type: "radio", id, name: "overlap", value: seconds, checked: seconds === chosen, required: true }),
          element(
            "span",
            {},
            element("span", { class: "radio-card-label" }, label),
            description && element("span", { class: "radio-card-description" }, description),
          ),
        );
      }),
    ),
  );
}

function recipientsField(recipients: Recipient[]): HTMLElement {
  return element(
    "fieldset",
    { class: "field" },
    element("legend", {}, "Who keeps access?"),
    recipients.length === 0
      ? element("p", { class: "field-help" }, "You alone. Nobody else is to hold this project’s keys.")
      : element("p", { class: "field-help" }, "Members who are to hold this project’s keys get the new one, sealed for each."),
    ...recipients.map(recipientField),
  );
}

function recipientField({ json, identity, comparison }: Recipient): HTMLElement {
  const id = uniqueId("recipient");
  const known = comparison === "same";
  const name = nameOf(json);
  return element(
    "div",
    { class: "field field-check" },
    element("input", {
      type: "checkbox",
      id,
      name: "recipient",
      value: json.vault_id,
      checked: known,
      disabled: comparison === "changed",
    }),
    element(
      "div",
      { class: "stack stack-tight" },
      element("div", {}, element("label", { for: id }, name), name !== json.email && element("span", { class: "cell-note" }, json.email)),
      comparison === "changed" &&
        element(
          "p",
          { class: "field-error" },
          `The keys of ${name} are not those you know them by: a password reset, or an attack. Confirm them on the Members page first.`,
        ),
      comparison === "new" &&
        identity &&
        element(
          "div",
          { class: "stack stack-tight" },
          element("p", { class: "field-help" }, `Tick ${name} once you have compared this fingerprint with them.`),
          fingerprintDisplay(fingerprint(identity), `Fingerprint of ${name}`),
        ),
    ),
  );
}

function lostField(lost: OpenedKey[]): HTMLElement {
  return element(
    "fieldset",
    { class: "field" },
    element("legend", {}, `${counted(lost.length, "provider key")} can’t be opened`),
    element(
      "p",
      { class: "field-help" },
      "They can’t be sealed for the new key. Leave them behind and enter them again afterwards, or cancel and replace them first. " +
        "Programs with the old key go on using them until it ends.",
    ),
    ...lost.map(({ id: value, provider, is_archived }) => {
      const id = uniqueId("leave");
      return element(
        "div",
        { class: "field field-check" },
        element("input", { type: "checkbox", id, name: "leave", value, required: true }),
        element("div", {}, element("label", { for: id }, `Leave ${provider}${is_archived ? " (archived)" : ""} behind`)),
      );
    }),
  );
}

interface OverlapQuestion {
  title: string;
  text: string;
  submit: string;
  choices: Overlap[];
}

/** Seconds, or null after "Cancel". */
async function askOverlap({ title, text, submit, choices }: OverlapQuestion): Promise<number | null> {
  const cancel = element("button", { type: "button", class: "button button-secondary" }, "Cancel");
  const go = element("button", { type: "submit", class: "button button-primary" }, submit);
  const form = element(
    "form",
    { class: "dialog-form", method: "dialog" },
    overlapField(text, choices, 72 * HOUR),
    element("div", { class: "dialog-actions" }, go, cancel),
  );
  const opened = openDialog({ title, body: form });
  cancel.addEventListener("click", () => opened.close());
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    opened.close(String(new FormData(form).get("overlap")));
  });
  const answer = await opened.closed;
  return answer === "" ? null : Number(answer);
}

// --- Pieces ---

async function unlocked(): Promise<{ account: Account; trust: Trust }> {
  const account = await requireAccount();
  return { account, trust: await trustSession(account) };
}

/** A button whose errors are shown as a toast. It is busy until `action` settles. */
function button(label: Child, variant: string, action: () => Promise<void>, extra = ""): HTMLButtonElement {
  const made = element("button", { type: "button", class: `button button-${variant}${extra}` }, label);
  made.addEventListener("click", () => {
    if (made.getAttribute("aria-busy") === "true") return;
    setBusy(null, made, true);
    action()
      .catch(report)
      .finally(() => setBusy(null, made, false));
  });
  return made;
}

function small(label: string, generation: number, action: () => Promise<void>): HTMLButtonElement {
  const made = button(label, "quiet", action, " button-small");
  made.append(element("span", { class: "sr-only" }, ` (generation ${generation})`));
  return made;
}

function report(error: unknown): void {
  if (error instanceof Error && error.name === "Cancelled") return;
  if (error instanceof ApiError || error instanceof FormError) {
    toast(error.message, "danger");
    // What is shown may be out of date.
    if (error instanceof ApiError && error.status === 409) void start();
    return;
  }
  toast(error instanceof Error && error.name === "VaultError" ? error.message : "Something in this page broke. Reload it.", "danger");
  reportError(error);
}

function actions(...buttons: Child[]): HTMLElement {
  return element("div", { class: "actions" }, ...buttons);
}

function alertBox(tone: "info" | "warning" | "danger", title: string, text: string, ...more: Child[]): HTMLElement {
  return element(
    "div",
    { class: `alert alert-${tone}` },
    element(
      "div",
      { class: "alert-body stack stack-tight" },
      element("p", { class: "alert-title" }, title),
      element("p", {}, text),
      ...more,
    ),
  );
}

function time(iso: string): HTMLElement {
  const date = new Date(iso);
  const title = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" }).format(date);
  return element("time", { datetime: iso, title, "data-relative": true }, relativeTime(date));
}
