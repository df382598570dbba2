/**
 * Forms that Django handles, with a password that isn't sent. What people type has no name; hidden fields with names
 * get what was derived from it.
 */

import { ApiError, postJson } from "./http";
import { required } from "./ui/dom";
import { FormError, onSubmit } from "./ui/form";
import { deriveKeys, type Prelogin } from "./unlock";
import { Account } from "./vault/account";
import { b64u, b64uDecode, type Bytes } from "./vault/encoding";
import { checkPassword, CURRENT_KDF, type PasswordKeys, SALT_BYTES } from "./vault/kdf";
import { randomBytes } from "./vault/primitives";
import { StorageError, storePendingKek } from "./vault/session";
import type { UnlockMethod } from "./vault/statements";

/**
 * Brings `<form data-password-form>` to life: `prepare` fills the hidden fields, then the form is sent.
 *
 * What `prepare` rejects with is shown in the form, as ui/form.ts does it; FormError may name ids of visible inputs.
 */
export function connectPasswordForm(prepare: (form: HTMLFormElement) => Promise<void>): void {
  const form = required<HTMLFormElement>(document, "form[data-password-form]");
  onSubmit(form, async () => {
    await prepare(form);
    // Covered inputs have no name, so this sends none of them.
    form.submit();
    // The next page takes over from here; until it does, the form stays busy.
    await new Promise(() => undefined);
  });
  for (const input of form.querySelectorAll<HTMLInputElement>("input[type=password]")) watchCapsLock(input);
  for (const button of form.querySelectorAll<HTMLButtonElement>("button[type=submit]")) button.disabled = false;
  // Back from the next page, with what was typed still in it: start over.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}

/** What was typed into a visible input of the form. */
export function typed(form: HTMLFormElement, id: string): string {
  return required<HTMLInputElement>(form, `#${id}`).value;
}

/** Fills a hidden field. */
export function fill(form: HTMLFormElement, name: string, value: string): void {
  required<HTMLInputElement>(form, `input[type=hidden][name=${name}]`).value = value;
}

/** A new password from the inputs `password-typed` and, where there is one, `password-again`; FormError beside them. */
export function newPassword(form: HTMLFormElement): string {
  const password = typed(form, "password-typed");
  const problem = checkPassword(password);
  if (problem) throw new FormError("", { "password-typed": problem });
  const again = form.querySelector<HTMLInputElement>("#password-again");
  if (again && again.value !== password) throw new FormError("", { "password-again": "The two passwords differ." });
  return password;
}

export async function prelogin(email: string): Promise<Prelogin> {
  return postJson("/vault/prelogin", { email });
}

/** A salt of one's own, and the keys of a password with it. Sign-up takes the salt that prelogin gave instead. */
export async function freshKeys(password: string): Promise<{ keys: PasswordKeys; salt: Bytes }> {
  const salt = randomBytes(SALT_BYTES);
  return { keys: await deriveKeys(password, CURRENT_KDF, b64u(salt)), salt };
}

/** The account seed wrapped for a password, as the server takes it, and the signature that lets it in. */
export function wrapForPassword(account: Account, keys: PasswordKeys, kdf: string, salt: Bytes) {
  const method: UnlockMethod = { id: crypto.randomUUID(), type: "password", kdf, input: salt };
  const { envelope, signature } = account.wrapFor(method, keys.keyEncryptionKey);
  return { password: { id: method.id, kdf, salt: b64u(salt), envelope }, signature: b64u(signature) };
}

/** An account's public half, as the server takes it. */
export function identityOf(account: Account) {
  return {
    vault_id: account.vaultId,
    akv: account.akv,
    x25519_public_key: b64u(account.x25519Public),
    ed25519_public_key: b64u(account.ed25519Public),
    identity_signature: b64u(account.identitySignature()),
  };
}

/** Leaves the key for the page behind the sign-in, so that the vault opens without asking again. */
export async function leaveForNextPage(share: string, keys: PasswordKeys): Promise<void> {
  try {
    await storePendingKek(b64uDecode(share), keys.keyEncryptionKey);
  } catch (error) {
    // Without storage, the vault asks for the password when it is needed.
    if (!(error instanceof StorageError)) throw error;
  }
}

/** A sentence for people where the server has a malformed answer. */
export function expectKnownKdf({ kdf, salt }: Prelogin): void {
  if (kdf !== CURRENT_KDF || b64uDecode(salt).length !== SALT_BYTES) {
    throw new ApiError(200, "unexpected", "The server answered with something else. Reload this page.");
  }
}

function watchCapsLock(input: HTMLInputElement): void {
  const hint = input.closest(".field")?.querySelector<HTMLElement>("[data-caps-lock]");
  if (!hint) return;
  const look = (event: KeyboardEvent): void => {
    // Fired without a key by browsers that fill the field in.
    hint.hidden = !event.getModifierState?.("CapsLock");
  };
  input.addEventListener("keydown", look);
  input.addEventListener("keyup", look);
  input.addEventListener("blur", () => {
    hint.hidden = true;
  });
}
