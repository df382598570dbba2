/** The cryptography that the protocol is made of, under the names the protocol uses. All keys are 32 bytes. */

import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { ed25519, x25519 as curve25519 } from "@noble/curves/ed25519.js";
import { hkdf as hkdfOf } from "@noble/hashes/hkdf.js";
import { sha256 as sha256Of, sha512 as sha512Of } from "@noble/hashes/sha2.js";

import { type Bytes, equal, LABEL, utf8 } from "./encoding";

/** An operation met a key, point or ciphertext that it must not accept. */
export class CryptoError extends Error {
  override name = "CryptoError";
}

const NONE: Uint8Array = new Uint8Array();
const ZERO = new Uint8Array(32);

export function randomBytes(length: number): Bytes {
  return crypto.getRandomValues(new Uint8Array(length));
}

export function sha256(data: Uint8Array): Bytes {
  return new Uint8Array(sha256Of(data));
}

export function sha512(data: Uint8Array): Bytes {
  return new Uint8Array(sha512Of(data));
}

/** HKDF-SHA-256 (RFC 5869). */
export function hkdf(key: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Bytes {
  return new Uint8Array(hkdfOf(sha256Of, key, salt, info, length));
}

/** A 32-byte key for one purpose. */
export function derive(key: Uint8Array, label: string): Bytes {
  return hkdf(key, NONE, utf8(LABEL + label), 32);
}

/** XChaCha20-Poly1305: the ciphertext and, behind it, 16 bytes of tag. `nonce` is 24 bytes. */
export function aeadSeal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, data = NONE): Bytes {
  return new Uint8Array(xchacha20poly1305(key, nonce, data).encrypt(plaintext));
}

/** Inverse of `aeadSeal`; CryptoError unless key, nonce, ciphertext and associated data belong together. */
export function aeadOpen(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, data = NONE): Bytes {
  try {
    return new Uint8Array(xchacha20poly1305(key, nonce, data).decrypt(sealed));
  } catch {
    throw new CryptoError("The ciphertext does not belong to this key.");
  }
}

/** X25519 (RFC 7748); CryptoError for a public key of low order, whose result anybody can know. */
export function x25519(privateKey: Uint8Array, publicKey: Uint8Array): Bytes {
  let shared: Uint8Array;
  try {
    shared = curve25519.getSharedSecret(privateKey, publicKey);
  } catch {
    throw new CryptoError("Not a usable public key.");
  }
  if (equal(shared, ZERO)) throw new CryptoError("Not a usable public key.");
  return new Uint8Array(shared);
}

export function x25519Public(privateKey: Uint8Array): Bytes {
  return new Uint8Array(curve25519.getPublicKey(privateKey));
}

export function ed25519Public(seed: Uint8Array): Bytes {
  return new Uint8Array(ed25519.getPublicKey(seed));
}

/** An Ed25519 signature (RFC 8032), 64 bytes. */
export function ed25519Sign(seed: Uint8Array, message: Uint8Array): Bytes {
  return new Uint8Array(ed25519.sign(message, seed));
}

/** Whether the holder of `publicKey` signed `message`, by the strict rules that the server's library has, too. */
export function ed25519Verify(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  try {
    return ed25519.verify(signature, message, publicKey, { zip215: false });
  } catch {
    return false; // bytes that are no point of the curve
  }
}
