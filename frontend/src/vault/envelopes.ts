/**
 * Our own envelopes: `W1` under a key of one's own, `G1` from one member to another.
 *
 * Both are bound to a context, which the opener puts together from what it knows and never reads from the envelope,
 * and both commit to their key: a ciphertext that opens under two keys would tell a server which one was tried.
 */

import { type Bytes, b64u, b64uDecode, concat, ctx, EncodingError, equal } from "./encoding";
import {
  aeadOpen,
  aeadSeal,
  CryptoError,
  ed25519Verify,
  hkdf,
  randomBytes,
  x25519,
  x25519Public,
} from "./primitives";
import { grantContext, grantSignature, type Identity, type KeyGeneration } from "./statements";

/** An envelope or box is not what this key and context expect. One error for every cause, on purpose. */
export class EnvelopeError extends Error {
  override name = "EnvelopeError";

  constructor() {
    super("This can't be opened with your keys.");
  }
}

/** A `W1` envelope. `nonce` (24 bytes) is for test vectors only. */
export function wrap(key: Uint8Array, context: Uint8Array, plaintext: Uint8Array, nonce = randomBytes(24)): string {
  const { encryption, commitment } = wrapKeys(key, context, nonce);
  return `W1.${b64u(concat(nonce, commitment, aeadSeal(encryption, nonce, plaintext, context)))}`;
}

/** Opens a `W1` envelope; EnvelopeError unless key and context are the ones it was made with. */
export function unwrap(key: Uint8Array, context: Uint8Array, envelope: string): Bytes {
  return opening(() => {
    const body = bodyOf("W1.", envelope);
    if (body.length < 72) return null;
    const [nonce, committed, sealed] = [body.subarray(0, 24), body.subarray(24, 56), body.subarray(56)];
    const { encryption, commitment } = wrapKeys(key, context, nonce);
    return equal(commitment, committed) ? aeadOpen(encryption, nonce, sealed, context) : null;
  });
}

/** What signs for a sender, beside the identity that it signs as. */
export interface Sender extends Identity {
  sign(statement: Uint8Array): Bytes;
}

/** A `G1` grant of a project's private key. `ephemeral` (32 bytes) is for test vectors only. */
export function sealGrant(
  key: KeyGeneration,
  recipient: Identity,
  sender: Sender,
  projectPrivate: Uint8Array,
  ephemeral = randomBytes(32),
): string {
  const context = grantContext(key, recipient, sender);
  const ephemeralPublic = x25519Public(ephemeral);
  const shared = x25519(ephemeral, recipient.x25519Public);
  const { encryption, commitment, nonce } = grantKeys(shared, ephemeralPublic, recipient.x25519Public, context);
  const body = concat(ephemeralPublic, commitment, aeadSeal(encryption, nonce, projectPrivate, context));
  return `G1.${b64u(concat(body, sender.sign(grantSignature(context, body))))}`;
}

/**
 * The project's private key from a `G1` grant.
 *
 * `key`, `recipient` and `sender` are what the opener expects: the project it looks at, itself, and the identity that
 * it trusts. EnvelopeError unless the grant is exactly that, and holds the private key of `key.publicKey`.
 */
export function openGrant(
  key: KeyGeneration,
  recipient: Identity,
  recipientPrivate: Uint8Array,
  sender: Identity,
  envelope: string,
): Bytes {
  return opening(() => {
    const whole = bodyOf("G1.", envelope);
    if (whole.length !== 176) return null;
    const [body, signature] = [whole.subarray(0, 112), whole.subarray(112)];
    const context = grantContext(key, recipient, sender);
    if (!ed25519Verify(sender.ed25519Public, grantSignature(context, body), signature)) return null;
    const [ephemeralPublic, committed, sealed] = [body.subarray(0, 32), body.subarray(32, 64), body.subarray(64)];
    const shared = x25519(recipientPrivate, ephemeralPublic);
    const { encryption, commitment, nonce } = grantKeys(shared, ephemeralPublic, recipient.x25519Public, context);
    if (!equal(commitment, committed)) return null;
    const projectPrivate = aeadOpen(encryption, nonce, sealed, context);
    return equal(x25519Public(projectPrivate), key.publicKey) ? projectPrivate : null;
  });
}

/** What `open` returns; EnvelopeError for null and for every refusal on the way. Other errors are our mistakes. */
export function opening<T>(open: () => T | null): T {
  let found: T | null;
  try {
    found = open();
  } catch (error) {
    if (error instanceof CryptoError || error instanceof EncodingError) throw new EnvelopeError();
    throw error;
  }
  if (found === null) throw new EnvelopeError();
  return found;
}

function bodyOf(prefix: string, envelope: string): Bytes {
  if (!envelope.startsWith(prefix)) throw new EncodingError("Another format.");
  return b64uDecode(envelope.slice(prefix.length));
}

function wrapKeys(key: Uint8Array, context: Uint8Array, nonce: Uint8Array) {
  const keys = hkdf(key, nonce, ctx("W1", context), 64);
  return { encryption: keys.subarray(0, 32), commitment: keys.subarray(32) };
}

function grantKeys(shared: Uint8Array, ephemeral: Uint8Array, recipient: Uint8Array, context: Uint8Array) {
  const keys = hkdf(shared, concat(ephemeral, recipient), ctx("G1", context), 88);
  return { encryption: keys.subarray(0, 32), commitment: keys.subarray(32, 64), nonce: keys.subarray(64) };
}
