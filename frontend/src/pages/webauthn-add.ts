/** Adding a security key. */

import { pageData } from "../ui/dom";
import { connectKeyForm } from "../ui/webauthn-form";
import { createCredential, type CreationOptions } from "../webauthn";

const { creation_options: options } = pageData<{ creation_options: CreationOptions }>();
connectKeyForm(() => createCredential(options));
