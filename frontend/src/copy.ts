/** Copying to the clipboard. It exists only in a secure context (https or localhost); elsewhere the buttons stay hidden. */

import { announce } from "./ui/toast";

const SHOWN_MS = 2000;

/**
 * Makes `button` copy what `read` gives, says so on it (in `[data-copy-label]`, else in the button itself) and shows it.
 *
 * `read` may be asynchronous. When it rejects, nothing is copied.
 */
export function connectCopy(button: HTMLButtonElement, read: () => string | Promise<string>): void {
  if (!("clipboard" in navigator)) return;
  const label = button.querySelector<HTMLElement>("[data-copy-label]") ?? button;
  const idle = label.textContent;
  let timer = 0;
  const report = (word: string, sentence: string): void => {
    label.textContent = word;
    announce(sentence);
    window.clearTimeout(timer);
    timer = window.setTimeout(() => {
      label.textContent = idle;
    }, SHOWN_MS);
  };

  button.addEventListener("click", () => {
    Promise.resolve(read())
      .then((text) => navigator.clipboard.writeText(text))
      .then(
        () => report("Copied", "Copied to the clipboard."),
        () => report("Not copied", "It could not be copied to the clipboard."),
      );
  });
  button.hidden = false;
}

/** The copy button of a code block (components/code.html). */
export function connectCopyButton(block: HTMLElement): void {
  const button = block.querySelector<HTMLButtonElement>("[data-copy]");
  const code = block.querySelector("code");
  if (button && code) connectCopy(button, () => (code.textContent ?? "").trim());
}

/** Every copy button below `root`: those of code blocks, and those of components/copy.html. */
export function connectCopyButtons(root: ParentNode = document): void {
  for (const block of root.querySelectorAll<HTMLElement>("[data-code]")) connectCopyButton(block);
  for (const button of root.querySelectorAll<HTMLButtonElement>("button[data-copy-text]")) {
    connectCopy(button, () => button.dataset["copyText"] ?? "");
  }
}

/** A table tab-separated, as spreadsheets take it. */
export function tableText(table: HTMLTableElement): string {
  return [...table.rows].map((row) => [...row.cells].map((cell) => cell.innerText.trim().replace(/\s*\n\s*/g, ", ")).join("\t")).join("\n");
}

/** `<button data-copies-table="id">`: copies the table in the element with this id. */
export function connectTableCopies(): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>("button[data-copies-table]")) {
    const table = document.querySelector<HTMLTableElement>(`#${button.dataset["copiesTable"]} table`);
    if (table) connectCopy(button, () => tableText(table));
  }
}
