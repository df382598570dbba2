/** The profile: offers the browser's own time zone when another one is chosen. */

import { required } from "../ui/dom";

const form = required<HTMLFormElement>(document, "[data-profile]");
const select = required<HTMLSelectElement>(form, "[name=time_zone]");
const hint = required(form, "[data-zone-hint]");
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const isOffered = [...select.options].some((option) => option.value === zone);

function render(): void {
  hint.hidden = !isOffered || select.value === zone;
}

required(hint, "[data-zone]").textContent = zone.replaceAll("_", " ");
required<HTMLButtonElement>(hint, "[data-use-zone]").addEventListener("click", () => {
  select.value = zone;
  render();
  select.focus();
});
select.addEventListener("change", render);
render();
