/** Short messages that lie over the page. They are announced without taking the focus. */

import { element } from "./dom";

/** As the tones of alerts: "sealed" is success. */
export type Tone = "info" | "sealed" | "warning" | "danger";

/** Long enough to be read twice; the pointer or the focus on it stops the clock. */
const SHOWN_MS = 8000;

/** Shows a message. "danger" and "warning" stay until they are dismissed, the others leave after a while. */
export function toast(message: string, tone: Tone = "info"): void {
  const stays = tone === "danger" || tone === "warning";
  const dismiss = element("button", { type: "button", class: "toast-dismiss" }, "Dismiss");
  const box = element("div", { class: `toast toast-${tone}` }, element("p", {}, message), dismiss);
  dismiss.addEventListener("click", () => {
    // The focus would fall to the start of the document with the button.
    if (box.contains(document.activeElement)) document.querySelector("main")?.focus({ preventScroll: true });
    box.remove();
  });
  region().append(box);
  if (!stays) leaveLater(box);
}

function leaveLater(box: HTMLElement): void {
  let timer = 0;
  const start = (): void => {
    timer = window.setTimeout(() => box.remove(), SHOWN_MS);
  };
  for (const event of ["pointerenter", "focusin"]) box.addEventListener(event, () => window.clearTimeout(timer));
  for (const event of ["pointerleave", "focusout"]) {
    box.addEventListener(event, () => {
      window.clearTimeout(timer);
      start();
    });
  }
  start();
}

/** The page's region for toasts. What lies outside an open modal dialog can't be reached, so it moves in there. */
function region(): HTMLElement {
  const found =
    document.querySelector<HTMLElement>("[data-toasts]") ??
    element("div", { class: "toasts", role: "region", "aria-label": "Messages", "aria-live": "polite", "data-toasts": true });
  const modal = [...document.querySelectorAll<HTMLDialogElement>("dialog:modal")].at(-1);
  const host = modal ?? document.body;
  if (found.parentElement !== host) {
    host.append(found);
    modal?.addEventListener("close", () => document.body.append(found), { once: true });
  }
  return found;
}

/** Says a sentence to screen readers, for what is to be seen already. */
export function announce(message: string): void {
  const made = element("div", { class: "sr-only", role: "status" });
  document.body.append(made);
  // A live region speaks of what changes in it after it is there.
  window.setTimeout(() => {
    made.textContent = message;
    window.setTimeout(() => made.remove(), SHOWN_MS);
  }, 100);
}
