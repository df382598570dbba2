/** Waits for a project's first call (templates/onboarding/connect.html), and puts the ANY_LLM_KEY into the examples. */

import { anyLlmKey } from "../any-llm-key";
import { getJson } from "../http";
import { element, pageData, required } from "../ui/dom";
import { setBusy } from "../ui/form";
import { relativeTime } from "../ui/time";
import { toast } from "../ui/toast";
import { onLock } from "../vault/session";

/** apps/onboarding/selectors.py */
interface FirstCall {
  fetched_at: string | null;
  call: {
    provider: string;
    model: string;
    client_name: string;
    input_tokens: number | null;
    output_tokens: number | null;
    duration_ms: number | null;
    cost: string | null;
    currency: string;
    occurred_at: string;
  } | null;
}

const EVERY_MS = 2_000;
/** Somebody who went to lunch is asked for less often. */
const PATIENT_AFTER_MS = 3 * 60_000;
const PATIENT_MS = 10_000;
const LONGEST_MS = 30_000;

const data = pageData<{ base: string; first_call_url: string; first_call: FirstCall }>();
const title = required(document, "[data-waiting-title]");
const note = required(document, "[data-waiting-note]");
const status = required(document, "[data-waiting-status]");
const facts = required(document, "[data-call]");
const done = required(document, "[data-done]");

// --- The lamps ---

function light(name: "fetched" | "called", at: string | null): void {
  const lamp = required(document, `[data-lamp=${name}]`);
  lamp.classList.toggle("lamp-lit", at !== null);
  required(lamp, "[data-lamp-note]").textContent = at === null ? "Nothing yet" : capital(relativeTime(new Date(at)));
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Shows what came; whether that is all there is to wait for. */
function show({ fetched_at, call }: FirstCall): boolean {
  light("fetched", fetched_at);
  light("called", call?.occurred_at ?? null);
  facts.hidden = done.hidden = call === null;
  if (!call) {
    say(fetched_at ? "The key works. Waiting for the call to be reported" : "Waiting for the first call");
    return false;
  }
  const count = new Intl.NumberFormat("en");
  const tokens = (value: number | null): string => (value === null ? "unknown" : count.format(value));
  const rows: [string, string][] = [
    ["Model", `${call.provider}, ${call.model}`],
    ["Tokens", `${tokens(call.input_tokens)} in, ${tokens(call.output_tokens)} out`],
    ["Cost", call.cost === null ? "No price is known for this model" : `${call.cost} ${call.currency}`],
  ];
  if (call.duration_ms !== null) rows.push(["Took", `${count.format(Math.round(call.duration_ms))} ms`]);
  if (call.client_name) rows.push(["Client", call.client_name]);
  facts.replaceChildren(
    ...rows.map(([term, value]) => element("div", {}, element("dt", {}, term), element("dd", {}, value))),
  );
  note.textContent = "From now on, every call has its line in the ledger.";
  say("The call has arrived");
  return true;
}

function say(sentence: string): void {
  if (title.textContent === sentence) return;
  title.textContent = sentence;
  status.textContent = `${sentence}.`;
}

// --- Asking ---

const started = Date.now();
let failures = 0;
let timer = 0;
let isAsking = false;

async function ask(): Promise<void> {
  if (isAsking) return;
  isAsking = true;
  try {
    const isDone = show(await getJson<FirstCall>(data.first_call_url));
    failures = 0;
    if (isDone) return;
    note.textContent = isPatient() ? "Asking every ten seconds." : "Asking every two seconds.";
  } catch {
    failures += 1;
    note.textContent = "The server can’t be reached. Trying again.";
  } finally {
    isAsking = false;
  }
  later();
}

function isPatient(): boolean {
  return Date.now() - started > PATIENT_AFTER_MS;
}

function later(): void {
  window.clearTimeout(timer);
  // A hidden page asks for nothing; it asks at once when it is looked at again.
  if (document.hidden || !done.hidden) return;
  const pause = failures > 0 ? Math.min(EVERY_MS * 2 ** failures, LONGEST_MS) : isPatient() ? PATIENT_MS : EVERY_MS;
  timer = window.setTimeout(() => void ask(), pause);
}

document.addEventListener("visibilitychange", () => {
  window.clearTimeout(timer);
  if (!document.hidden && done.hidden) void ask();
});
if (!show(data.first_call)) later();

// --- The key in the examples ---

const insert = document.querySelector<HTMLButtonElement>("[data-insert-key]");
const places = document.querySelectorAll("[data-key]");
const [blank = ""] = [...places].map((place) => place.textContent);

function put(key: string | null): void {
  for (const place of places) {
    place.textContent = key ?? blank;
    place.classList.toggle("key-inserted", key !== null);
  }
  if (!insert) return;
  insert.setAttribute("aria-pressed", String(key !== null));
  insert.textContent = key === null ? "Put your ANY_LLM_KEY in" : "Take it out again";
}

if (insert) {
  insert.hidden = false;
  insert.addEventListener("click", () => {
    if (insert.getAttribute("aria-pressed") === "true") return put(null);
    if (insert.getAttribute("aria-busy") === "true") return;
    setBusy(null, insert, true);
    anyLlmKey(data.base)
      .then(put, (error: unknown) => {
        if (error instanceof Error && error.name === "Cancelled") return;
        toast(error instanceof Error ? error.message : "The key could not be shown.", "danger");
      })
      .finally(() => setBusy(null, insert, false));
  });
  onLock(() => put(null));
  // Back to a page that was kept in memory: not with the key in it.
  window.addEventListener("pagehide", () => put(null));
}
