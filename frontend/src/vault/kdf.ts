/** From a password to keys: Argon2id in a worker (kdf-worker.ts), then one key for each purpose. */

import { type Bytes, b64u, utf8 } from "./encoding";
import { derive } from "./primitives";

export interface KdfParameters {
  readonly memoryKib: number;
  readonly passes: number;
  readonly lanes: number;
}

/** What the page posts to the worker. Both arrays are transferred: the page keeps no copy. */
export interface KdfQuestion {
  readonly password: Bytes;
  readonly salt: Bytes;
  readonly parameters: KdfParameters;
}

/** What the worker posts back: 32 bytes and how they were made, or why not. */
export type KdfAnswer =
  | { readonly key: Bytes; readonly engine: "wasm" | "javascript" }
  | { readonly error: "known-answer" | "failed" };

/** What a password gives: the secret that signs in, and the key that wraps the account seed and is never sent. */
export interface PasswordKeys {
  readonly authSecret: string;
  readonly keyEncryptionKey: Bytes;
}

/** No key could be derived; the message is for the person who waits for it. */
export class KdfError extends Error {
  override name = "KdfError";
}

/**
 * The derivations that this code accepts. The server names one, and can't make it weaker: an entry never changes, and
 * an unknown name is refused before anything is hashed.
 */
export const KDF: Readonly<Record<string, KdfParameters>> = Object.freeze({
  a1: Object.freeze({ memoryKib: 65_536, passes: 3, lanes: 1 }),
});

/** The derivation of new passwords. */
export const CURRENT_KDF = "a1";

export const SALT_BYTES = 16;
export const PASSWORD_CODE_POINTS = 12;
export const PASSWORD_BYTES = 1024;

/** Why a new password or passphrase can't be taken, as a sentence; null when it can. */
export function checkPassword(text: string): string | null {
  const normal = text.normalize("NFKC");
  if (/\p{Surrogate}/u.test(normal)) return "This has a character that can't be typed again.";
  if ([...normal].length < PASSWORD_CODE_POINTS) return `Use at least ${PASSWORD_CODE_POINTS} characters.`;
  if (utf8(normal).length > PASSWORD_BYTES) return "This is too long. Shorten it.";
  return null;
}

/** Keys of the account password. `kdf` and `salt` are what the server said at prelogin. */
export async function passwordKeys(password: string, kdf: string, salt: Uint8Array): Promise<PasswordKeys> {
  const master = await masterKey(password, kdf, salt);
  const keys = {
    authSecret: `as1.${b64u(derive(master, "auth"))}`,
    keyEncryptionKey: derive(master, "kek/password"),
  };
  master.fill(0);
  return keys;
}

/** The key of a vault passphrase, for those who sign in without a password. Nothing of it is sent. */
export async function passphraseKek(passphrase: string, kdf: string, salt: Uint8Array): Promise<Bytes> {
  const master = await masterKey(passphrase, kdf, salt);
  const kek = derive(master, "kek/password");
  master.fill(0);
  return kek;
}

async function masterKey(password: string, kdf: string, salt: Uint8Array): Promise<Bytes> {
  const parameters = Object.hasOwn(KDF, kdf) ? KDF[kdf] : undefined;
  if (!parameters) throw new KdfError("The server asks for a key derivation that this page doesn't know. Reload it.");
  if (salt.length !== SALT_BYTES) throw new KdfError("The server sent a malformed salt.");
  const answer = await ask({ password: utf8(password.normalize("NFKC")), salt: new Uint8Array(salt), parameters });
  if ("key" in answer) return answer.key;
  throw new KdfError(
    answer.error === "known-answer"
      ? "This browser computes a wrong key, so nothing was sent. Try another browser."
      : "Your key could not be derived: this browser has too little memory left.",
  );
}

/** Starts a worker for one question, and ends it whatever happens: that frees the memory it took. */
export function ask(question: KdfQuestion): Promise<KdfAnswer> {
  return new Promise((resolve, reject) => {
    const broken = () => reject(new KdfError("The part of this page that derives your key could not start. Reload it."));
    let worker: Worker;
    try {
      worker = new Worker(workerUrl());
    } catch {
      return broken();
    }
    const end = () => worker.terminate();
    worker.onerror = () => (end(), broken());
    worker.onmessageerror = () => (end(), broken());
    worker.onmessage = ({ data }: MessageEvent<KdfAnswer>) => (end(), resolve(data));
    worker.postMessage(question, [question.password.buffer, question.salt.buffer]);
  });
}

/** Of the Trusted Types API, what is used here. Browsers that don't have it take plain addresses. */
interface ScriptUrls {
  createScriptURL(url: string): string;
}
declare global {
  interface Window {
    readonly trustedTypes?: { createPolicy(name: string, rules: ScriptUrls): ScriptUrls };
  }
}

/** Where the scripts of one page share the policy: a page can make it once, and each has its own copy of this code. */
const SHARED = Symbol.for("alp-worker");

/** The worker's address, which the page names since it holds a content hash. */
function workerUrl(): string {
  const named = document.querySelector<HTMLMetaElement>('meta[name="kdf-worker"]')?.content ?? "";
  const page = window as { [SHARED]?: ScriptUrls };
  if (!page[SHARED]) {
    // It passes on one address of our own, and nothing else ever.
    const rules = {
      createScriptURL(url: string): string {
        const full = new URL(url, document.baseURI);
        if (url === "" || url !== named || full.origin !== location.origin) throw new TypeError("Not the worker.");
        return full.href;
      },
    };
    page[SHARED] = window.trustedTypes?.createPolicy("alp-worker", rules) ?? rules;
  }
  return page[SHARED].createScriptURL(named);
}
