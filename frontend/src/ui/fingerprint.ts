/** Fingerprints that the browser computed, as components/fingerprint.html shows those from the server. */

import { connectCopy } from "../copy";
import { element } from "./dom";

/** Hexadecimal digits in groups of four: what people read to each other. */
export function groups(fingerprint: string): string[] {
  return fingerprint.replace(/\s/g, "").match(/.{1,4}/g) ?? [];
}

export function fingerprintDisplay(fingerprint: string, label = "Fingerprint"): HTMLElement {
  const shown = groups(fingerprint);
  const copyLabel = element("span", { "data-copy-label": true }, "Copy");
  const copy = element("button", { type: "button", class: "copy", "aria-label": `Copy ${label}`, hidden: true }, copyLabel);
  connectCopy(copy, () => shown.join(" "));
  return element(
    "div",
    { class: "fingerprint" },
    element(
      "code",
      { class: "fingerprint-groups", role: "img", "aria-label": `${label}: ${shown.join(", ")}` },
      ...shown.map((group) => element("span", {}, group)),
    ),
    copy,
  );
}
