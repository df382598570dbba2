/** Assertions that run in Node and in a page alike. */

import { hex } from "../src/vault/encoding";

function shown(value: unknown): string {
  return value instanceof Uint8Array ? `bytes ${hex(value)}` : `${typeof value} ${JSON.stringify(value)}`;
}

/** Both are the same bytes, or the same JSON value. */
export function same(actual: unknown, expected: unknown): void {
  if (shown(actual) !== shown(expected)) throw new Error(`${shown(actual)}\nis not\n${shown(expected)}`);
}

/** `action` throws an error of this class, and no other. Returns it. */
export function refused<E extends Error>(kind: new (...given: never[]) => E, action: () => unknown): E {
  try {
    action();
  } catch (error) {
    if (error instanceof kind) return error;
    throw error;
  }
  throw new Error("It was accepted.");
}
