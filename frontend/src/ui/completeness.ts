/** How complete the numbers of a page are. Looking for that takes longer than all of the page, so it is asked for then. */

import { getJson } from "../http";
import { required } from "./dom";

/** apps/usage/ledger_views.py */
interface Completeness {
  is_complete: boolean;
  text: string;
}

/** Connects `[data-completeness]`, the address to ask, whose link leads to the whole of it. Without an answer it stays. */
export async function connectCompleteness(line: HTMLElement): Promise<void> {
  const link = required(line, "a");
  const before = link.textContent;
  line.dataset["state"] = "asking";
  link.textContent = "Looking for what may be missing…";
  try {
    const found = await getJson<Completeness>(line.dataset["completeness"] ?? "");
    line.dataset["state"] = found.is_complete ? "complete" : "missing";
    link.textContent = found.text;
  } catch {
    delete line.dataset["state"];
    link.textContent = before;
  }
}
