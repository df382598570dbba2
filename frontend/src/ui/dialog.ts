/** Modal dialogs: the browser's own `<dialog>`, which keeps the focus inside and closes on Escape. */

import { element, uniqueId, type Child } from "./dom";

export interface DialogOptions {
  title: string;
  /** A sentence, or elements: a form with its own buttons, for example. */
  body: string | Node;
  /** Buttons below the body, the one that goes on first. */
  actions?: HTMLElement[];
  /** A red rule: something is lost. */
  danger?: boolean;
}

export interface OpenedDialog {
  dialog: HTMLDialogElement;
  /** Closes it; `closed` then resolves to `value`. */
  close: (value?: string) => void;
  /** Resolves when it is closed, to the value given, "" after Escape. */
  closed: Promise<string>;
}

/** Shows a modal dialog. Once closed it leaves the document, and the focus returns to where it was. */
export function openDialog({ title, body, actions = [], danger = false }: DialogOptions): OpenedDialog {
  const origin = document.activeElement;
  const titleId = uniqueId("dialog-title");
  const dialog = element(
    "dialog",
    { class: danger ? "dialog dialog-danger" : "dialog", "aria-labelledby": titleId },
    element("h2", { class: "dialog-title", id: titleId }, title),
    element("div", { class: "dialog-body" }, ...paragraphs(body)),
    actions.length > 0 && element("div", { class: "dialog-actions" }, ...actions),
  );
  const closed = new Promise<string>((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      returnFocus(origin);
      resolve(dialog.returnValue);
    });
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, close: (value = "") => dialog.close(value), closed };
}

export interface ConfirmOptions {
  title: string;
  /** What happens, and to whom. */
  body: string | Node;
  /** The verb on the button. */
  confirm: string;
  danger?: boolean;
  /** What has to be typed first, such as the name of what is deleted. */
  typed?: string;
}

/** Asks before something is done: true when it was confirmed, false after "Cancel" and Escape. */
export async function confirmAction({ title, body, confirm, danger = false, typed }: ConfirmOptions): Promise<boolean> {
  const submit = element("button", { type: "submit", class: `button button-${danger ? "danger" : "primary"}` }, confirm);
  const cancel = element("button", { type: "button", class: "button button-secondary" }, "Cancel");
  const form = element("form", { method: "dialog", class: "dialog-form" }, ...paragraphs(body));

  if (typed !== undefined) {
    const id = uniqueId("confirm");
    const input = element("input", { id, type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false" });
    const label = element("label", { for: id }, "Type ", element("strong", { class: "typed-word" }, typed), " to confirm");
    form.append(element("div", { class: "field" }, label, input));
    const matches = (): boolean => input.value.trim() === typed.trim();
    submit.disabled = true;
    input.addEventListener("input", () => {
      submit.disabled = !matches();
    });
    // Browsers don't submit while the button is disabled; an extension could.
    form.addEventListener("submit", (event) => {
      if (!matches()) event.preventDefault();
    });
  }
  form.append(element("div", { class: "dialog-actions" }, submit, cancel));
  const opened = openDialog({ title, body: form, danger });
  submit.value = "confirmed";
  cancel.addEventListener("click", () => opened.close());
  // Enter on a dialog that just appeared must not delete anything.
  if (danger && typed === undefined) cancel.focus();
  return (await opened.closed) === "confirmed";
}

function paragraphs(body: string | Node): Child[] {
  return typeof body === "string" ? body.split("\n\n").map((text) => element("p", {}, text)) : [body];
}

/** Back to where the focus was; if that is gone or hidden by now, to the menu it was in or the page's content. */
function returnFocus(origin: Element | null): void {
  const menu = origin?.closest("details:not([open])")?.querySelector("summary");
  const target = menu ?? (origin?.isConnected && origin !== document.body ? origin : document.querySelector("main"));
  if (target instanceof HTMLElement || target instanceof SVGElement) target.focus();
}

/** Makes `<button data-opens="id">` open the `<dialog id>` of components/dialog.html, and its `[data-close]` close it. */
export function connectDialogButtons(root: ParentNode = document): void {
  for (const button of root.querySelectorAll<HTMLButtonElement>("button[data-opens]")) {
    const dialog = document.getElementById(button.dataset["opens"] ?? "");
    if (!(dialog instanceof HTMLDialogElement)) throw new Error(`There is no dialog ${button.dataset["opens"]}.`);
    button.addEventListener("click", () => dialog.showModal());
    button.hidden = false;
  }
  for (const button of root.querySelectorAll<HTMLButtonElement>("dialog [data-close]")) {
    button.addEventListener("click", () => button.closest("dialog")?.close());
  }
}

/**
 * Makes `<form data-confirm="title" data-confirm-body data-confirm-action data-confirm-danger data-confirm-typed>` ask
 * before it is sent. For forms that Django handles; modules call confirmAction.
 */
export function connectConfirmedForm(form: HTMLFormElement): void {
  let confirmed = false;
  form.addEventListener("submit", (event) => {
    if (confirmed) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const { confirm: title = "", confirmBody = "", confirmAction: verb = "Continue", confirmTyped } = form.dataset;
    const submitter = event.submitter;
    void confirmAction({
      title,
      body: confirmBody,
      confirm: verb,
      danger: "confirmDanger" in form.dataset,
      ...(confirmTyped === undefined ? {} : { typed: confirmTyped }),
    }).then((agreed) => {
      if (!agreed) return;
      confirmed = true;
      form.requestSubmit(submitter);
      confirmed = false;
    });
  });
}
