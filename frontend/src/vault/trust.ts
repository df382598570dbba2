/**
 * Which keys this account has seen for which members and projects, so that a server can't exchange them unnoticed.
 *
 * The pins are wrapped for oneself and kept on the server. Their sequence number grows with every change, and each
 * device remembers the last one: a server that brings out an older store is found out, on devices that saw a newer.
 */

import { type Bytes, ctx, EncodingError, utf8, utf8Decode, uuidBytes } from "./encoding";
import type { Account } from "./account";
import { EnvelopeError, unwrap, wrap } from "./envelopes";
import { fingerprint, type Identity, type KeyGeneration, projectFingerprint } from "./statements";

/** "same" as pinned, "changed" since it was pinned (stop), or "new": never seen, so ask the person. */
export type Comparison = "same" | "changed" | "new";

export interface MemberPin {
  /** Account key version. */
  readonly akv: number;
  /** Fingerprint of the identity: 8 groups of 4 hex digits. */
  readonly fp: string;
  /** Whether somebody compared the fingerprint with that person, rather than trusting the first sight. */
  readonly verified: boolean;
}

/** A trust store as it is sent and stored. */
export interface SealedTrustStore {
  readonly sequence: number;
  readonly envelope: string;
}

/** What a device remembers between visits; localStorage by default. */
export type DeviceMemory = Pick<Storage, "getItem" | "setItem">;

const FINGERPRINT = /^[0-9a-f]{4}(?: [0-9a-f]{4}){7}$/;

export class TrustStore {
  /** Whether the server brought out an older store than this device has seen: pins may be missing or undone. */
  readonly isRolledBack: boolean;
  readonly #account: Account;
  readonly #device: DeviceMemory;
  readonly #members: Map<string, MemberPin>;
  readonly #projects: Map<string, Map<number, string>>;

  private constructor(
    account: Account,
    device: DeviceMemory,
    isRolledBack: boolean,
    members: Map<string, MemberPin>,
    projects: Map<string, Map<number, string>>,
  ) {
    this.#account = account;
    this.#device = device;
    this.isRolledBack = isRolledBack;
    this.#members = members;
    this.#projects = projects;
  }

  /**
   * The account's trust store as the server has it; null for none yet.
   *
   * EnvelopeError if it can't be opened: then nothing is trusted, and sealing to others has to wait.
   */
  static load(account: Account, stored: SealedTrustStore | null, device: DeviceMemory = localStorage): TrustStore {
    const seen = lastSequence(account, device);
    if (!stored) return new TrustStore(account, device, seen > 0, new Map(), new Map());
    const plaintext = unwrap(account.symmetric, context(account, stored.sequence), stored.envelope);
    const { members, projects } = parse(plaintext);
    if (stored.sequence > seen) remember(account, stored.sequence, device);
    return new TrustStore(account, device, stored.sequence < seen, members, projects);
  }

  member(vaultId: string): MemberPin | null {
    return this.#members.get(vaultId) ?? null;
  }

  /** Compares with what is pinned. Check the identity's own signature first (statements.isIdentitySigned). */
  compareMember(identity: Identity): Comparison {
    const pin = this.#members.get(identity.vaultId);
    if (!pin) return "new";
    return pin.akv === identity.akv && pin.fp === fingerprint(identity) ? "same" : "changed";
  }

  /** Pins a member's keys as they are now: after a person agreed to them. */
  pinMember(identity: Identity, verified: boolean): void {
    this.#members.set(identity.vaultId, { akv: identity.akv, fp: fingerprint(identity), verified });
  }

  /** Forgets a member who left. */
  unpinMember(vaultId: string): void {
    this.#members.delete(vaultId);
  }

  compareProject(key: Pick<KeyGeneration, "project" | "generation" | "publicKey">): Comparison {
    const pin = this.#projects.get(key.project)?.get(key.generation);
    if (pin === undefined) return "new";
    return pin === projectFingerprint(key.publicKey) ? "same" : "changed";
  }

  pinProject(key: Pick<KeyGeneration, "project" | "generation" | "publicKey">): void {
    const generations = this.#projects.get(key.project) ?? new Map<number, string>();
    this.#projects.set(key.project, generations.set(key.generation, projectFingerprint(key.publicKey)));
  }

  unpinProject(project: string): void {
    this.#projects.delete(project);
  }

  /** The store to send, under a number above all that this device has seen. `remember` it once it is stored. */
  seal(): SealedTrustStore {
    const sequence = lastSequence(this.#account, this.#device) + 1;
    const pins = {
      users: Object.fromEntries(this.#members),
      projects: Object.fromEntries([...this.#projects].map(([id, pinned]) => [id, Object.fromEntries(pinned)])),
    };
    const plaintext = utf8(JSON.stringify(pins));
    return { sequence, envelope: wrap(this.#account.symmetric, context(this.#account, sequence), plaintext) };
  }

  /** Notes on this device that the server took this store. */
  remember(sealed: SealedTrustStore): void {
    remember(this.#account, sealed.sequence, this.#device);
  }
}

function context(account: Account, sequence: number): Bytes {
  return ctx("trust-store", uuidBytes(account.vaultId), account.akv, sequence);
}

function slot(account: Account): string {
  return `trust-sequence:${account.vaultId}:${account.akv}`;
}

function lastSequence(account: Account, device: DeviceMemory): number {
  const found = Number(device.getItem(slot(account)) ?? 0);
  return Number.isSafeInteger(found) && found > 0 ? found : 0;
}

function remember(account: Account, sequence: number, device: DeviceMemory): void {
  device.setItem(slot(account), String(sequence));
}

/** The pins as they were sealed. Only this account can have made them: another shape is our mistake or a later form. */
function parse(plaintext: Bytes) {
  try {
    const { users, projects } = JSON.parse(utf8Decode(plaintext)) as {
      users: Record<string, MemberPin>;
      projects: Record<string, Record<string, string>>;
    };
    return {
      members: new Map(Object.entries(users).map(([vaultId, pin]) => [checkId(vaultId), checkPin(pin)])),
      projects: new Map(
        Object.entries(projects).map(([id, pinned]) => [
          checkId(id),
          new Map(Object.entries(pinned).map(([generation, fp]) => [Number(generation), checkFingerprint(fp)])),
        ]),
      ),
    };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError || error instanceof EncodingError) {
      throw new EnvelopeError();
    }
    throw error;
  }
}

function checkId(text: string): string {
  uuidBytes(text);
  return text;
}

function checkFingerprint(text: unknown): string {
  if (typeof text !== "string" || !FINGERPRINT.test(text)) throw new TypeError("Not a fingerprint.");
  return text;
}

function checkPin({ akv, fp, verified }: MemberPin): MemberPin {
  if (!Number.isInteger(akv) || typeof verified !== "boolean") throw new TypeError("Not a pin.");
  return { akv, fp: checkFingerprint(fp), verified };
}
