/**
 * The unlocked account, for every page that needs it: from what this browser keeps, else the person is asked.
 *
 * Pages are several scripts, each with its own copy of this module. What they share is in vault/session.ts's storage.
 */

import { ApiError, getJson, postJson, putJson } from "./http";
import { openDialog } from "./ui/dialog";
import { element, uniqueId } from "./ui/dom";
import { FormError, onSubmit } from "./ui/form";
import { connectPasswordToggle } from "./ui/password";
import { Account } from "./vault/account";
import { b64uDecode, equal } from "./vault/encoding";
import { EnvelopeError } from "./vault/envelopes";
import { KdfError, type PasswordKeys, passwordKeys } from "./vault/kdf";
import * as recovery from "./vault/recovery";
import * as session from "./vault/session";
import { StorageError } from "./vault/session";
import type { Identity, KeyGeneration, UnlockMethod, UnlockType } from "./vault/statements";
import { type Comparison, TrustStore } from "./vault/trust";

/** The person closed the dialog. Nothing is wrong, and nothing is shown. */
export class Cancelled extends Error {
  override name = "Cancelled";
}

/** The vault holds something that can't be right, so nothing is done with it. */
export class VaultError extends Error {
  override name = "VaultError";
}

/** An unlock method as the server keeps it. Bytes are url-safe base64. */
export interface StoredUnlockMethod {
  id: string;
  kind: UnlockType;
  akv: number;
  kdf: string;
  kdf_input: string;
  envelope: string;
  created_at: string;
  /** When a reset without the recovery key left it behind; null for a current one. */
  stale_since: string | null;
}

/** `GET /vault/bootstrap` */
export interface Bootstrap {
  vault_id: string;
  akv: number;
  x25519_public_key: string;
  ed25519_public_key: string;
  identity_signature: string;
  unlock_methods: StoredUnlockMethod[];
  /** The session's half of the cache key; null when the vault is locked. */
  share: string | null;
  trust_store: string | null;
  trust_store_seq: number;
  idle_minutes: number;
  recovery: "set" | "declined" | "missing";
}

/** `POST /vault/prelogin` */
export interface Prelogin {
  kdf: string;
  salt: string;
  share: string;
}

/** On `document`, when a script of this page unlocked the vault. */
export const UNLOCKED = "vault-unlocked";

export function bootstrap(): Promise<Bootstrap> {
  return getJson("/vault/bootstrap");
}

/** The current method of a kind, null if there is none. */
export function currentMethod(boot: Bootstrap, kind: UnlockType): StoredUnlockMethod | null {
  return boot.unlock_methods.find((method) => method.kind === kind && method.stale_since === null) ?? null;
}

/** What the envelope of a stored method is bound to. */
export function unlockMethod({ id, kind, kdf, kdf_input }: StoredUnlockMethod): UnlockMethod {
  return { id, type: kind, kdf, input: b64uDecode(kdf_input) };
}

/**
 * The account behind a current method; EnvelopeError when `kek` is not its key.
 *
 * VaultError when the server shows others keys that are not this account's: it would pass off someone as them.
 */
export function openMethod(boot: Bootstrap, method: StoredUnlockMethod, kek: Uint8Array): Account {
  const account = Account.unlock(boot.vault_id, boot.akv, unlockMethod(method), kek, method.envelope);
  return checkIdentity(boot, account);
}

/** The account if this browser has it unlocked, else null. It never asks. */
export async function cachedAccount(): Promise<Account | null> {
  if (unstored) return unstored;
  const boot = await bootstrap();
  return resume(boot);
}

/** The unlocked account: from what this browser keeps, else the person is asked. Cancelled when they close that. */
export function requireAccount(): Promise<Account> {
  asking ??= findAccount().finally(() => {
    asking = null;
  });
  return asking;
}

/** Runs `action`; if the server wants to know first that it's really them, asks for the password and repeats it. */
export async function withReauthentication<T>(action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== "reauthentication_required") throw error;
  }
  await reauthenticate();
  return action();
}

/** Locks the vault in all tabs, and makes what this browser kept useless. */
export async function lockVault(): Promise<void> {
  await session.forget().catch(ignoreStorage);
  await postJson("/vault/lock", {});
}

/** Keeps an unlocked account until the vault locks. Without storage, this page alone keeps it. */
export async function keepUnlocked(boot: Bootstrap, account: Account): Promise<void> {
  try {
    const share = boot.share ?? (await postJson<{ share: string }>("/vault/share", {})).share;
    boot.share = share;
    await followIdleMinutes(boot);
    await session.storeSeed(b64uDecode(share), account);
  } catch (error) {
    ignoreStorage(error);
    unstored = account;
  }
  document.dispatchEvent(new CustomEvent(UNLOCKED));
}

/** The account's pins (vault/trust.ts), and storing what changed. */
export interface TrustSession {
  readonly store: TrustStore;
  /** Whether the server brought out an older store than this browser has seen. Then nothing can be saved. */
  readonly isRolledBack: boolean;
  member(identity: Identity): Comparison;
  pinMember(identity: Identity, verified: boolean): void;
  unpinMember(vaultId: string): void;
  project(key: Pick<KeyGeneration, "project" | "generation" | "publicKey">): Comparison;
  pinProject(key: Pick<KeyGeneration, "project" | "generation" | "publicKey">): void;
  unpinProject(project: string): void;
  /** Stores the changes on top of what the server has by now: another tab may have pinned, too. */
  save(): Promise<void>;
}

/** How often saving starts again when others save at the same time. */
const SAVE_ATTEMPTS = 5;

/** VaultError when the stored pins can't be opened: then nobody's keys can be trusted. */
export async function trustSession(account: Account): Promise<TrustSession> {
  const store = loadTrust(account, await bootstrap());
  let changes: ((store: TrustStore) => void)[] = [];
  // Whoever pins through `store` is to be heard as well.
  for (const name of ["pinMember", "unpinMember", "pinProject", "unpinProject"] as const) {
    const change = TrustStore.prototype[name] as (this: TrustStore, ...values: unknown[]) => void;
    store[name] = (...values: unknown[]) => {
      changes.push((target) => change.apply(target, values));
      change.apply(store, values);
    };
  }
  return {
    store,
    isRolledBack: store.isRolledBack,
    member: (identity) => store.compareMember(identity),
    pinMember: (identity, verified) => store.pinMember(identity, verified),
    unpinMember: (vaultId) => store.unpinMember(vaultId),
    project: (key) => store.compareProject(key),
    pinProject: (key) => store.pinProject(key),
    unpinProject: (project) => store.unpinProject(project),
    async save() {
      if (changes.length === 0) return;
      const saved = changes;
      for (let attempt = 1; ; attempt++) {
        const current = loadTrust(account, await bootstrap());
        if (current.isRolledBack) throw new VaultError(ROLLED_BACK);
        for (const change of saved) change(current);
        const sealed = current.seal();
        try {
          await putJson("/vault/trust-store", { seq: sealed.sequence, envelope: sealed.envelope });
        } catch (error) {
          const lost = error instanceof ApiError && error.code === "trust_store_changed";
          if (lost && attempt < SAVE_ATTEMPTS) continue;
          throw error;
        }
        current.remember(sealed);
        changes = changes.slice(saved.length);
        return;
      }
    },
  };
}

const ROLLED_BACK =
  "The server brought out an older list of the keys you trust than this browser has seen. Nothing was changed. " +
  "Compare fingerprints with your team before you go on.";
const OTHER_IDENTITY = "The server shows your team other keys than yours. Nothing was done. Contact your administrator.";

let asking: Promise<Account> | null = null;
/** Where the browser stores nothing: for as long as this page is open. */
let unstored: Account | null = null;
session.onLock(() => {
  unstored = null;
});

function loadTrust(account: Account, boot: Bootstrap): TrustStore {
  const stored = boot.trust_store === null ? null : { sequence: boot.trust_store_seq, envelope: boot.trust_store };
  try {
    return TrustStore.load(account, stored);
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error;
    throw new VaultError("The list of keys you trust can't be opened, so nothing is shared with anybody.");
  }
}

function checkIdentity(boot: Bootstrap, account: Account): Account {
  const shown = [b64uDecode(boot.x25519_public_key), b64uDecode(boot.ed25519_public_key)] as const;
  if (!equal(shown[0], account.x25519Public) || !equal(shown[1], account.ed25519Public)) {
    throw new VaultError(OTHER_IDENTITY);
  }
  return account;
}

/** From the key that signing in left, or from the seed that was kept. One script and tab at a time. */
function resume(boot: Bootstrap): Promise<Account | null> {
  return exclusively(async () => {
    try {
      if (boot.share === null) {
        await session.forget();
        return null;
      }
      const share = b64uDecode(boot.share);
      await followIdleMinutes(boot);
      const method = currentMethod(boot, "password");
      const kek = await session.pendingKek(share);
      if (kek) {
        try {
          if (method) {
            const account = openMethod(boot, method, kek);
            await session.storeSeed(share, account);
            return account;
          }
          await session.dropPendingKek();
        } catch (error) {
          await session.dropPendingKek();
          // Of another password: it was changed since.
          if (!(error instanceof EnvelopeError)) throw error;
        } finally {
          kek.fill(0);
        }
      }
      const account = await session.loadSeed(share, boot.vault_id, boot.akv);
      return account && checkIdentity(boot, account);
    } catch (error) {
      ignoreStorage(error);
      return null;
    }
  });
}

function exclusively<T>(work: () => Promise<T>): Promise<T> {
  // Without the API, at worst the password is asked for once more.
  return navigator.locks ? navigator.locks.request("anyllm-vault", work) as Promise<T> : work();
}

async function followIdleMinutes({ idle_minutes }: Bootstrap): Promise<void> {
  if ((await session.idleMinutes()) !== idle_minutes) await session.setIdleMinutes(idle_minutes);
}

async function findAccount(): Promise<Account> {
  if (unstored) return unstored;
  const boot = await bootstrap();
  return (await resume(boot)) ?? askToUnlock(boot);
}

async function askToUnlock(boot: Bootstrap): Promise<Account> {
  const password = currentMethod(boot, "password");
  const key = currentMethod(boot, "recovery");
  let way: "password" | "recovery" = password ? "password" : "recovery";
  for (;;) {
    const answer: Account | "other" =
      way === "password"
        ? await ask(
            {
              title: "Unlock your vault",
              text: "Your keys are opened on this device. Your password is not sent.",
              label: "Password",
              secret: true,
              submit: "Unlock",
              ...(key ? { other: "Use the encryption recovery key instead" } : {}),
            },
            async (typed) => {
              const { account, keys } = await openWithPassword(boot, typed);
              await keepUnlocked(boot, account);
              // It was typed just now: nobody has to type it again for what they do next.
              await sendProof(keys).catch(ignoreApi);
              return account;
            },
          )
        : await ask(
            {
              title: "Unlock with your recovery key",
              text: "Type the encryption recovery key that you saved. It starts with “RK1-”.",
              label: "Encryption recovery key",
              secret: false,
              submit: "Unlock",
              ...(password ? { other: "Use the password instead" } : {}),
            },
            async (typed) => {
              const account = openWithRecoveryKey(boot, typed);
              await keepUnlocked(boot, account);
              return account;
            },
          );
    if (answer !== "other") return answer;
    way = way === "password" ? "recovery" : "password";
  }
}

/** Asks for the password, and tells the server that it is right. Unlocks the vault with it as well. */
async function reauthenticate(): Promise<void> {
  const boot = await bootstrap();
  await ask(
    {
      title: "Confirm it’s you",
      text: "This change asks for your password once more.",
      label: "Password",
      secret: true,
      submit: "Confirm",
    },
    async (typed) => {
      const { account, keys } = await openWithPassword(boot, typed);
      await sendProof(keys);
      await keepUnlocked(boot, account);
    },
  );
}

async function sendProof(keys: PasswordKeys): Promise<void> {
  try {
    await postJson("/vault/reauthenticate", { auth_secret: keys.authSecret });
  } catch (error) {
    if (error instanceof ApiError && error.code === "wrong_password") throw new FormError("", { secret: WRONG_PASSWORD });
    throw error;
  }
}

const WRONG_PASSWORD = "This is not your password.";

async function openWithPassword(boot: Bootstrap, typed: string): Promise<{ account: Account; keys: PasswordKeys }> {
  const method = currentMethod(boot, "password");
  if (!method) throw new FormError("Your account has no password. Reset it to set one.");
  const keys = await deriveKeys(typed, method.kdf, method.kdf_input);
  return { account: opened(() => openMethod(boot, method, keys.keyEncryptionKey), WRONG_PASSWORD), keys };
}

/** The account behind the current recovery key; FormError about the field `secret` when it is another. */
export function openWithRecoveryKey(boot: Bootstrap, typed: string): Account {
  const method = currentMethod(boot, "recovery");
  if (!method) throw new FormError("Your account has no encryption recovery key.");
  const secret = parseRecoveryKey(typed);
  return opened(() => openMethod(boot, method, recovery.kek(secret)), "This is another recovery key, not the current one.");
}

/** FormError about the field `secret` for what is no recovery key. */
export function parseRecoveryKey(typed: string): Uint8Array {
  try {
    return recovery.parse(typed);
  } catch (error) {
    if (error instanceof recovery.RecoveryKeyError) throw new FormError("", { secret: error.message });
    throw error;
  }
}

/** Keys of a password, with FormError for what a person should read. `salt` is url-safe base64. */
export async function deriveKeys(password: string, kdf: string, salt: string): Promise<PasswordKeys> {
  try {
    return await passwordKeys(password, kdf, b64uDecode(salt));
  } catch (error) {
    if (error instanceof KdfError) throw new FormError(error.message);
    throw error;
  }
}

function opened(open: () => Account, refusal: string): Account {
  try {
    return open();
  } catch (error) {
    if (error instanceof EnvelopeError) throw new FormError("", { secret: refusal });
    if (error instanceof VaultError) throw new FormError(error.message);
    throw error;
  }
}

export interface Question {
  title: string;
  text: string;
  label: string;
  /** Covered while it is typed. */
  secret: boolean;
  submit: string;
  /** A second way; choosing it gives "other". */
  other?: string;
}

/**
 * Asks in a dialog until `accept` takes what was typed. Cancelled when the dialog is closed.
 *
 * `accept` may reject with FormError about the field `secret`.
 */
export async function ask<T>(question: Question, accept: (typed: string) => Promise<T>): Promise<T | "other"> {
  const id = uniqueId("secret");
  const input = element("input", {
    id,
    name: "secret",
    type: question.secret ? "password" : "text",
    ...(question.secret ? {} : { class: "input-code" }),
    autocomplete: question.secret ? "current-password" : "off",
    autocapitalize: "none",
    spellcheck: "false",
    required: true,
    autofocus: true,
  });
  const toggle = element(
    "button",
    { type: "button", class: "field-password-toggle", "aria-pressed": "false", hidden: true },
    "Show",
    element("span", { class: "sr-only" }, " password"),
  );
  const cancel = element("button", { type: "button", class: "button button-secondary" }, "Cancel");
  const other = question.other && element("button", { type: "button", class: "link" }, question.other);
  const form = element(
    "form",
    { class: "dialog-form" },
    element("p", {}, question.text),
    element(
      "div",
      { class: "field" },
      element("div", { class: "field-label" }, element("label", { for: id }, question.label)),
      question.secret ? element("div", { class: "field-password" }, input, toggle) : input,
    ),
    other,
    element(
      "div",
      { class: "dialog-actions" },
      element("button", { type: "submit", class: "button button-primary" }, question.submit),
      cancel,
    ),
  );
  if (question.secret) connectPasswordToggle(toggle);
  const dialog = openDialog({ title: question.title, body: form });
  let answer: { value: T } | null = null;
  onSubmit(form, async () => {
    answer = { value: await accept(input.value) };
    input.value = "";
    dialog.close("done");
  });
  cancel.addEventListener("click", () => dialog.close());
  if (other) other.addEventListener("click", () => dialog.close("other"));
  const closed = await dialog.closed;
  input.value = "";
  if (closed === "other") return "other";
  // TypeScript doesn't follow the assignment into the handler.
  const found = answer as { value: T } | null;
  if (!found) throw new Cancelled("Cancelled.");
  return found.value;
}

function ignoreStorage(error: unknown): void {
  if (!(error instanceof StorageError)) throw error;
}

function ignoreApi(error: unknown): void {
  if (!(error instanceof ApiError) && !(error instanceof FormError)) throw error;
}
