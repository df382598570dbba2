/** What tests call in a real page: `vault.<name>`, with bytes as hexadecimal. */

import { deleteJson, ApiError, getJson, postJson } from "../src/http";
import { Account } from "../src/vault/account";
import { hex, unhex, utf8 } from "../src/vault/encoding";
import { ask, KDF, passphraseKek, passwordKeys } from "../src/vault/kdf";
import * as session from "../src/vault/session";
import { CASES } from "./cases";
import { V } from "./cast";

const vault = {
  /** The names of the cases that ran; rejects at the first that fails. */
  runCases() {
    return CASES.map(([name, run]) => {
      try {
        run();
      } catch (error) {
        throw new Error(`${name}: ${String(error)}`);
      }
      return name;
    });
  },
  async passwordKeys(password: string, kdf: string, salt: string) {
    const { authSecret, keyEncryptionKey } = await passwordKeys(password, kdf, unhex(salt));
    return [authSecret, hex(keyEncryptionKey)];
  },
  passphraseKek: async (passphrase: string, salt: string) => hex(await passphraseKek(passphrase, "a1", unhex(salt))),
  /** One derivation in the worker: how it was made, what came out, and milliseconds. */
  async derive() {
    const password = utf8(V.kdf.password.normalize("NFKC"));
    const begun = performance.now();
    const answer = await ask({ password, salt: unhex(V.kdf.salt_hex), parameters: KDF.a1! });
    const ms = performance.now() - begun;
    return "key" in answer ? { engine: answer.engine, key: hex(answer.key), ms } : answer;
  },
  policy: {
    create: () => window.trustedTypes!.createPolicy("alp-worker", { createScriptURL: (url) => url }) && null,
    worker: (url: string) => new Worker(url) && null,
  },
  storePendingKek: (share: string, kek: string) => session.storePendingKek(unhex(share), unhex(kek)),
  async pendingKek(share: string) {
    const kek = await session.pendingKek(unhex(share));
    return kek && hex(kek);
  },
  storeSeed: (share: string, vaultId: string, akv: number, seed: string) =>
    session.storeSeed(unhex(share), new Account(vaultId, akv, unhex(seed))),
  async loadSeed(share: string, vaultId: string, akv: number) {
    const account = await session.loadSeed(unhex(share), vaultId, akv);
    return account && hex(account.seed);
  },
  forget: session.forget,
  touch: session.touch,
  setIdleMinutes: session.setIdleMinutes,
  idleMinutes: session.idleMinutes,
  watch: () => void session.watchActivity(),
  /** Resolves when the vault is locked the next time, here or in another tab. */
  nextLock: () =>
    new Promise<string>((resolve) => {
      const end = session.onLock(() => (end(), resolve("locked")));
    }),
  /** Everything that is stored, with the local key as what WebCrypto says of it. */
  async dump() {
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open("anyllm-vault");
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    const store = database.transaction("session").objectStore("session");
    const records: Record<string, unknown> = {};
    await new Promise<void>((resolve) => {
      store.openCursor().onsuccess = ({ target }) => {
        const cursor = (target as IDBRequest<IDBCursorWithValue | null>).result;
        if (!cursor) return resolve();
        records[String(cursor.key)] = cursor.value;
        cursor.continue();
      };
    });
    database.close();
    const local = records.local as CryptoKey | undefined;
    if (local) {
      const exported = await crypto.subtle.exportKey("raw", local).then(
        () => "handed out",
        (error: DOMException) => error.name,
      );
      records.local = { extractable: local.extractable, usages: local.usages, exported };
    }
    return records;
  },
  async http(method: "get" | "post" | "delete", url: string, body?: unknown) {
    try {
      if (method === "get") return await getJson(url);
      return method === "post" ? await postJson(url, body) : await deleteJson(url, body);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return { status: error.status, code: error.code, detail: error.detail };
    }
  },
};

declare global {
  interface Window {
    vault: typeof vault;
  }
}
window.vault = vault;
