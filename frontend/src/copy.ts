/** Copy buttons of code blocks (templates/components/code.html). */

const SHOWN_MS = 2000;

/**
 * Makes the copy button of a code block work and shows it.
 *
 * The clipboard exists only in a secure context (https or localhost). Elsewhere the button stays hidden.
 */
export function connectCopyButton(block: HTMLElement): void {
  const button = block.querySelector<HTMLButtonElement>("[data-copy]");
  const label = block.querySelector<HTMLElement>("[data-copy-label]");
  const status = block.querySelector<HTMLElement>("[data-copy-status]");
  const code = block.querySelector("code");
  if (!button || !label || !status || !code || !("clipboard" in navigator)) return;

  const idle = label.textContent;
  let timer = 0;
  const report = (word: string, sentence: string): void => {
    label.textContent = word;
    status.textContent = sentence;
    window.clearTimeout(timer);
    timer = window.setTimeout(() => {
      label.textContent = idle;
      status.textContent = "";
    }, SHOWN_MS);
  };

  button.addEventListener("click", () => {
    navigator.clipboard.writeText((code.textContent ?? "").trim()).then(
      () => report("Copied", "Copied to the clipboard."),
      () => report("Not copied", "The browser refused access to the clipboard."),
    );
  });
  button.hidden = false;
}
