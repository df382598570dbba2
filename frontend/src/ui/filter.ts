/** Filters: days are asked for where they count, and the address has what was chosen and no more. */

/** Connects `<form data-filter>`, whose days stand in `[data-days]` and count while `period` is "custom". */
export function connectFilter(form: HTMLFormElement): void {
  const days = form.querySelector<HTMLElement>("[data-days]");
  const update = (): void => {
    if (days) days.hidden = new FormData(form).get("period") !== "custom";
  };
  form.addEventListener("change", update);
  form.addEventListener("submit", () => {
    for (const field of form.elements) {
      const isLeftOut = (field instanceof HTMLInputElement || field instanceof HTMLSelectElement) && (!field.value || days?.hidden && days.contains(field));
      if (isLeftOut) field.disabled = true;
    }
  });
  // Back from the page of results, what was disabled for sending can be chosen again.
  window.addEventListener("pageshow", () => {
    for (const field of form.elements) {
      if (field instanceof HTMLInputElement || field instanceof HTMLSelectElement) field.disabled = false;
    }
    update();
  });
  update();
}

export function connectFilters(): void {
  for (const form of document.querySelectorAll<HTMLFormElement>("form[data-filter]")) connectFilter(form);
}
