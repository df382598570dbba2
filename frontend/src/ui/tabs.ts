/** Tabs of components/code_tabs.html, as the ARIA Authoring Practices describe them; and rows of links that scroll. */

import { element, uniqueId } from "./dom";

/** Makes tabs of the `[data-tab]` children of `root`. Arrow keys, Home and End move between them. */
export function connectTabs(root: HTMLElement): void {
  const panels = [...root.querySelectorAll<HTMLElement>(":scope > [data-tab]")];
  const list = element("div", { class: "code-tabs-list", role: "tablist", "aria-label": root.getAttribute("aria-label") });
  const tabs = panels.map((panel) => {
    panel.id ||= uniqueId("tab-panel");
    const tab = element(
      "button",
      { type: "button", role: "tab", id: uniqueId("tab"), "aria-controls": panel.id },
      panel.dataset["tab"],
    );
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    return tab;
  });

  const select = (chosen: number): void => {
    tabs.forEach((tab, index) => {
      tab.setAttribute("aria-selected", String(index === chosen));
      tab.tabIndex = index === chosen ? 0 : -1;
    });
    panels.forEach((panel, index) => {
      panel.hidden = index !== chosen;
    });
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => select(index));
    tab.addEventListener("keydown", (event) => {
      const last = tabs.length - 1;
      const target = {
        ArrowRight: index === last ? 0 : index + 1,
        ArrowLeft: index === 0 ? last : index - 1,
        Home: 0,
        End: last,
      }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      select(target);
      tabs[target]?.focus();
    });
  });

  root.removeAttribute("aria-label");
  list.append(...tabs);
  root.prepend(list);
  root.classList.add("code-tabs-connected");
  select(0);
}

/** Shows the current page's link in the middle of its row, where the row is wider than the window. */
export function scrollToCurrent(tab: HTMLElement): void {
  const row = tab.parentElement;
  if (!row) return;
  const [around, inside] = [row.getBoundingClientRect(), tab.getBoundingClientRect()];
  row.scrollLeft += inside.left + inside.width / 2 - (around.left + around.width / 2);
}
