/** Boxes that anyone can seal to a public key: the wire format of released clients, without sender or context. */

import { type Bytes, b64, b64Decode, concat, utf8, utf8Decode } from "./encoding";
import { opening } from "./envelopes";
import { aeadOpen, aeadSeal, randomBytes, sha512, x25519, x25519Public } from "./primitives";

/**
 * A text sealed to a project's public key, in base64; empty for an empty text (a local provider has no key).
 *
 * CryptoError for a public key of low order. `ephemeral` (32 bytes) is for test vectors only.
 */
export function sealBox(plaintext: string, publicKey: Uint8Array, ephemeral = randomBytes(32)): string {
  if (plaintext === "") return "";
  const ephemeralPublic = x25519Public(ephemeral);
  const key = x25519(ephemeral, publicKey);
  const sealed = aeadSeal(key, nonceOf(ephemeralPublic, publicKey), utf8(plaintext));
  return b64(concat(ephemeralPublic, sealed));
}

/** What `sealBox` put in; EnvelopeError when the box was sealed to another key, or altered. */
export function openBox(box: string, privateKey: Uint8Array): string {
  if (box === "") return "";
  return opening(() => {
    const raw = b64Decode(box);
    if (raw.length < 48) return null;
    const ephemeralPublic = raw.subarray(0, 32);
    const key = x25519(privateKey, ephemeralPublic);
    return utf8Decode(aeadOpen(key, nonceOf(ephemeralPublic, x25519Public(privateKey)), raw.subarray(32)));
  });
}

function nonceOf(ephemeralPublic: Uint8Array, publicKey: Uint8Array): Bytes {
  return sha512(concat(ephemeralPublic, publicKey)).subarray(0, 24);
}
