/** What members sign with their Ed25519 key, what envelopes are bound to, and the fingerprints people compare. */

import { type Bytes, b64Decode, ctx, hex, utf8, uuidBytes } from "./encoding";
import { ed25519Verify, sha256 } from "./primitives";

/** What others know of an account: its vault (a UUID), the version of its keys, and the public keys. */
export interface Identity {
  readonly vaultId: string;
  readonly akv: number;
  readonly x25519Public: Bytes;
  readonly ed25519Public: Bytes;
}

/** One generation of a project's key. The ids are UUIDs. */
export interface KeyGeneration {
  readonly organization: string;
  readonly project: string;
  readonly generation: number;
  readonly publicKey: Bytes;
}

export type UnlockType = "password" | "passphrase" | "prf" | "recovery";

/** A way to unlock the vault: what its envelope is bound to besides the vault. */
export interface UnlockMethod {
  /** A UUID, chosen in the browser. */
  readonly id: string;
  readonly type: UnlockType;
  /** How the key is derived: "a1" from a password, "prf1" from a passkey, "rk1" from a recovery key. */
  readonly kdf: string;
  /** The salt of "a1", the SHA-256 of the credential id of "prf1", nothing for "rk1". */
  readonly input: Bytes;
}

/** Self-signed: these two public keys are this vault's. */
export function identity(of: Identity): Bytes {
  return ctx("account-identity", uuidBytes(of.vaultId), of.akv, of.x25519Public, of.ed25519Public);
}

/** 128 bits of an identity for people to compare: 8 groups of 4 hex digits. */
export function fingerprint(of: Identity): string {
  return grouped(sha256(identity(of)));
}

/** The same of a project's public key. */
export function projectFingerprint(publicKey: Uint8Array): string {
  return grouped(sha256(publicKey));
}

/** This public key is the project's in this generation, after `previous` (empty for the first). */
export function projectKey(key: KeyGeneration, previous: Uint8Array = new Uint8Array()): Bytes {
  const ids = [uuidBytes(key.organization), uuidBytes(key.project)];
  return ctx("project-key", ...ids, key.generation, key.publicKey, previous);
}

/** This box (base64, as it is sent) holds this provider's key for this generation of the project's key. */
export function providerKey(
  key: Pick<KeyGeneration, "project" | "generation" | "publicKey">,
  provider: string,
  box: string,
): Bytes {
  return providerKeyOf(key, provider, sha256(b64Decode(box)));
}

/** The same, for who has the box's SHA-256 only. */
export function providerKeyOf(
  key: Pick<KeyGeneration, "project" | "generation" | "publicKey">,
  provider: string,
  digest: Uint8Array,
): Bytes {
  return ctx("provider-key", uuidBytes(key.project), key.generation, key.publicKey, provider, digest);
}

/** This envelope replaces what stood in this unlock slot. */
export function unlockUpdate(
  vaultId: string,
  akv: number,
  method: Pick<UnlockMethod, "id" | "type">,
  envelope: string,
): Bytes {
  const digest = sha256(utf8(envelope));
  return ctx("unlock-update", uuidBytes(vaultId), akv, uuidBytes(method.id), method.type, digest);
}

/** What the envelope of an unlock method is bound to. */
export function unlockContext(vaultId: string, akv: number, method: UnlockMethod): Bytes {
  const { id, type, kdf, input } = method;
  return ctx("unlock", type, uuidBytes(id), uuidBytes(vaultId), akv, kdf, input);
}

/** What a member's own wrap of a project key is bound to. */
export function selfGrantContext(key: KeyGeneration, vaultId: string, akv: number): Bytes {
  const ids = [uuidBytes(key.organization), uuidBytes(key.project)];
  return ctx("self-grant", ...ids, key.generation, key.publicKey, uuidBytes(vaultId), akv);
}

/** Everything a grant is bound to: which key, to whom, from whom. */
export function grantContext(key: KeyGeneration, recipient: Identity, sender: Identity): Bytes {
  return ctx(
    "grant",
    uuidBytes(key.organization),
    uuidBytes(key.project),
    key.generation,
    key.publicKey,
    uuidBytes(recipient.vaultId),
    recipient.akv,
    recipient.x25519Public,
    uuidBytes(sender.vaultId),
    sender.akv,
    sender.ed25519Public,
  );
}

/** This grant's body was made by the sender for this context. */
export function grantSignature(context: Uint8Array, body: Uint8Array): Bytes {
  return ctx("G1-sig", context, sha256(body));
}

/** Whether `signature` (64 bytes) over `statement` is by the holder of `publicKey` (Ed25519). */
export function isSigned(statement: Uint8Array, signature: Uint8Array, publicKey: Uint8Array): boolean {
  return ed25519Verify(publicKey, statement, signature);
}

/** Whether an identity was signed by the account it names. It says nothing of who that account belongs to. */
export function isIdentitySigned(of: Identity, signature: Uint8Array): boolean {
  return isSigned(identity(of), signature, of.ed25519Public);
}

function grouped(digest: Uint8Array): string {
  return hex(digest.subarray(0, 16)).replace(/.{4}(?=.)/g, "$& ");
}
