/** Choosing a provider and entering its key, on the page of provider keys and for new people. */

import { ApiError } from "./http";
import { loadKeyset, sealForProject, type SignedBoxJson } from "./keyset";
import { element, uniqueId } from "./ui/dom";
import { FormError, onSubmit } from "./ui/form";
import { connectPasswordToggle } from "./ui/password";
import { requireAccount, trustSession } from "./unlock";

/** A provider that any-llm knows (apps/vault/providers.py). */
export interface Provider {
  name: string;
  label: string;
  variable: string;
  key: "required" | "optional" | "none";
  is_local: boolean;
  prefix: string;
  url: string;
  model: string;
}

/** One that is not in the list: any name can be stored, any-llm decides what to make of it. */
export function unlisted(name: string): Provider {
  return { name, label: name, variable: "", key: "optional", is_local: false, prefix: "", url: "", model: "" };
}

/** What the server takes as a provider's name. */
const NAME = /^[a-z0-9][a-z0-9_.-]{0,63}$/;

/** Seals a value for the project whose pages begin with `base`, after unlocking; sealing again if a rotation came between. */
export async function sealAndSend<Answer>(
  base: string,
  provider: string,
  value: string,
  send: (boxes: SignedBoxJson[]) => Promise<Answer>,
): Promise<Answer> {
  const account = await requireAccount();
  const trust = await trustSession(account);
  for (let attempt = 1; ; attempt++) {
    const keyset = await loadKeyset(`${base}keyset`);
    const boxes = await sealForProject(account, trust, keyset, provider, value);
    try {
      return await send(boxes);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "keyset_changed" || attempt === 3) throw error;
    }
  }
}

export interface ProviderKeyForm {
  form: HTMLFormElement;
  /** Shows a sentence above the fields, which keep what was typed. */
  focus(): void;
}

interface Options {
  /** One: its key is entered. Several: it is chosen first. */
  providers: readonly Provider[];
  /** Names that have a key already. */
  taken?: readonly string[];
  submit: string;
  /** Buttons beside the one that submits. */
  others?: HTMLElement[];
  save(provider: Provider, value: string): Promise<void>;
}

/** A form that gives `save` a provider and a key; what it rejects with is shown, and nothing that was typed is lost. */
export function providerKeyForm({ providers, taken = [], submit, others = [], save }: Options): ProviderKeyForm {
  const [only] = providers;
  const isFixed = providers.length === 1;
  const keyField = new KeyField();
  const picker = isFixed ? null : new Picker(providers, taken, (provider) => keyField.show(provider));
  const button = element("button", { type: "submit", class: "button button-primary" }, submit);
  const form = element(
    "form",
    { class: "form provider-key-form", novalidate: true, autocomplete: "off" },
    picker?.root,
    keyField.root,
    element("div", { class: "dialog-actions" }, button, ...others),
  );
  if (isFixed && only) keyField.show(only);
  onSubmit(form, async () => {
    const provider = picker ? picker.chosen : only;
    if (!provider) throw new FormError("", { "provider-search": "Choose a provider." });
    const value = keyField.read(provider);
    await save(provider, value);
    keyField.clear();
  });
  return { form, focus: () => (picker ? picker.focus() : keyField.focus()) };
}

/** A search field over radio buttons: works with a pointer, a keyboard and a screen reader as they are. */
class Picker {
  readonly root: HTMLElement;
  chosen: Provider | null = null;
  readonly #search: HTMLInputElement;
  readonly #rows: { provider: Provider; row: HTMLElement; words: string }[];
  readonly #groups: HTMLElement[];
  readonly #status: HTMLElement;
  readonly #other: HTMLElement;
  readonly #otherName: HTMLElement;
  readonly #otherRadio: HTMLInputElement;
  readonly #choose: (provider: Provider) => void;

  constructor(providers: readonly Provider[], taken: readonly string[], choose: (provider: Provider) => void) {
    this.#choose = choose;
    this.#rows = providers.map((provider) => {
      const isTaken = taken.includes(provider.name);
      const note = isTaken ? "has a key: replace it in the list" : describe(provider);
      const { row } = radio(provider.name, provider.label, note, isTaken, () => this.#pick(provider));
      const words = [provider.label, provider.name, provider.variable].join(" ").toLowerCase();
      return { provider, row, words };
    });
    const of = (local: boolean) => this.#rows.filter(({ provider }) => provider.is_local === local).map(({ row }) => row);
    this.#groups = [group("In the cloud", of(false)), group("On your own machines", of(true))];

    this.#otherName = element("code", {});
    const other = radio("", this.#otherName, "Not in the list, but any-llm may know it.", false, () => {
      this.#pick(unlisted(this.#typed));
    });
    [this.#other, this.#otherRadio] = [other.row, other.input];
    this.#other.hidden = true;

    const id = uniqueId("provider-search");
    this.#search = element("input", {
      id,
      name: "provider-search",
      type: "search",
      placeholder: "OpenAI, GROQ_API_KEY, …",
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
      on: { input: () => this.#filter() },
    });
    // Enter in the search chooses what is left; it must not submit a form that has no key yet.
    this.#search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      const [first] = this.root.querySelectorAll<HTMLInputElement>(".radio-card:not([hidden]) input:not(:disabled)");
      first?.click();
      first?.focus();
    });
    this.#status = element("p", { class: "sr-only", role: "status" });
    this.root = element(
      "fieldset",
      { class: "field provider-picker" },
      element("legend", {}, "Provider"),
      element("div", { class: "field" }, element("label", { for: id, class: "sr-only" }, "Search providers"), this.#search),
      this.#status,
      element("div", { class: "provider-list" }, ...this.#groups, this.#other),
    );
  }

  focus(): void {
    this.#search.focus();
  }

  get #typed(): string {
    return this.#search.value.trim().toLowerCase();
  }

  #pick(provider: Provider): void {
    this.chosen = provider;
    this.#choose(provider);
  }

  #filter(): void {
    const typed = this.#typed;
    let found = 0;
    for (const { row, words } of this.#rows) {
      row.hidden = !words.includes(typed);
      if (!row.hidden) found += 1;
    }
    for (const each of this.#groups) each.hidden = !each.querySelector(".radio-card:not([hidden])");
    this.#other.hidden = found > 0 || !NAME.test(typed);
    this.#otherName.textContent = typed;
    if (this.#otherRadio.checked) this.chosen = this.#other.hidden ? null : unlisted(typed);
    if (this.#other.hidden) this.#otherRadio.checked = false;
    this.#status.textContent = found === 1 ? "1 provider" : `${found} providers`;
  }
}

function group(title: string, rows: HTMLElement[]): HTMLElement {
  const id = uniqueId("providers");
  return element(
    "div",
    { role: "group", "aria-labelledby": id },
    element("p", { id, class: "provider-group" }, title),
    element("div", { class: "provider-grid" }, ...rows),
  );
}

function radio(value: string, label: Node | string, note: string, disabled: boolean, choose: () => void) {
  const input = element("input", { type: "radio", name: "provider", value, disabled, on: { change: choose } });
  const row = element(
    "label",
    { class: "radio-card" },
    input,
    element(
      "span",
      {},
      element("span", { class: "radio-card-label" }, label),
      element("span", { class: "radio-card-description" }, note),
    ),
  );
  return { row, input };
}

function describe({ key, is_local, variable, name }: Provider): string {
  if (key === "none") return is_local ? "needs no key" : "uses your cloud’s credentials";
  return variable && variable.length <= 28 ? variable : name;
}

/** The key itself: covered, with a hint of what it looks like. The hint never stands in the way. */
class KeyField {
  readonly root: HTMLElement;
  readonly #field: HTMLElement;
  readonly #input: HTMLInputElement;
  readonly #label: HTMLElement;
  readonly #optional: HTMLElement;
  readonly #help: HTMLElement;
  readonly #odd: HTMLElement;
  readonly #none: HTMLElement;
  #provider: Provider | null = null;

  constructor() {
    const id = uniqueId("provider-key");
    this.#input = element("input", {
      id,
      name: "value",
      type: "password",
      // Not one of the person's own passwords: their manager should neither fill nor keep it.
      autocomplete: "off",
      "data-1p-ignore": true,
      "data-lpignore": "true",
      autocapitalize: "none",
      spellcheck: "false",
      "aria-describedby": `${id}-help ${id}-odd`,
      on: { input: () => this.#look() },
    });
    const toggle = element(
      "button",
      { type: "button", class: "field-password-toggle", "aria-pressed": "false", hidden: true },
      "Show",
      element("span", { class: "sr-only" }, " key"),
    );
    this.#label = element("label", { for: id }, "Key");
    this.#optional = element("span", { class: "field-optional" }, " optional");
    this.#help = element("p", { class: "field-help", id: `${id}-help` });
    this.#odd = element("p", { class: "field-help provider-key-odd", id: `${id}-odd`, role: "status" });
    this.#field = element(
      "div",
      { class: "field" },
      element("div", { class: "field-label" }, element("span", {}, this.#label, this.#optional)),
      element("div", { class: "field-password" }, this.#input, toggle),
      this.#help,
      this.#odd,
      element("p", { class: "field-error", "data-field-error": true, hidden: true }),
    );
    this.#none = element("p", { class: "alert", hidden: true });
    this.root = element("div", { hidden: true }, this.#field, this.#none);
    connectPasswordToggle(toggle);
  }

  focus(): void {
    this.#input.focus();
  }

  clear(): void {
    this.#input.value = "";
  }

  show(provider: Provider): void {
    this.#provider = provider;
    const { label, key, is_local, prefix, url } = provider;
    this.root.hidden = false;
    this.#field.hidden = key === "none";
    this.#none.hidden = key !== "none";
    this.#none.textContent = is_local
      ? `${label} runs on your own machines and needs no key. Adding it lets this project’s programs use it, and counts its calls.`
      : `any-llm reads your cloud’s own credentials for ${label} and needs no key. Adding it lets this project’s programs use it.`;
    this.#label.textContent = `${label} key`;
    this.#optional.hidden = key !== "optional";
    const looks = prefix ? `It starts with ${prefix}. ` : "";
    const where = url
      ? element("a", { href: url, rel: "noreferrer", target: "_blank" }, new URL(url).hostname.replace(/^www\./, ""))
      : null;
    this.#help.replaceChildren(looks, ...(where ? ["You get one at ", where, ". "] : []), SEALED);
    this.#look();
  }

  /** The value without the space around it that pasting brings along. FormError when it can't be a key. */
  read({ key, label, is_local }: Provider): string {
    if (key === "none") return "";
    const value = this.#input.value.trim();
    // any-llm hands it to a library that refuses an empty key, even where the server asks for none.
    if (value === "" && key === "optional" && is_local) return "no-key-required";
    if (value === "" && key === "required") throw new FormError("", { value: `Enter the ${label} key.` });
    if (/^ANY\.v1\./.test(value)) {
      throw new FormError("", { value: "This is an ANY_LLM_KEY: what programs use in place of provider keys." });
    }
    return value;
  }

  #look(): void {
    const value = this.#input.value.trim();
    const prefix = this.#provider?.prefix ?? "";
    const odd = /\s/.test(value)
      ? "There is a space in it. Was something else copied along?"
      : value.length >= prefix.length && prefix !== "" && !value.startsWith(prefix)
        ? `Keys of ${this.#provider?.label} usually start with ${prefix}. You can save it anyway.`
        : "";
    this.#odd.textContent = odd;
  }
}

const SEALED = "It is sealed in this browser before it is sent.";
