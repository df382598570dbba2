/** The list of mail while developing: a new message shows up by itself. */

import { connectTimes } from "../ui/time";

const EVERY_MS = 2000;

connectTimes();
const list = document.querySelector<HTMLElement>("[data-newest-url]");
if (list) {
  const { newest = "", newestUrl = "" } = list.dataset;
  window.setInterval(() => {
    // Somebody who is typing a recipient keeps the page they type into.
    if (!document.hidden && !document.activeElement?.matches("input")) void reloadWhenNew(newestUrl, newest);
  }, EVERY_MS);
}

async function reloadWhenNew(url: string, known: string): Promise<void> {
  const answer = await fetch(url).catch(() => null);
  // While the stack restarts there is nobody to ask; the next round asks again.
  if (!answer?.ok) return;
  const { newest } = (await answer.json()) as { newest: string };
  if (newest !== known) location.reload();
}
