/** Encodings of the key protocol (docs/protocol.md, "Encodings"). Decoders accept one spelling of each value only. */

import { equalBytes } from "@noble/ciphers/utils.js";
import { bytesToHex, concatBytes, hexToBytes } from "@noble/hashes/utils.js";

/** Bytes in memory of their own, as WebCrypto wants them. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A text is not in the form it should have. */
export class EncodingError extends Error {
  override name = "EncodingError";
}

/** Stands before every label, whatever the product is called. */
export const LABEL = "any-llm-platform/v1/";

const encoder = new TextEncoder();
// A byte order mark is part of the text like any other character.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8; EncodingError for half a surrogate pair, which would silently become another character. */
export function utf8(text: string): Bytes {
  if (/\p{Surrogate}/u.test(text)) throw new EncodingError("The text has a broken character.");
  return encoder.encode(text);
}

/** Strict inverse of `utf8`. */
export function utf8Decode(data: Uint8Array): string {
  try {
    return decoder.decode(data);
  } catch {
    throw new EncodingError("The bytes are no UTF-8 text.");
  }
}

/** RFC 4648 §4, padded: the form of everything that released clients read. */
export function b64(data: Uint8Array): string {
  let characters = "";
  for (const byte of data) characters += String.fromCharCode(byte);
  return btoa(characters);
}

/** Strict inverse of `b64`. */
export function b64Decode(text: string): Bytes {
  let characters: string;
  try {
    characters = atob(text);
  } catch {
    throw new EncodingError("Not standard base64 with padding.");
  }
  const data = Uint8Array.from(characters, (character) => character.charCodeAt(0));
  if (b64(data) !== text) throw new EncodingError("Not canonical base64.");
  return data;
}

/** RFC 4648 §5 without padding: the form of our own formats. */
export function b64u(data: Uint8Array): string {
  return b64(data).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Strict inverse of `b64u`. */
export function b64uDecode(text: string): Bytes {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) throw new EncodingError("Not url-safe base64 without padding.");
  const standard = text.replaceAll("-", "+").replaceAll("_", "/");
  return b64Decode(standard + "=".repeat((4 - (text.length % 4)) % 4));
}

/** Lower-case hexadecimal. */
export function hex(data: Uint8Array): string {
  return bytesToHex(data);
}

/** Strict inverse of `hex`. */
export function unhex(text: string): Bytes {
  if (!/^(?:[0-9a-f]{2})*$/.test(text)) throw new EncodingError("Not lower-case hexadecimal.");
  return new Uint8Array(hexToBytes(text));
}

/** 4 bytes, big-endian; RangeError unless `number` is a whole number from 0 to 2^32 - 1. */
export function u32(number: number): Bytes {
  if (!Number.isInteger(number) || number < 0 || number > 0xffff_ffff) throw new RangeError(`${number} is no u32.`);
  return Uint8Array.of(number >>> 24, number >>> 16, number >>> 8, number);
}

/** The 16 bytes of a UUID in its usual spelling: lower case, with hyphens. */
export function uuidBytes(text: string): Bytes {
  if (!/^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/.test(text)) throw new EncodingError("Not a UUID.");
  return unhex(text.replaceAll("-", ""));
}

/** One array of all of them. */
export function concat(...parts: Uint8Array[]): Bytes {
  return new Uint8Array(concatBytes(...parts));
}

/**
 * The context encoding: each item behind its length, so that no two lists of items give the same bytes.
 *
 * Numbers become u32, strings UTF-8, bytes stay as they are. A UUID goes in as `uuidBytes`, never as text.
 */
export function ctx(label: string, ...fields: (string | number | Uint8Array)[]): Bytes {
  const items = [LABEL + label, ...fields].map((field) => {
    if (typeof field === "string") return utf8(field);
    return typeof field === "number" ? u32(field) : field;
  });
  return concat(...items.flatMap((item) => [u32(item.length), item]));
}

/** Whether both are the same, in a time that depends on their lengths only. */
export function equal(left: Uint8Array, right: Uint8Array): boolean {
  return equalBytes(left, right);
}
