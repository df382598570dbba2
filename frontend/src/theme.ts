/** Light or dark: the system's preference, unless the reader chose. The choice lives in this browser only. */

export type Theme = "light" | "dark";

const STORAGE_KEY = "theme";
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");

/** What the reader chose; null when nothing was chosen or the browser blocks storage. */
export function chosenTheme(): Theme | null {
  try {
    const stored = localStorage.getItem(STORAGE_KEY);
    return stored === "light" || stored === "dark" ? stored : null;
  } catch {
    return null;
  }
}

/** Shows the chosen theme; base.css reads the attribute. */
export function applyTheme(theme: Theme | null): void {
  if (theme === null) delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}

function systemTheme(): Theme {
  return systemDark.matches ? "dark" : "light";
}

function remember(theme: Theme | null): void {
  try {
    if (theme === null) localStorage.removeItem(STORAGE_KEY);
    else localStorage.setItem(STORAGE_KEY, theme);
  } catch {
    // Blocked storage: the choice holds until the page is left.
  }
}

/** Makes `button` switch the theme. It is a toggle button: pressed means dark. */
export function connectThemeToggle(button: HTMLButtonElement): void {
  let choice = chosenTheme();
  const shown = (): Theme => choice ?? systemTheme();
  const render = (): void => {
    applyTheme(choice);
    button.setAttribute("aria-pressed", String(shown() === "dark"));
  };

  button.addEventListener("click", () => {
    const wanted: Theme = shown() === "dark" ? "light" : "dark";
    // Choosing what the system says anyway means following it again.
    choice = wanted === systemTheme() ? null : wanted;
    remember(choice);
    render();
  });
  systemDark.addEventListener("change", render);
  // Another tab chose; a null key means that storage was cleared.
  window.addEventListener("storage", (event) => {
    if (event.key !== STORAGE_KEY && event.key !== null) return;
    choice = chosenTheme();
    render();
  });

  render();
  button.hidden = false;
}
