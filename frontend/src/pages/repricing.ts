/** A re-pricing that a worker is at: how far it is, and a new page when it is done. */

import { getJson } from "../http";

const EVERY_MS = 1500;

interface State {
  status: string;
  changed: number;
}

const card = document.querySelector<HTMLElement>("[data-repricing]");
if (card) watch(card);

function watch(card: HTMLElement): void {
  const address = card.dataset["repricing"] ?? "";
  const bar = card.querySelector("progress");
  const note = card.querySelector<HTMLElement>("[data-note]");
  const look = async (): Promise<void> => {
    try {
      const state = await getJson<State>(address);
      if (state.status !== card.dataset["status"]) return location.reload();
      if (state.status === "running" && bar && note) {
        bar.value = Math.min(state.changed, bar.max);
        note.textContent = `${state.changed.toLocaleString("en")} done. You can leave this page; it goes on.`;
      }
    } catch {
      // The network or a restart; the next look will tell.
    }
    window.setTimeout(() => void look(), EVERY_MS);
  };
  window.setTimeout(() => void look(), EVERY_MS);
}
