/** Building and finding elements. Nothing here parses markup, so text can't become elements. */

export type Child = Node | string | number | null | undefined | false;

export interface Props {
  class?: string;
  /** `{ secret: "x" }` becomes `data-secret="x"`. */
  dataset?: Record<string, string>;
  /** Listeners by event name. */
  on?: { [Name in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[Name]) => void };
  /** Any other attribute. true writes it empty, false and undefined leave it out: write "false" for ARIA's false. */
  [attribute: string]: unknown;
}

/** `element("button", { type: "button", class: "button", on: { click } }, "Save")`. Empty children are left out. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "dataset") Object.assign(made.dataset, value);
    else if (name === "on") {
      for (const [event, listener] of Object.entries(value as Record<string, EventListener>)) {
        made.addEventListener(event, listener);
      }
    } else if (value !== undefined && value !== null && value !== false) {
      made.setAttribute(name, value === true ? "" : String(value));
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map(asNode));
  return made;
}

function asNode(child: Node | string | number): Node | string {
  return typeof child === "number" ? String(child) : child;
}

/** The one element a page's script can't do without. Throws an Error that names the selector. */
export function required<Found extends Element = HTMLElement>(root: ParentNode, selector: string): Found {
  const found = root.querySelector<Found>(selector);
  if (!found) throw new Error(`The page has no ${selector}.`);
  return found;
}

/** The content of a `<template>`, once: its only element child. Throws an Error when it has none or several. */
export function cloneTemplate<Made extends HTMLElement = HTMLElement>(selector: string, root: ParentNode = document): Made {
  const content = required<HTMLTemplateElement>(root, selector).content;
  if (content.childElementCount !== 1) throw new Error(`The template ${selector} must hold one element.`);
  return document.importNode(content, true).firstElementChild as Made;
}

/** What Django's `json_script` wrote under this id. The caller names its shape; it comes from our own server. */
export function pageData<Data>(id = "page-data"): Data {
  return JSON.parse(required(document, `#${CSS.escape(id)}`).textContent ?? "") as Data;
}

let ids = 0;

/** An id that no other element has, for `for` and `aria-labelledby`. */
export function uniqueId(prefix: string): string {
  return `${prefix}-${++ids}`;
}
