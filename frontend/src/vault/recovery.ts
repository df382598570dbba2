/** The encryption recovery key: 160 random bits, written in Crockford's base 32 behind `RK1-`. Import as a namespace. */

import { type Bytes, ctx } from "./encoding";
import { derive, randomBytes, sha256 } from "./primitives";

/** A text is no recovery key; the message says why, for the person who typed it. */
export class RecoveryKeyError extends Error {
  override name = "RecoveryKeyError";
}

/** The `kdf` of its unlock method. */
export const RECOVERY_KDF = "rk1";

const ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** The 20 bytes of a new key. */
export function generate(): Bytes {
  return randomBytes(20);
}

/** For people to write down: `RK1-` and 9 groups of 4, the last of them check characters. */
export function format(secret: Uint8Array): string {
  const check = sha256(ctx("recovery-check", secret)).subarray(0, 5);
  const characters = crockford(secret) + crockford(check).slice(0, 4);
  return `RK1${characters.replace(/.{4}/g, "-$&")}`;
}

/** Reads what a person typed: case, spaces and hyphens don't matter, nor O for 0 and I or L for 1. */
export function parse(text: string): Bytes {
  const plain = text
    .toUpperCase()
    .replace(/[\s\-\u2010-\u2015]/g, "")
    .replaceAll("O", "0")
    .replace(/[IL]/g, "1");
  if (!plain.startsWith("RK1")) throw new RecoveryKeyError("An encryption recovery key starts with “RK1-”.");
  if (plain.length !== 39) {
    throw new RecoveryKeyError(
      `An encryption recovery key has 36 letters and digits after “RK1-”. This one has ${plain.length - 3}.`,
    );
  }
  let number = 0n;
  for (const character of plain.slice(3, 35)) {
    const digit = ALPHABET.indexOf(character);
    if (digit < 0) throw new RecoveryKeyError(`“${character}” is in no encryption recovery key.`);
    number = number * 32n + BigInt(digit);
  }
  const secret = new Uint8Array(20);
  for (let index = 19; index >= 0; index--, number >>= 8n) secret[index] = Number(number & 0xffn);
  if (format(secret).replaceAll("-", "") !== plain) {
    throw new RecoveryKeyError("A character of this encryption recovery key is wrong. Compare it with what you saved.");
  }
  return secret;
}

/** The key that wraps the account seed. The secret is random, so no slow hash is needed. */
export function kek(secret: Uint8Array): Bytes {
  return derive(secret, "kek/recovery");
}

/** Base 32 of a multiple of 5 bytes. */
function crockford(data: Uint8Array): string {
  let number = 0n;
  for (const byte of data) number = (number << 8n) | BigInt(byte);
  let characters = "";
  for (let digits = (data.length / 5) * 8; digits > 0; digits--, number >>= 5n) {
    characters = ALPHABET[Number(number & 31n)] + characters;
  }
  return characters;
}
