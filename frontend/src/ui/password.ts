/** The "Show" button of password fields (components/password_toggle.html). */

/** Makes `button` show and cover the password beside it. The password is covered before its form is sent. */
export function connectPasswordToggle(button: HTMLButtonElement): void {
  const input = button.parentElement?.querySelector<HTMLInputElement>("input");
  const word = button.firstChild;
  if (!input || !word) return;
  const show = (shown: boolean): void => {
    input.type = shown ? "text" : "password";
    word.textContent = shown ? "Hide" : "Show";
  };
  button.addEventListener("click", () => show(input.type === "password"));
  // Browsers remember what was typed into a text field.
  input.form?.addEventListener("submit", () => show(false), { capture: true });
  button.hidden = false;
}
