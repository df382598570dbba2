/** Signing in, or confirming, with a security key. */

import { pageData } from "../ui/dom";
import { connectKeyForm } from "../ui/webauthn-form";
import { type RequestOptions, useCredential } from "../webauthn";

const { request_options: options } = pageData<{ request_options: RequestOptions }>();
connectKeyForm(() => useCredential(options));
