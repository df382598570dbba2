/**
 * Keeps the vault unlocked from one page to the next, in IndexedDB. Pure storage: the caller brings the session's share.
 *
 * What is stored is wrapped under a key that needs both halves: one that WebCrypto keeps here and doesn't hand out, and
 * the share that the server holds for this session. Without a live session, the copy on disk opens nothing. Against
 * code that runs on this page it is no help, and isn't meant to be.
 */

import { Account } from "./account";
import { type Bytes, ctx, LABEL, utf8, uuidBytes } from "./encoding";
import { EnvelopeError, unwrap, wrap } from "./envelopes";
import { randomBytes } from "./primitives";

/** The browser keeps nothing for us, so the vault asks for the password on every page. */
export class StorageError extends Error {
  override name = "StorageError";
}

const DATABASE = "anyllm-vault";
const STORE = "session";
const CHANNEL = "anyllm-vault";

/** How long a key waits between the password and the first page behind it: a second factor may be asked for. */
export const PENDING_MS = 10 * 60_000;
export const DEFAULT_IDLE_MINUTES = 30;
/** Activity moves the deadline, but writes it no more often than this. */
const TOUCH_MS = 15_000;

interface PendingKek {
  readonly envelope: string;
  readonly deadline: number;
}

interface CachedSeed {
  readonly envelope: string;
  readonly vaultId: string;
  readonly akv: number;
  readonly deadline: number;
}

/** Keeps the key that a password gave, for the page that follows. `share` is the session's, 32 bytes. */
export async function storePendingKek(share: Bytes, kek: Uint8Array): Promise<void> {
  const envelope = wrap(await unlockKey(share), pendingContext(), kek);
  await write("kek", { envelope, deadline: Date.now() + PENDING_MS } satisfies PendingKek);
}

/**
 * That key; null if there is none, it waited too long, or it is another session's.
 *
 * It stays until `storeSeed` puts the account in its place: people leave a page before it has done so.
 */
export async function pendingKek(share: Bytes): Promise<Bytes | null> {
  const record = await read<PendingKek>("kek");
  if (!record) return null;
  const kek = record.deadline > Date.now() ? opened(await unlockKey(share), pendingContext(), record.envelope) : null;
  if (!kek) await dropPendingKek();
  return kek;
}

/** Deletes it: it opens nothing. */
export async function dropPendingKek(): Promise<void> {
  await transact("readwrite", (store) => store.delete("kek"));
}

/** Keeps the unlocked account until nobody touched a page for the idle time. A key that waited has done its work. */
export async function storeSeed(share: Bytes, account: Account): Promise<void> {
  const { vaultId, akv, seed } = account;
  const envelope = wrap(await unlockKey(share), seedContext(vaultId, akv), seed);
  const record = { envelope, vaultId, akv, deadline: Date.now() + (await idleMs()) } satisfies CachedSeed;
  await transact("readwrite", (store) => {
    store.delete("kek");
    return store.put(record, "seed");
  });
}

/** The account if it is unlocked here, in this session; null if it has to be unlocked first. Counts as activity. */
export async function loadSeed(share: Bytes, vaultId: string, akv: number): Promise<Account | null> {
  const record = await read<CachedSeed>("seed");
  if (!record) return null;
  const fits = record.deadline > Date.now() && record.vaultId === vaultId && record.akv === akv;
  const seed = fits ? opened(await unlockKey(share), seedContext(vaultId, akv), record.envelope) : null;
  if (!seed) {
    await dropSeed();
    return null;
  }
  await touch();
  return new Account(vaultId, akv, seed);
}

/** Locks: deletes every key that was kept, the local one too, and tells the other tabs. */
export async function forget(): Promise<void> {
  announce();
  await transact("readwrite", (store) => {
    store.delete("kek");
    store.delete("seed");
    return store.delete("local");
  });
}

/** Locks what expired or is another session's. A key that waits for its page stays: it may be of a newer session. */
async function dropSeed(): Promise<void> {
  announce();
  await transact("readwrite", (store) => store.delete("seed"));
}

/** Moves the deadline: somebody is here. Does nothing when the vault is locked, and never unlocks an expired one. */
export async function touch(): Promise<void> {
  const deadline = Date.now() + (await idleMs());
  await transact("readwrite", (store) => {
    const found = store.get("seed") as IDBRequest<CachedSeed | undefined>;
    found.onsuccess = () => {
      const record = found.result;
      if (record && record.deadline > Date.now()) store.put({ ...record, deadline }, "seed");
    };
    return found;
  });
}

/** After how many minutes without activity this browser locks. It holds from the next activity on. */
export async function setIdleMinutes(minutes: number): Promise<void> {
  if (!Number.isInteger(minutes) || minutes < 1 || minutes > 24 * 60) throw new RangeError(`${minutes} minutes`);
  await write("idle", minutes);
  await touch();
}

export async function idleMinutes(): Promise<number> {
  return (await read<number>("idle")) ?? DEFAULT_IDLE_MINUTES;
}

/**
 * Calls `listener` when the vault is locked, in this tab or another: drop the account and what it opened.
 *
 * Returns what ends it.
 */
export function onLock(listener: () => void): () => void {
  listeners.add(listener);
  bus(); // from now on other tabs are heard
  return () => listeners.delete(listener);
}

/** Watches this page: activity moves the deadline, and when it passes, the vault locks. Returns what ends it. */
export function watchActivity(): () => void {
  let touched = Date.now();
  const active = () => {
    if (Date.now() - touched < TOUCH_MS) return;
    touched = Date.now();
    void check().then((locked) => (locked ? undefined : touch()), ignoreStorage);
  };
  const check = async () => {
    const record = await read<CachedSeed>("seed");
    const expired = record !== undefined && record.deadline <= Date.now();
    if (expired) await dropSeed();
    return expired;
  };
  const look = () => void check().catch(ignoreStorage);
  const events = ["pointerdown", "keydown", "scroll"] as const;
  for (const name of events) document.addEventListener(name, active, { passive: true, capture: true });
  // Timers rest while a page is hidden or the machine sleeps: look again when it is back.
  document.addEventListener("visibilitychange", look);
  const timer = window.setInterval(look, TOUCH_MS);
  return () => {
    for (const name of events) document.removeEventListener(name, active, { capture: true });
    document.removeEventListener("visibilitychange", look);
    window.clearInterval(timer);
  };
}

const listeners = new Set<() => void>();
let channel: BroadcastChannel | undefined;

function bus(): BroadcastChannel {
  if (!channel) {
    channel = new BroadcastChannel(CHANNEL);
    channel.onmessage = () => notify();
  }
  return channel;
}

function announce(): void {
  bus().postMessage("locked"); // reaches other tabs, not this one
  notify();
}

function notify(): void {
  for (const listener of listeners) listener();
}

/** A page without storage keeps nothing unlocked, so it has nothing to lock. */
function ignoreStorage(error: unknown): void {
  if (!(error instanceof StorageError)) throw error;
}

async function idleMs(): Promise<number> {
  return (await idleMinutes()) * 60_000;
}

function pendingContext(): Bytes {
  return ctx("unlock-cache", "kek", new Uint8Array(16), 0);
}

function seedContext(vaultId: string, akv: number): Bytes {
  return ctx("unlock-cache", "seed", uuidBytes(vaultId), akv);
}

function opened(key: Bytes, context: Bytes, envelope: string): Bytes | null {
  try {
    return unwrap(key, context, envelope);
  } catch (error) {
    if (error instanceof EnvelopeError) return null; // of a session that is over
    throw error;
  }
}

/** What wraps the records: HKDF of the half that stays here, salted with the half that the server holds. */
async function unlockKey(share: Bytes): Promise<Bytes> {
  const parameters = { name: "HKDF", hash: "SHA-256", salt: share, info: utf8(`${LABEL}unlock-cache`) };
  return new Uint8Array(await crypto.subtle.deriveBits(parameters, await localKey(), 256));
}

/** This browser's half, made on first use. WebCrypto derives from it, and exports it to nobody. */
async function localKey(): Promise<CryptoKey> {
  const candidate = await crypto.subtle.importKey("raw", randomBytes(32), "HKDF", false, ["deriveBits"]);
  let chosen = candidate;
  await transact("readwrite", (store) => {
    // In one transaction: two tabs that start at once agree on one key.
    const found = store.get("local") as IDBRequest<CryptoKey | undefined>;
    found.onsuccess = () => {
      if (found.result) chosen = found.result;
      else store.put(candidate, "local");
    };
    return found;
  });
  return chosen;
}

function read<T>(name: string): Promise<T | undefined> {
  return transact("readonly", (store) => store.get(name) as IDBRequest<T | undefined>);
}

async function write(name: string, value: unknown): Promise<void> {
  await transact("readwrite", (store) => store.put(value, name));
}

/** Runs `work` in one transaction; the result of the request that it returns, once the transaction is complete. */
async function transact<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = work(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(unavailable());
    });
  } finally {
    database.close(); // an open connection would hold up "delete all data"
  }
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    if (typeof indexedDB === "undefined" || !globalThis.crypto?.subtle) return reject(unavailable());
    let request: IDBOpenDBRequest;
    try {
      request = indexedDB.open(DATABASE, 1);
    } catch {
      return reject(unavailable()); // storage is forbidden on this page
    }
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(unavailable());
    request.onblocked = () => reject(unavailable());
  });
}

function unavailable(): StorageError {
  return new StorageError(
    "This browser stores nothing for this site, so your vault can't stay unlocked. Allow storage, or leave private mode.",
  );
}
