/** Exports: the filter, how far those are that a worker is at, and a new page when one is done. */

import { ApiError, getJson } from "../http";
import { connectFilters } from "../ui/filter";

const EVERY_MS = 1500;

type State = Record<string, { status: string; rows: number }>;

connectFilters();
const list = document.querySelector<HTMLElement>("[data-exports]");
if (list?.querySelector("[data-export]")) watch(list);

function watch(list: HTMLElement): void {
  const look = async (): Promise<void> => {
    try {
      const state = await getJson<State>(list.dataset["exports"] ?? "");
      for (const item of list.querySelectorAll<HTMLElement>("[data-export]")) {
        const found = state[item.dataset["export"] ?? ""];
        // One that newer ones have pushed out of the list is not said any more.
        if (found?.status !== item.dataset["status"]) return location.reload();
        if (found?.rows) show(item, found.rows);
      }
    } catch (error) {
      // Signed out (a page came, 200), or no member any more: the page itself says so.
      if (error instanceof ApiError && [200, 403, 404].includes(error.status)) return location.reload();
      // The network or a restart; the next look will tell.
    }
    window.setTimeout(() => void look(), EVERY_MS);
  };
  window.setTimeout(() => void look(), EVERY_MS);
}

function show(item: HTMLElement, rows: number): void {
  const bar = item.querySelector("progress");
  const note = item.querySelector<HTMLElement>("[data-note]");
  if (!bar || !note) return;
  // Without a maximum it is only known that there are many.
  if (bar.hasAttribute("max")) bar.value = Math.min(rows, bar.max);
  note.textContent = `${rows.toLocaleString("en")} of ${note.dataset["note"]}`;
}
