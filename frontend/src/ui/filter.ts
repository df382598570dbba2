/** Filters: days are asked for where they count, and the address has what was chosen and no more. */

/** Connects `<form data-filter>`, whose days stand in `[data-days]` and count while `period` is "custom". */
export function connectFilter(form: HTMLFormElement): void {
  const days = form.querySelector<HTMLElement>("[data-days]");
  const update = (): void => {
    if (days) days.hidden = new FormData(form).get("period") !== "custom";
  };
  form.addEventListener("change", update);
  form.addEventListener("formdata", ({ formData }) => {
    for (const [name, value] of [...formData]) {
      if (value === "" || (days?.hidden && days.querySelector(`[name="${name}"]`))) formData.delete(name);
    }
  });
  // Back from the page of results, the browser has filled in what was chosen.
  window.addEventListener("pageshow", update);
  update();
}

export function connectFilters(): void {
  for (const form of document.querySelectorAll<HTMLFormElement>("form[data-filter]")) connectFilter(form);
}
