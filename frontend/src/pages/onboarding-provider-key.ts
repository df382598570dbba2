/** The first provider key of a new project. The project's ANY_LLM_KEY is made along the way: there is nothing to seal to
 * before. */

import { postJson } from "../http";
import { loadKeyset } from "../keyset";
import { type Provider, providerKeyForm, sealAndSend } from "../provider-key-form";
import { makeFirstKey } from "../rotation";
import { element, pageData, required } from "../ui/dom";
import { requireAccount, trustSession } from "../unlock";

interface Data {
  /** The project's address, where its JSON is, too. */
  base: string;
  providers: Provider[];
  taken: string[];
  next: string;
}

const { base, providers, taken, next } = pageData<Data>();
const { form } = providerKeyForm({
  providers,
  taken,
  submit: "Seal and continue",
  others: [element("a", { class: "button button-secondary", href: next }, "Add one later")],
  async save(provider, value) {
    const account = await requireAccount();
    const keyset = await loadKeyset(`${base}keyset`);
    if (keyset.generations.length === 0) await makeFirstKey(account, await trustSession(account), keyset);
    await sealAndSend(base, provider.name, value, (boxes) =>
      postJson(`${base}provider-keys/add`, { provider: provider.name, boxes }),
    );
    location.assign(next);
  },
});
required(document, "[data-provider-key]").replaceChildren(form);
