/** Forms that a page's module sends: one submission at a time, errors beside their fields. */

import { ApiError } from "../http";
import { element, uniqueId } from "./dom";

/** What a handler throws about the form itself. `fields`: a message for each field, by its name. */
export class FormError extends Error {
  override readonly name = "FormError";
  readonly fields: Record<string, string>;

  constructor(message: string, fields: Record<string, string> = {}) {
    super(message);
    this.fields = fields;
  }
}

export type SubmitHandler = (data: FormData, submitter: HTMLElement | null) => Promise<void>;

const BROKEN = "Something in this page broke. Reload it and try again.";
/**
 * Calls `handler` when the form is submitted, in place of sending it.
 *
 * Until it settles the form is busy and can't be submitted again. What it rejects with is shown: FormError beside the
 * fields it names, ApiError's `detail` above the form. A rejection named "Cancelled" is the
 * person's own doing and shows nothing. Anything else is a bug: it is shown as such and reported.
 */
export function onSubmit(form: HTMLFormElement, handler: SubmitHandler): void {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    clearErrors(form);
    const submitter = event.submitter;
    // Before anything is disabled: disabled controls are not in it.
    const data = new FormData(form, submitter);
    setBusy(form, submitter, true);
    handler(data, submitter)
      .catch((error: unknown) => showError(form, error))
      .finally(() => setBusy(form, submitter, false));
  });
}

/** Marks a button (and its form) as working. It keeps its width, its label and the focus; it does nothing meanwhile. */
export function setBusy(form: HTMLFormElement | null, button: HTMLElement | null, busy: boolean): void {
  for (const changed of [form, button]) {
    if (busy) changed?.setAttribute("aria-busy", "true");
    else changed?.removeAttribute("aria-busy");
  }
}

/** Takes away every error that showError left, and those the server rendered. */
export function clearErrors(form: HTMLFormElement): void {
  for (const area of form.querySelectorAll<HTMLElement>("[data-form-error], [data-field-error]")) {
    area.textContent = "";
    area.hidden = true;
  }
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
}

/** Shows an error in the form and moves the focus to the first field that is wrong, else to the message. */
export function showError(form: HTMLFormElement, error: unknown): void {
  if (error instanceof Error && error.name === "Cancelled") return;
  if (error instanceof FormError) {
    const wrong = Object.entries(error.fields)
      .map(([name, message]) => showFieldError(form, name, message))
      .filter((control) => control !== null);
    // In the order of the page, not of the object.
    const first = [...form.elements].find((control) => (wrong as Element[]).includes(control));
    if (error.message || !first) showFormError(form, error.message || BROKEN, !first);
    if (first instanceof HTMLElement) first.focus();
    return;
  }
  if (error instanceof ApiError) return showFormError(form, error.detail);
  showFormError(form, BROKEN);
  reportError(error);
}

/** Shows a sentence above the form, read out at once. */
export function showFormError(form: HTMLFormElement, message: string, focus = true): void {
  let area = form.querySelector<HTMLElement>("[data-form-error]");
  if (!area) {
    area = element("p", { class: "alert alert-danger form-error", role: "alert", "data-form-error": true, tabindex: "-1" });
    form.prepend(area);
  }
  area.textContent = message;
  area.hidden = false;
  if (focus) area.focus();
}

/** Shows a message beside a field (components/field.html). Returns its control, null when the form has none. */
export function showFieldError(form: HTMLFormElement, name: string, message: string): HTMLElement | null {
  const named = form.elements.namedItem(name);
  const control = named instanceof RadioNodeList ? named[0] : named;
  if (!(control instanceof HTMLElement)) return null;
  const field = control.closest(".field") ?? control.parentElement ?? form;
  let area = field.querySelector<HTMLElement>("[data-field-error]");
  if (!area) {
    area = element("p", { class: "field-error", "data-field-error": true });
    field.append(area);
  }
  area.id ||= uniqueId("error");
  area.textContent = message;
  area.hidden = false;
  control.setAttribute("aria-invalid", "true");
  const described = new Set((control.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean));
  control.setAttribute("aria-describedby", [...described.add(area.id)].join(" "));
  return control;
}
