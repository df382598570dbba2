/** One generation of a project's key. Its private half is what ANY_LLM_KEY carries. */

import { type Bytes, b64, b64Decode, EncodingError, hex } from "./encoding";
import { randomBytes, sha256, x25519Public } from "./primitives";
import { openBox, sealBox } from "./sealed-box";

/** A text is no ANY_LLM_KEY; the message says why, for the person who pasted it. */
export class ProjectKeyError extends Error {
  override name = "ProjectKeyError";
}

export class ProjectKeyPair {
  readonly privateKey: Bytes;
  readonly publicKey: Bytes;
  /** 8 hex digits that name this key, without secret: the server keeps them to show the same ANY_LLM_KEY again. */
  readonly kid: string;

  constructor(privateKey: Bytes, kid: string) {
    this.privateKey = privateKey;
    this.publicKey = x25519Public(privateKey);
    this.kid = kid;
  }

  static generate(): ProjectKeyPair {
    return new ProjectKeyPair(randomBytes(32), hex(randomBytes(4)));
  }

  /** The pair of an ANY_LLM_KEY, with or without space around it; ProjectKeyError if it is none. */
  static parse(anyLlmKey: string): ProjectKeyPair {
    const parts = /^ANY\.v1\.([0-9a-f]{8})\.([0-9a-f]{8})-([A-Za-z0-9+/]{43}=)$/.exec(anyLlmKey.trim());
    if (!parts) {
      throw new ProjectKeyError("This is no ANY_LLM_KEY. It starts with “ANY.v1.” and ends with “=”.");
    }
    const [, kid, fingerprint, encoded] = parts as unknown as [string, string, string, string];
    let privateKey: Bytes;
    try {
      privateKey = b64Decode(encoded);
    } catch (error) {
      if (error instanceof EncodingError) throw new ProjectKeyError("This ANY_LLM_KEY has a wrong character at its end.");
      throw error;
    }
    const pair = new ProjectKeyPair(privateKey, kid);
    if (pair.#label !== fingerprint) {
      throw new ProjectKeyError("This ANY_LLM_KEY was changed or cut: its two parts don't belong together.");
    }
    return pair;
  }

  get anyLlmKey(): string {
    return `ANY.v1.${this.kid}.${this.#label}-${b64(this.privateKey)}`;
  }

  /** The public key as the API spells it: 44 characters of base64. */
  get encryptionKey(): string {
    return b64(this.publicKey);
  }

  /** A provider key as a box in base64; empty for a local provider that has none. */
  seal(providerKey: string): string {
    return sealBox(providerKey, this.publicKey);
  }

  /** What `seal` put into a box; EnvelopeError when it was sealed to another key, or altered. */
  open(box: string): string {
    return openBox(box, this.privateKey);
  }

  /** A label only: with 32 bits, other keys can be found that have it, too. */
  get #label(): string {
    return hex(sha256(this.publicKey).subarray(0, 4));
  }
}
