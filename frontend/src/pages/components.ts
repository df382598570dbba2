/** The page of all components (templates/dev/components.html), in development only. */

import { confirmAction } from "../ui/dialog";
import { required } from "../ui/dom";
import { FormError, onSubmit } from "../ui/form";
import { secretField } from "../ui/secret";
import { toast } from "../ui/toast";

const samples: Record<string, () => void> = {
  confirm: () =>
    void confirmAction({
      title: "Remove Ada Lovelace?",
      body: "Ada loses access to Acme at once. What she could decrypt, she may have kept: rotate the keys of her projects.",
      confirm: "Remove Ada",
      danger: true,
    }).then((agreed) => toast(agreed ? "Ada was removed." : "Nothing changed.", agreed ? "sealed" : "info")),
  typed: () =>
    void confirmAction({
      title: "Delete Acme?",
      body: "All projects, keys and the ledger go with it, for everyone.",
      confirm: "Delete Acme",
      danger: true,
      typed: "Acme",
    }),
  toast: () => toast("The key was sealed for the project.", "sealed"),
  error: () => toast("The server can’t be reached. Check your connection, then try again.", "danger"),
};
for (const button of document.querySelectorAll<HTMLButtonElement>("[data-sample]")) {
  button.addEventListener("click", () => samples[button.dataset["sample"] ?? ""]?.());
}

const indicator = document.querySelector<HTMLElement>("[data-vault-state]");
if (indicator) indicator.hidden = false;
required(document, "[data-sample-secret]").append(
  secretField({ label: "OpenAI key", value: "not-a-key-but-as-long-as-one-0123456789abcdef0123" }),
);
onSubmit(required<HTMLFormElement>(document, "#sample"), async (data) => {
  if (data.get("email") === "") throw new FormError("Some fields need your attention.", { email: "Enter an address." });
});
