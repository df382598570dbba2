/** Menus are `<details>`, so they open without a script. This closes them as people expect. */

/** Closes the menu on Escape, on a press outside it, and when the focus leaves it. */
export function connectMenu(menu: HTMLDetailsElement): void {
  const close = (): void => {
    menu.open = false;
  };
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    event.preventDefault();
    close();
    menu.querySelector("summary")?.focus();
  });
  menu.addEventListener("focusout", (event) => {
    // null: the window lost the focus, or something that can't have it was pressed.
    if (event.relatedTarget instanceof Node && !menu.contains(event.relatedTarget)) close();
  });
  document.addEventListener("pointerdown", (event) => {
    if (event.target instanceof Node && !menu.contains(event.target)) close();
  });
  // Back to a page that was kept in memory: not with its menu open.
  window.addEventListener("pagehide", close);
}
