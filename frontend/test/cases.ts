/** The protocol's vectors, what must be refused, and vectors of the standards below it. Run in Node and in Chromium. */

import { Account } from "../src/vault/account";
import {
  b64,
  b64Decode,
  b64u,
  b64uDecode,
  type Bytes,
  concat,
  ctx,
  EncodingError,
  equal,
  hex,
  u32,
  unhex,
  utf8,
  utf8Decode,
  uuidBytes,
} from "../src/vault/encoding";
import { EnvelopeError, openGrant, sealGrant, unwrap, wrap } from "../src/vault/envelopes";
import {
  aeadOpen,
  aeadSeal,
  CryptoError,
  derive,
  ed25519Public,
  ed25519Sign,
  ed25519Verify,
  hkdf,
  sha256,
  x25519,
  x25519Public,
} from "../src/vault/primitives";
import { ProjectKeyError, ProjectKeyPair } from "../src/vault/project-key";
import * as recovery from "../src/vault/recovery";
import { openBox, sealBox } from "../src/vault/sealed-box";
import * as statements from "../src/vault/statements";
import { TrustStore } from "../src/vault/trust";
import { ALICE, BOB, KEK, KEY, METHOD, POINTS_OF_LOW_ORDER, PROJECT, V } from "./cast";
import { refused, same } from "./expect";

export type Case = readonly [name: string, run: () => void];

/** A device that remembers nothing of earlier visits. */
export function newDevice() {
  const kept = new Map<string, string>();
  return {
    getItem: (name: string) => kept.get(name) ?? null,
    setItem: (name: string, value: string) => void kept.set(name, value),
  };
}

const bobPrivate = derive(BOB.seed, "account/x25519");
const wrapContext = ALICE.unlockContext(METHOD);
const flipped = (envelope: string, position: number): string => {
  const body = b64uDecode(envelope.slice(3));
  body[position]! ^= 1;
  return envelope.slice(0, 3) + b64u(body);
};

const vectors: Case[] = [
  [
    "master key to auth secret and key encryption key",
    () => {
      const master = unhex(V.kdf.master_key_hex);
      same(`as1.${b64u(derive(master, "auth"))}`, V.kdf.auth_secret);
      same(derive(master, "kek/password"), KEK);
      same(hex(utf8(V.kdf.password.normalize("NFKC"))), V.kdf.password_nfkc_utf8_hex);
    },
  ],
  [
    "recovery key",
    () => {
      const secret = unhex(V.recovery.code_bytes_hex);
      same(recovery.format(secret), V.recovery.text);
      same(recovery.parse(V.recovery.text), secret);
      same(recovery.kek(secret), unhex(V.recovery.kek_hex));
    },
  ],
  ["passkey", () => same(derive(unhex(V.prf.prf_output_hex), "kek/prf"), unhex(V.prf.kek_hex))],
  [
    "account keys",
    () => {
      for (const [account, expected] of [
        [ALICE, V.accounts.alice],
        [BOB, V.accounts.bob],
      ] as const) {
        same(derive(account.seed, "account/x25519"), unhex(expected.x25519_sk));
        same(account.x25519Public, unhex(expected.x25519_pk));
        same(derive(account.seed, "account/ed25519"), unhex(expected.ed25519_seed));
        same(account.ed25519Public, unhex(expected.ed25519_pk));
        same(account.symmetric, unhex(expected.symmetric));
      }
    },
  ],
  [
    "identity, its fingerprint and signature",
    () => {
      same(ALICE.identityStatement(), unhex(V.identity.statement_hex));
      same(ALICE.fingerprint, V.identity.fingerprint);
      same(ALICE.identitySignature(), unhex(V.identity.self_signature_hex));
      same(statements.isIdentitySigned(ALICE, ALICE.identitySignature()), true);
      same(statements.isIdentitySigned(BOB, ALICE.identitySignature()), false);
    },
  ],
  [
    "wrap",
    () => {
      same(wrapContext, unhex(V.wrap.context_hex));
      same(wrap(KEK, wrapContext, ALICE.seed, unhex(V.wrap.nonce_hex)), V.wrap.envelope);
      same(unwrap(KEK, wrapContext, V.wrap.envelope), unhex(V.wrap.plaintext_hex));
      same(Account.unlock(ALICE.vaultId, 1, METHOD, KEK, V.wrap.envelope).seed, ALICE.seed);
      const { envelope, signature } = ALICE.wrapFor(METHOD, KEK);
      same(unwrap(KEK, wrapContext, envelope), ALICE.seed);
      const statement = statements.unlockUpdate(ALICE.vaultId, 1, METHOD, envelope);
      same(statements.isSigned(statement, signature, ALICE.ed25519Public), true);
    },
  ],
  [
    "project key",
    () => {
      same(PROJECT.publicKey, unhex(V.project.pk_hex));
      same(PROJECT.encryptionKey, V.project.encryption_key);
      same(PROJECT.anyLlmKey, V.project.any_llm_key);
      same(statements.projectFingerprint(PROJECT.publicKey), V.project.long_fingerprint);
      const parsed = ProjectKeyPair.parse(` ${V.project.any_llm_key}\n`);
      same([hex(parsed.privateKey), parsed.kid], [V.project.sk_hex, V.project.kid]);
    },
  ],
  [
    "grant",
    () => {
      same(statements.grantContext(KEY, BOB, ALICE), unhex(V.grant.context_hex));
      const envelope = sealGrant(KEY, BOB, ALICE, PROJECT.privateKey, unhex(V.grant.ephemeral_sk_hex));
      same(envelope, V.grant.envelope);
      same(BOB.openGrantFrom(ALICE, KEY, envelope), PROJECT.privateKey);
      same(BOB.openGrantFrom(ALICE, KEY, ALICE.grantTo(BOB, KEY, PROJECT.privateKey)), PROJECT.privateKey);
    },
  ],
  [
    "self-grant",
    () => {
      const context = statements.selfGrantContext(KEY, ALICE.vaultId, 1);
      same(context, unhex(V.self_grant.context_hex));
      const envelope = wrap(ALICE.symmetric, context, PROJECT.privateKey, unhex(V.self_grant.nonce_hex));
      same(envelope, V.self_grant.envelope);
      same(ALICE.openSelfGrant(KEY, envelope), PROJECT.privateKey);
      same(ALICE.openSelfGrant(KEY, ALICE.selfGrant(KEY, PROJECT.privateKey)), PROJECT.privateKey);
      refused(EnvelopeError, () => ALICE.openSelfGrant(KEY, ALICE.selfGrant(KEY, ALICE.seed)));
    },
  ],
  [
    "sealed box",
    () => {
      const { plaintext, ephemeral_sk_hex, box_b64 } = V.sealed_box;
      same(sealBox(plaintext, PROJECT.publicKey, unhex(ephemeral_sk_hex)), box_b64);
      same(PROJECT.open(box_b64), plaintext);
      same([PROJECT.seal(""), PROJECT.open("")], ["", ""]);
    },
  ],
  [
    "challenge",
    () => {
      const { uuid, ephemeral_sk_hex, encrypted_challenge, stored_hash_hex } = V.challenge;
      same(sealBox(uuid, PROJECT.publicKey, unhex(ephemeral_sk_hex)), encrypted_challenge);
      same(PROJECT.open(encrypted_challenge), uuid);
      same(sha256(utf8(uuid)), unhex(stored_hash_hex));
    },
  ],
  [
    "statements",
    () => {
      const signed = [
        [statements.providerKey(KEY, "openai", V.sealed_box.box_b64), V.provider_key_statement],
        [statements.projectKey(KEY), V.project_key_statement],
        [statements.unlockUpdate(ALICE.vaultId, 1, METHOD, V.wrap.envelope), V.unlock_update],
      ] as const;
      for (const [statement, expected] of signed) {
        same(statement, unhex(expected.statement_hex));
        same(ALICE.sign(statement), unhex(expected.signature_hex));
      }
    },
  ],
  [
    "unlock cache",
    () => {
      const { local_hex, share_hex, key_hex, context_hex, nonce_hex, envelope } = V.unlock_cache;
      const key = hkdf(unhex(local_hex), unhex(share_hex), utf8("any-llm-platform/v1/unlock-cache"), 32);
      same(key, unhex(key_hex));
      same(ctx("unlock-cache", "seed", uuidBytes(ALICE.vaultId), 1), unhex(context_hex));
      same(wrap(key, unhex(context_hex), ALICE.seed, unhex(nonce_hex)), envelope);
    },
  ],
  [
    "trust store",
    () => {
      const { context_hex, nonce_hex, plaintext, envelope } = V.trust_store;
      same(wrap(ALICE.symmetric, unhex(context_hex), utf8(plaintext), unhex(nonce_hex)), envelope);
      const store = TrustStore.load(ALICE, { sequence: 7, envelope }, newDevice());
      same([store.compareMember(BOB), store.isRolledBack], ["new", false]);
      refused(EnvelopeError, () => TrustStore.load(ALICE, { sequence: 8, envelope }, newDevice()));
      refused(EnvelopeError, () => TrustStore.load(BOB, { sequence: 7, envelope }, newDevice()));
    },
  ],
];

/** By the names that the vectors' file gives them. */
const negatives: Record<string, () => void> = {
  "wrap: other user in context": () => unwrap(KEK, BOB.unlockContext(METHOD), V.wrap.envelope),
  "wrap: other akv": () => unwrap(KEK, statements.unlockContext(ALICE.vaultId, 2, METHOD), V.wrap.envelope),
  "wrap: wrong kek": () => unwrap(new Uint8Array(32), wrapContext, V.wrap.envelope),
  "wrap: flipped ct bit": () => unwrap(KEK, wrapContext, flipped(V.wrap.envelope, 56)),
  "wrap: flipped commitment": () => unwrap(KEK, wrapContext, flipped(V.wrap.envelope, 24)),
  "wrap: self-grant as unlock": () => unwrap(ALICE.symmetric, wrapContext, V.self_grant.envelope),
  "grant: other project": () => BOB.openGrantFrom(ALICE, { ...KEY, project: V.ids.org }, V.grant.envelope),
  "grant: other generation": () => BOB.openGrantFrom(ALICE, { ...KEY, generation: 2 }, V.grant.envelope),
  "grant: other sender key": () => BOB.openGrantFrom(publicOf(ALICE, BOB), KEY, V.grant.envelope),
  "grant: unsigned server forgery": () => {
    const forger = { ...publicOf(ALICE), sign: (statement: Uint8Array) => BOB.sign(statement) };
    BOB.openGrantFrom(ALICE, KEY, sealGrant(KEY, BOB, forger, PROJECT.privateKey));
  },
  "grant: project key substitution by signer": () =>
    BOB.openGrantFrom(ALICE, KEY, sealGrant(KEY, BOB, ALICE, new Uint8Array(32).fill(7))),
  "sealed box: low-order ephemeral (all zero)": () => openLowOrder(0),
  "sealed box: low-order ephemeral (one)": () => openLowOrder(1),
};

function publicOf({ vaultId, akv, x25519Public, ed25519Public }: Account, signer?: Account): statements.Identity {
  return { vaultId, akv, x25519Public, ed25519Public: signer?.ed25519Public ?? ed25519Public };
}

function openLowOrder(index: number): void {
  PROJECT.open(b64(concat(POINTS_OF_LOW_ORDER[index]!, new Uint8Array(20))));
}

const refusals: Case[] = [
  ...V.negatives.map(([name]): Case => {
    const attempt = negatives[name!];
    if (!attempt) throw new Error(`The vectors have another negative: ${name}`);
    return [name!, () => void refused(EnvelopeError, attempt)];
  }),
  [
    "every field of an unlock context counts",
    () => {
      const other: Partial<statements.UnlockMethod>[] = [
        { id: V.ids.org },
        { type: "recovery" },
        { kdf: "a2" },
        { input: new Uint8Array(16) },
      ];
      for (const change of other) {
        const context = ALICE.unlockContext({ ...METHOD, ...change });
        refused(EnvelopeError, () => unwrap(KEK, context, V.wrap.envelope));
      }
    },
  ],
  [
    "every field of a self-grant's context counts",
    () => {
      const other: Partial<statements.KeyGeneration>[] = [
        { organization: V.ids.project },
        { project: V.ids.org },
        { generation: 2 },
        { publicKey: ALICE.x25519Public },
      ];
      for (const change of other) {
        refused(EnvelopeError, () => ALICE.openSelfGrant({ ...KEY, ...change }, V.self_grant.envelope));
        refused(EnvelopeError, () => BOB.openGrantFrom(ALICE, { ...KEY, ...change }, V.grant.envelope));
      }
      for (const account of [new Account(ALICE.vaultId, 2, ALICE.seed), new Account(V.ids.bob, 1, ALICE.seed)]) {
        refused(EnvelopeError, () => account.openSelfGrant(KEY, V.self_grant.envelope));
      }
    },
  ],
  [
    "every field of a grant's parties counts",
    () => {
      const [alice, bob] = [publicOf(ALICE), publicOf(BOB)];
      const open = (recipient: statements.Identity, sender: statements.Identity) =>
        openGrant(KEY, recipient, bobPrivate, sender, V.grant.envelope);
      same(open(bob, alice), PROJECT.privateKey);
      const other = { vaultId: V.ids.org, akv: 2, x25519Public: unhex(V.project.pk_hex) };
      refused(EnvelopeError, () => open({ ...bob, vaultId: other.vaultId }, alice));
      refused(EnvelopeError, () => open({ ...bob, akv: other.akv }, alice));
      refused(EnvelopeError, () => open({ ...bob, x25519Public: other.x25519Public }, alice));
      refused(EnvelopeError, () => open(bob, { ...alice, vaultId: other.vaultId }));
      refused(EnvelopeError, () => open(bob, { ...alice, akv: other.akv }));
      refused(EnvelopeError, () => ALICE.openGrantFrom(ALICE, KEY, V.grant.envelope));
    },
  ],
  [
    "malformed envelopes",
    () => {
      const { envelope } = V.wrap;
      for (const wrong of ["", "W1.", envelope.slice(0, 90), `W2.${envelope.slice(3)}`, `${envelope}=`, `${envelope}A`]) {
        refused(EnvelopeError, () => unwrap(KEK, wrapContext, wrong));
      }
      const grant = V.grant.envelope;
      for (const wrong of ["", "G1.", grant.slice(0, -4), `${grant}AAAA`, `W1.${grant.slice(3)}`, `${grant}\n`]) {
        refused(EnvelopeError, () => BOB.openGrantFrom(ALICE, KEY, wrong));
      }
      const box = V.challenge.encrypted_challenge;
      for (const wrong of [box.slice(0, 44), `${box}\n`, box.replaceAll("/", "_"), box.slice(0, -1), "AAAA"]) {
        refused(EnvelopeError, () => PROJECT.open(wrong));
      }
    },
  ],
  [
    "points of low order",
    () => {
      for (const point of POINTS_OF_LOW_ORDER) {
        refused(CryptoError, () => x25519(PROJECT.privateKey, point));
        refused(CryptoError, () => sealBox("secret", point));
        refused(CryptoError, () => ALICE.grantTo({ ...publicOf(BOB), x25519Public: point }, KEY, PROJECT.privateKey));
        refused(EnvelopeError, () => openBox(b64(concat(point, new Uint8Array(20))), PROJECT.privateKey));
      }
    },
  ],
  [
    "ANY_LLM_KEY: what is wrong is said",
    () => {
      const key = V.project.any_llm_key;
      const parse = (text: string) => refused(ProjectKeyError, () => ProjectKeyPair.parse(text)).message;
      for (const text of ["", "sk-1234", key.slice(0, -1), key.replace("v1", "v2"), `${key}=`]) {
        same(parse(text).startsWith("This is no ANY_LLM_KEY."), true);
      }
      same(parse(key.replace("89a8cd8e", "89a8cd8f")).includes("changed or cut"), true);
      same(parse(key.replace("-wMHC", "-wMHD")).includes("changed or cut"), true);
      same(parse(key.replace("8=", "9=")).includes("wrong character"), true);
    },
  ],
  [
    "recovery key: read as people write, and what is wrong is said",
    () => {
      const { text, code_bytes_hex } = V.recovery;
      const typed = ` rkl ${text.slice(4).toLowerCase().replaceAll("-", "–").replaceAll("0", "o").replaceAll("1", "i")}\n`;
      same(recovery.parse(typed), unhex(code_bytes_hex));
      const parse = (wrong: string) => refused(recovery.RecoveryKeyError, () => recovery.parse(wrong)).message;
      same(parse(text.slice(4)).includes("starts with"), true);
      same(parse(text.slice(0, -1)).includes("This one has 35"), true);
      same(parse(text.replace("8", "U")).includes("“U”"), true);
      for (const wrong of [`${text.slice(0, -1)}0`, text.replace("2491-650N", "650N-2491"), text.replace("2491", "2492")]) {
        same(parse(wrong).includes("Compare"), true);
      }
    },
  ],
  [
    "encodings have one spelling",
    () => {
      for (const text of ["AA", "AA=", "AB==", "A A=", "AA==\n", "-_8=", " AA=="]) refused(EncodingError, () => b64Decode(text));
      for (const text of ["AB", "AA==", "A+", "A", "AA\n"]) refused(EncodingError, () => b64uDecode(text));
      for (const text of ["0", "0G", "AA", "0x"]) refused(EncodingError, () => unhex(text));
      for (const text of ["", V.ids.org.toUpperCase(), V.ids.org.replaceAll("-", ""), `${V.ids.org}\n`, `{${V.ids.org}}`]) {
        refused(EncodingError, () => uuidBytes(text));
      }
      refused(EncodingError, () => utf8("\ud83d"));
      refused(EncodingError, () => utf8Decode(Uint8Array.of(0xff)));
      same(utf8Decode(utf8("\ufeffé")), "\ufeffé");
      for (const number of [-1, 0.5, 2 ** 32, Number.NaN]) refused(RangeError, () => u32(number));
      same(u32(0xdead_beef), unhex("deadbeef"));
    },
  ],
  [
    "contexts are injective",
    () => {
      same(equal(ctx("x", "ab", "c"), ctx("x", "a", "bc")), false);
      same(equal(ctx("x", "a"), ctx("x", "a", "")), false);
      same(equal(ctx("xa"), ctx("x", "a")), false);
    },
  ],
];

/** `length` bytes from `first` on, each one more than the one before. */
function counting(first: number, length: number): Bytes {
  return Uint8Array.from({ length }, (_, index) => first + index);
}

/** RFC 8032, 7.1: tests 1 to 3. */
const RFC8032 = [
  {
    seed: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    publicKey: "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
    message: "",
    signature:
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
  },
  {
    seed: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    publicKey: "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    message: "72",
    signature:
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
  },
  {
    seed: "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    publicKey: "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
    message: "af82",
    signature:
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
  },
];

const standards: Case[] = [
  [
    "X25519: RFC 7748, 5.2 and 6.1",
    () => {
      const scalar = unhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
      const point = unhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
      same(x25519(scalar, point), unhex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"));
      const alice = unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
      const bob = unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
      const shared = unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
      same(x25519Public(alice), unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
      same(x25519Public(bob), unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
      same(x25519(alice, x25519Public(bob)), shared);
      same(x25519(bob, x25519Public(alice)), shared);
    },
  ],
  [
    "X25519: RFC 7748, 5.2, a thousand times",
    () => {
      let scalar = unhex(`09${"00".repeat(31)}`);
      let point = scalar;
      for (let round = 1; round <= 1000; round++) {
        [scalar, point] = [x25519(scalar, point), scalar];
        if (round === 1) same(scalar, unhex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"));
      }
      same(scalar, unhex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
    },
  ],
  [
    "Ed25519: RFC 8032, 7.1",
    () => {
      for (const { seed, publicKey, message, signature } of RFC8032) {
        same(ed25519Public(unhex(seed)), unhex(publicKey));
        same(ed25519Sign(unhex(seed), unhex(message)), unhex(signature));
        same(ed25519Verify(unhex(publicKey), unhex(message), unhex(signature)), true);
        same(ed25519Verify(unhex(publicKey), unhex(`${message}00`), unhex(signature)), false);
      }
    },
  ],
  [
    "Ed25519 is strict: no key of low order, no second spelling of a signature",
    () => {
      const identityPoint = unhex(`01${"00".repeat(31)}`);
      // With R and A of low order and S = 0, lax rules take this for any message.
      same(ed25519Verify(identityPoint, utf8("anything"), concat(identityPoint, new Uint8Array(32))), false);
      const signature = ALICE.sign(utf8("once"));
      const order = (1n << 252n) + 27742317777372353535851937790883648493n;
      let scalar = order;
      for (let index = 31; index >= 0; index--) scalar += BigInt(signature[32 + index]!) << BigInt(8 * index);
      const malleated = signature.slice();
      for (let index = 0; index < 32; index++) malleated[32 + index] = Number((scalar >> BigInt(8 * index)) & 0xffn);
      same(ed25519Verify(ALICE.ed25519Public, utf8("once"), signature), true);
      same(ed25519Verify(ALICE.ed25519Public, utf8("once"), malleated), false);
      same(ed25519Verify(ALICE.ed25519Public, utf8("once"), signature.subarray(1)), false);
      same(ed25519Verify(ALICE.ed25519Public.subarray(1), utf8("once"), signature), false);
    },
  ],
  [
    "HKDF-SHA-256: RFC 5869, A.1 to A.3",
    () => {
      const key = new Uint8Array(22).fill(0x0b);
      same(
        hkdf(key, counting(0, 13), counting(0xf0, 10), 42),
        unhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
      );
      same(
        hkdf(counting(0, 80), counting(0x60, 80), counting(0xb0, 80), 82),
        unhex(
          "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09" +
            "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
      );
      same(
        hkdf(key, new Uint8Array(), new Uint8Array(), 42),
        unhex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
      );
    },
  ],
  [
    "XChaCha20-Poly1305: draft-irtf-cfrg-xchacha-03, A.3.1",
    () => {
      const plaintext = utf8(
        "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
      );
      const sealed = unhex(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216" +
          "cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52e" +
          "c0875924c1c7987947deafd8780acf49",
      );
      const data = unhex("50515253c0c1c2c3c4c5c6c7");
      const [key, nonce] = [counting(0x80, 32), counting(0x40, 24)];
      same(aeadSeal(key, nonce, plaintext, data), sealed);
      same(aeadOpen(key, nonce, sealed, data), plaintext);
      refused(CryptoError, () => aeadOpen(key, nonce, sealed));
      refused(CryptoError, () => aeadOpen(key, nonce, sealed.subarray(1), data));
    },
  ],
];

export const CASES: readonly Case[] = [...vectors, ...refusals, ...standards];
