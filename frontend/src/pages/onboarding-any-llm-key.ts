/** Shows a new project's ANY_LLM_KEY, to be stored where its programs run. */

import { anyLlmKey } from "../any-llm-key";
import { pageData, required } from "../ui/dom";
import { setBusy } from "../ui/form";
import { secretField } from "../ui/secret";
import { toast } from "../ui/toast";

const { base } = pageData<{ base: string }>();
const place = required(document, "[data-any-llm-key]");
const button = required<HTMLButtonElement>(place, "[data-show]");

button.addEventListener("click", () => {
  if (button.getAttribute("aria-busy") === "true") return;
  setBusy(null, button, true);
  anyLlmKey(base)
    .then(
      (key) => {
        // Kept for this page's life: copying right after is no second showing.
        const field = secretField({ label: "ANY_LLM_KEY", value: key, seconds: 60 });
        place.replaceChildren(field);
        required<HTMLButtonElement>(field, "button").click();
        required<HTMLButtonElement>(field, "button").focus();
      },
      (error: unknown) => {
        if (error instanceof Error && error.name === "Cancelled") return;
        toast(error instanceof Error ? error.message : "The key could not be shown.", "danger");
      },
    )
    .finally(() => setBusy(null, button, false));
});
button.hidden = false;
