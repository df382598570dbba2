import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { b64, b64Decode, b64u, b64uDecode, ctx, EncodingError, hex, unhex, utf8, utf8Decode } from "../src/vault/encoding";
import { EnvelopeError, unwrap, wrap } from "../src/vault/envelopes";
import * as recovery from "../src/vault/recovery";
import { openBox, sealBox } from "../src/vault/sealed-box";
import { ALICE, BOB, KEK, KEY, METHOD, PROJECT, V } from "./cast";

const bytes = (most: number) => fc.uint8Array({ maxLength: most }).map((data) => new Uint8Array(data));
const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((data) => new Uint8Array(data));
const text = fc.string({ unit: "binary", maxLength: 8192 }).filter((value) => !/\p{Surrogate}/u.test(value));
const field = fc.oneof(fc.string({ unit: "binary-ascii" }), fc.nat(2 ** 32 - 1), bytes(40));

test("wraps open to what went in, under any key and context", () => {
  fc.assert(
    fc.property(key, bytes(200), bytes(8192), (kek, context, plaintext) => {
      assert.deepEqual(unwrap(kek, context, wrap(kek, context, plaintext)), plaintext);
    }),
  );
});

test("boxes open to the text that went in", () => {
  fc.assert(
    fc.property(key, text, (other, plaintext) => {
      const box = sealBox(plaintext, PROJECT.publicKey);
      assert.equal(openBox(box, PROJECT.privateKey), plaintext);
      if (box) assert.throws(() => openBox(box, other), EnvelopeError);
    }),
    { numRuns: 60 },
  );
});

test("wraps don't open under another key or context", () => {
  fc.assert(
    fc.property(key, key, bytes(60), bytes(60), bytes(60), (kek, otherKek, context, otherContext, plaintext) => {
      fc.pre(hex(kek) !== hex(otherKek) && hex(context) !== hex(otherContext));
      const envelope = wrap(kek, context, plaintext);
      assert.throws(() => unwrap(otherKek, context, envelope), EnvelopeError);
      assert.throws(() => unwrap(kek, otherContext, envelope), EnvelopeError);
    }),
  );
});

test("every altered byte of a wrap, a grant and a box is noticed", () => {
  const own = b64uDecode(V.wrap.envelope.slice(3));
  const grant = b64uDecode(V.grant.envelope.slice(3));
  const box = b64Decode(V.sealed_box.box_b64);
  const context = ALICE.unlockContext(METHOD);
  const altered = (data: Uint8Array, position: number, change: number) => {
    const copy = data.slice();
    copy[position]! ^= change;
    return copy;
  };
  const change = () => 1 + Math.floor(Math.random() * 255);
  for (let position = 0; position < own.length; position++) {
    assert.throws(() => unwrap(KEK, context, `W1.${b64u(altered(own, position, change()))}`), EnvelopeError);
  }
  for (let position = 0; position < grant.length; position++) {
    const envelope = `G1.${b64u(altered(grant, position, change()))}`;
    assert.throws(() => BOB.openGrantFrom(ALICE, KEY, envelope), EnvelopeError);
  }
  for (let position = 0; position < box.length; position++) {
    assert.throws(() => PROJECT.open(b64(altered(box, position, change()))), EnvelopeError);
  }
});

test("truncated envelopes are refused at every length", () => {
  const own = b64uDecode(V.wrap.envelope.slice(3));
  for (let length = 0; length < own.length; length++) {
    const envelope = `W1.${b64u(own.subarray(0, length))}`;
    assert.throws(() => unwrap(KEK, ALICE.unlockContext(METHOD), envelope), EnvelopeError);
  }
});

test("contexts are injective", () => {
  const plain = (fields: (string | number | Uint8Array)[]) =>
    JSON.stringify(fields.map((value) => hex(typeof value === "string" ? utf8(value) : typeof value === "number" ? u32(value) : value)));
  const u32 = (number: number) => ctx("", number).slice(-4);
  fc.assert(
    fc.property(fc.array(field, { maxLength: 6 }), fc.array(field, { maxLength: 6 }), (one, other) => {
      assert.equal(hex(ctx("x", ...one)) === hex(ctx("x", ...other)), plain(one) === plain(other));
    }),
  );
  fc.assert(
    fc.property(fc.string(), fc.nat(), (joined, at) => {
      const position = at % (joined.length + 1);
      const [head, tail] = [joined.slice(0, position), joined.slice(position)];
      assert.notEqual(hex(ctx("x", head, tail)), hex(ctx("x", joined)));
      if (tail) assert.notEqual(hex(ctx("x", head, tail)), hex(ctx("x", head + tail[0]!, tail.slice(1))));
    }),
  );
});

test("encodings: what is accepted is what would have been written", () => {
  fc.assert(
    fc.property(bytes(300), (data) => {
      assert.deepEqual(b64Decode(b64(data)), data);
      assert.deepEqual(b64uDecode(b64u(data)), data);
      assert.deepEqual(unhex(hex(data)), data);
    }),
  );
  const written = fc.string({ unit: fc.constantFrom(..."ABgwz019+/-_= \n".split("")), maxLength: 12 });
  const isRefusedOrSame = (decode: (text: string) => Uint8Array, encode: (data: Uint8Array) => string) => (text: string) => {
    let data: Uint8Array;
    try {
      data = decode(text);
    } catch (error) {
      assert.ok(error instanceof EncodingError);
      return;
    }
    assert.equal(encode(data), text);
  };
  fc.assert(fc.property(written, isRefusedOrSame(b64Decode, b64)), { numRuns: 2000 });
  fc.assert(fc.property(written, isRefusedOrSame(b64uDecode, b64u)), { numRuns: 2000 });
  fc.assert(fc.property(text, (value) => assert.equal(utf8Decode(utf8(value)), value)));
});

test("recovery keys: any one character mistaken is noticed", () => {
  const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  const secret = fc.uint8Array({ minLength: 20, maxLength: 20 });
  fc.assert(
    fc.property(secret, fc.nat(31), (made, digit) => {
      const written = recovery.format(made);
      assert.deepEqual([...recovery.parse(written)], [...made]);
      // Among the check characters any change is certain to show; elsewhere one in a million does not.
      const last = written.at(-1) === alphabet[digit] ? alphabet[(digit + 1) % 32]! : alphabet[digit]!;
      assert.throws(() => recovery.parse(written.slice(0, -1) + last), recovery.RecoveryKeyError);
    }),
  );
});
