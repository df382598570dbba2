/**
 * Argon2id away from the page, built as js/kdf-worker.js: a classic worker for one derivation, then terminated.
 *
 * It has a content security policy of its own, with WebAssembly allowed. Where that is missing, or the browser has no
 * WebAssembly, the same bytes come slower from JavaScript. Either one first has to give the answer known for a small
 * question: a wrong key would lock its owner out.
 */

import { argon2id as argon2idInJavaScript } from "@noble/hashes/argon2.js";
import { argon2id as argon2idInWasm } from "hash-wasm";

import type { KdfAnswer, KdfParameters, KdfQuestion } from "./kdf";

type Engine = (password: Uint8Array, salt: Uint8Array, parameters: KdfParameters) => Promise<Uint8Array>;

const ENGINES = {
  wasm: (password, salt, { memoryKib, passes, lanes }) =>
    argon2idInWasm({
      password,
      salt,
      memorySize: memoryKib,
      iterations: passes,
      parallelism: lanes,
      hashLength: 32,
      outputType: "binary",
    }),
  javascript: async (password, salt, { memoryKib, passes, lanes }) =>
    argon2idInJavaScript(password, salt, { m: memoryKib, t: passes, p: lanes, dkLen: 32 }),
} satisfies Record<string, Engine>;

/** Argon2id v1.3 of these with 64 KiB, 1 pass and 1 lane, made with the reference implementation. */
const KNOWN = {
  password: "any-llm-platform/v1/known-answer",
  salt: "0123456789abcdef",
  parameters: { memoryKib: 64, passes: 1, lanes: 1 },
  answer: "7b7d5471bcd0645a0bb9c3d57fe464292bec3072cb7dac798e52e6baf8a9cca2",
};

async function isRight(engine: Engine): Promise<boolean> {
  const encoder = new TextEncoder();
  const answer = await engine(encoder.encode(KNOWN.password), encoder.encode(KNOWN.salt), KNOWN.parameters);
  return Array.from(answer, (byte) => byte.toString(16).padStart(2, "0")).join("") === KNOWN.answer;
}

async function derive({ password, salt, parameters }: KdfQuestion): Promise<KdfAnswer> {
  let name: keyof typeof ENGINES = "wasm";
  let right: boolean;
  try {
    right = await isRight(ENGINES.wasm);
  } catch {
    name = "javascript"; // no WebAssembly here: by policy, or in a hardened browser
    right = await isRight(ENGINES.javascript);
  }
  if (!right) return { error: "known-answer" };
  return { key: new Uint8Array(await ENGINES[name](password, salt, parameters)), engine: name };
}

self.onmessage = async ({ data }: MessageEvent<KdfQuestion>) => {
  let answer: KdfAnswer;
  try {
    answer = await derive(data);
  } catch {
    answer = { error: "failed" }; // mostly: no 64 MiB to be had
  }
  data.password.fill(0);
  self.postMessage(answer, { transfer: "key" in answer ? [answer.key.buffer] : [] });
};
