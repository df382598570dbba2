/** A secret on a page: covered, until somebody asks for it, and for a short time only. */

import { connectCopy } from "../copy";
import { element } from "./dom";
import { toast } from "./toast";

const COVER = "•".repeat(24);

export interface SecretOptions {
  /** What it is, for screen readers: "OpenAI key". */
  label: string;
  /** The secret, or how to get it. It is asked for at each reveal and each copy, and not kept. */
  value: string | (() => string | Promise<string>);
  /** How long it is shown. */
  seconds?: number;
}

/**
 * A field with "Reveal" and "Copy". What `value` rejects with is shown as a toast, except a rejection named "Cancelled".
 *
 * It is covered again after `seconds`, and when the page is hidden.
 */
export function secretField({ label, value, seconds = 30 }: SecretOptions): HTMLElement {
  const read = async (): Promise<string> => (typeof value === "string" ? value : await value());
  const text = element("code", { class: "secret-value" }, COVER);
  const note = element("span", { class: "secret-note" }, "Covered");
  const reveal = element("button", { type: "button", class: "copy" }, "Reveal");
  const copyLabel = element("span", { "data-copy-label": true }, "Copy");
  const copy = element("button", { type: "button", class: "copy", "aria-label": `Copy ${label}`, hidden: true }, copyLabel);
  const root = element(
    "div",
    { class: "secret", role: "group", "aria-label": label },
    text,
    element("div", { class: "secret-bar" }, reveal, copy, note),
  );

  let timer = 0;
  const cover = (): void => {
    window.clearInterval(timer);
    text.textContent = COVER;
    note.textContent = "Covered";
    reveal.textContent = "Reveal";
    root.classList.remove("secret-shown");
    document.removeEventListener("visibilitychange", cover);
  };
  const uncover = (secret: string): void => {
    const end = performance.now() + seconds * 1000;
    const tick = (): void => {
      const left = Math.ceil((end - performance.now()) / 1000);
      // A page that left the document keeps no secret either.
      if (left <= 0 || !root.isConnected) return cover();
      note.textContent = `Covered again in ${left} s`;
    };
    text.textContent = secret;
    reveal.textContent = "Cover";
    root.classList.add("secret-shown");
    document.addEventListener("visibilitychange", cover);
    timer = window.setInterval(tick, 250);
    tick();
  };

  let asking = false;
  reveal.addEventListener("click", () => {
    if (root.classList.contains("secret-shown")) return cover();
    if (asking) return;
    asking = true;
    reveal.setAttribute("aria-busy", "true");
    read()
      .then(uncover, report)
      .finally(() => {
        asking = false;
        reveal.removeAttribute("aria-busy");
      });
  });
  connectCopy(copy, async () => {
    try {
      return await read();
    } catch (error) {
      report(error);
      throw error;
    }
  });
  return root;
}

function report(error: unknown): void {
  if (error instanceof Error && error.name === "Cancelled") return;
  toast(error instanceof Error ? error.message : "It could not be shown.", "danger");
}
