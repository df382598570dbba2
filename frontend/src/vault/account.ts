/** A member's keys, all derived from one 32-byte seed that never leaves browsers unwrapped. */

import { type Bytes, equal } from "./encoding";
import { EnvelopeError, openGrant, sealGrant, type Sender, unwrap, wrap } from "./envelopes";
import { derive, ed25519Public, ed25519Sign, randomBytes, x25519Public } from "./primitives";
import * as statements from "./statements";
import type { Identity, KeyGeneration, UnlockMethod } from "./statements";

export class Account implements Sender {
  /** The vault's UUID: chosen in the browser before the server knows of the account. It never changes. */
  readonly vaultId: string;
  /** Account key version: grows when a new seed replaces a lost one. */
  readonly akv: number;
  readonly seed: Bytes;
  readonly x25519Public: Bytes;
  readonly ed25519Public: Bytes;
  /** What wraps the account's own things: its grants, its trust store. */
  readonly symmetric: Bytes;
  readonly #x25519Private: Bytes;
  readonly #ed25519Seed: Bytes;

  constructor(vaultId: string, akv: number, seed: Bytes) {
    this.vaultId = vaultId;
    this.akv = akv;
    this.seed = seed;
    this.symmetric = derive(seed, "account/symmetric");
    this.#x25519Private = derive(seed, "account/x25519");
    this.#ed25519Seed = derive(seed, "account/ed25519");
    this.x25519Public = x25519Public(this.#x25519Private);
    this.ed25519Public = ed25519Public(this.#ed25519Seed);
  }

  /** A new account; or, with a vault's id and the next key version, new keys for one whose seed is lost. */
  static create(vaultId: string = crypto.randomUUID(), akv = 1): Account {
    return new Account(vaultId, akv, randomBytes(32));
  }

  /** The account whose seed an unlock method wraps; EnvelopeError when `kek` is not that method's key. */
  static unlock(vaultId: string, akv: number, method: UnlockMethod, kek: Uint8Array, envelope: string): Account {
    const seed = unwrap(kek, statements.unlockContext(vaultId, akv, method), envelope);
    if (seed.length !== 32) throw new EnvelopeError();
    return new Account(vaultId, akv, seed);
  }

  /** An Ed25519 signature, 64 bytes. */
  sign(statement: Uint8Array): Bytes {
    return ed25519Sign(this.#ed25519Seed, statement);
  }

  identityStatement(): Bytes {
    return statements.identity(this);
  }

  identitySignature(): Bytes {
    return this.sign(this.identityStatement());
  }

  /** For people to compare: 8 groups of 4 hex digits. */
  get fingerprint(): string {
    return statements.fingerprint(this);
  }

  /** What the envelope of an unlock method is bound to. */
  unlockContext(method: UnlockMethod): Bytes {
    return statements.unlockContext(this.vaultId, this.akv, method);
  }

  /** The seed wrapped for an unlock method, and the signature that lets the server store it. */
  wrapFor(method: UnlockMethod, kek: Uint8Array): { envelope: string; signature: Bytes } {
    const envelope = wrap(kek, this.unlockContext(method), this.seed);
    return { envelope, signature: this.sign(statements.unlockUpdate(this.vaultId, this.akv, method, envelope)) };
  }

  /** A project's private key wrapped for oneself. It also pins: nobody else can make one. */
  selfGrant(key: KeyGeneration, projectPrivate: Uint8Array): string {
    return wrap(this.symmetric, statements.selfGrantContext(key, this.vaultId, this.akv), projectPrivate);
  }

  /** The project's private key from one's own grant; EnvelopeError when it is not that of `key.publicKey`. */
  openSelfGrant(key: KeyGeneration, envelope: string): Bytes {
    const opened = unwrap(this.symmetric, statements.selfGrantContext(key, this.vaultId, this.akv), envelope);
    if (opened.length !== 32 || !equal(x25519Public(opened), key.publicKey)) throw new EnvelopeError();
    return opened;
  }

  /** A project's private key sealed to a teammate. Check who that is against the trust store before. */
  grantTo(recipient: Identity, key: KeyGeneration, projectPrivate: Uint8Array): string {
    return sealGrant(key, recipient, this, projectPrivate);
  }

  /** The project's private key that a teammate sealed to this account; EnvelopeError if anything is not as expected. */
  openGrantFrom(sender: Identity, key: KeyGeneration, envelope: string): Bytes {
    return openGrant(key, this, this.#x25519Private, sender, envelope);
  }
}
