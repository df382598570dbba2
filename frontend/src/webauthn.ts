/**
 * Security keys as a second factor. Options and answers are JSON as WebAuthn Level 3 defines it, with base64url strings
 * for bytes; they are taken apart here, since not all browsers do.
 *
 * Of a credential only what proves its possession leaves the browser. Extension outputs don't: a passkey's PRF output is
 * a key to the vault.
 */

import { b64u, b64uDecode } from "./vault/encoding";

interface DescriptorJson {
  id: string;
  type: "public-key";
  transports?: AuthenticatorTransport[];
}

type Json<Options, Bytes extends keyof Options, Lists extends keyof Options> = Omit<Options, Bytes | Lists> &
  Record<Bytes & string, string> &
  Partial<Record<Lists & string, DescriptorJson[]>>;

/** What allauth puts into the page. */
export interface CreationOptions {
  publicKey: Omit<Json<PublicKeyCredentialCreationOptions, "challenge", "excludeCredentials">, "user"> & {
    user: { id: string; name: string; displayName: string };
  };
}

export interface RequestOptions {
  publicKey: Json<PublicKeyCredentialRequestOptions, "challenge", "allowCredentials">;
}

/** Why a key could not be used, in words for the person. */
export class SecurityKeyError extends Error {
  override readonly name = "SecurityKeyError";
}

/** Whether this browser can use keys on this page at all; if not, why. */
export function whyUnavailable(): string | null {
  // A credential belongs to a domain, and an IP address is none.
  if (/^[\d.]+$|^\[/.test(location.hostname)) {
    return `Security keys work on named hosts only. Open this page on ${location.origin.replace(location.hostname, "localhost")} to use them.`;
  }
  if (!window.isSecureContext) return "Security keys work over https only.";
  if (!("PublicKeyCredential" in window)) return "This browser can’t use security keys. Try another one.";
  return null;
}

/** Has a new credential made. Resolves with the JSON that the server takes; rejects with SecurityKeyError. */
export async function createCredential({ publicKey }: CreationOptions): Promise<object> {
  const credential = await ask(() =>
    navigator.credentials.create({
      publicKey: {
        ...publicKey,
        challenge: b64uDecode(publicKey.challenge),
        user: { ...publicKey.user, id: b64uDecode(publicKey.user.id) },
        excludeCredentials: descriptors(publicKey.excludeCredentials),
      },
    }),
  );
  const response = credential.response as AuthenticatorAttestationResponse;
  return {
    ...identity(credential),
    response: {
      clientDataJSON: text(response.clientDataJSON),
      attestationObject: text(response.attestationObject),
      transports: response.getTransports?.() ?? [],
    },
  };
}

/** Has one of the person's keys sign the challenge. As createCredential. */
export async function useCredential({ publicKey }: RequestOptions): Promise<object> {
  const credential = await ask(() =>
    navigator.credentials.get({
      publicKey: {
        ...publicKey,
        challenge: b64uDecode(publicKey.challenge),
        allowCredentials: descriptors(publicKey.allowCredentials),
      },
    }),
  );
  const response = credential.response as AuthenticatorAssertionResponse;
  return {
    ...identity(credential),
    response: {
      clientDataJSON: text(response.clientDataJSON),
      authenticatorData: text(response.authenticatorData),
      signature: text(response.signature),
      userHandle: response.userHandle ? text(response.userHandle) : null,
    },
  };
}

async function ask(ceremony: () => Promise<Credential | null>): Promise<PublicKeyCredential> {
  try {
    const credential = await ceremony();
    if (credential instanceof PublicKeyCredential) return credential;
    throw new SecurityKeyError("The browser answered with something else. Try again.");
  } catch (error) {
    if (error instanceof DOMException) throw new SecurityKeyError(inWords(error));
    throw error;
  }
}

function inWords(error: DOMException): string {
  switch (error.name) {
    case "InvalidStateError":
      return "This key is one of yours already.";
    case "NotAllowedError":
    case "AbortError":
      return "It was cancelled, or it took too long. Try again.";
    case "SecurityError":
      return "The browser refuses keys on this address.";
    default:
      return "The key could not be used. Try again, or use another one.";
  }
}

function identity(credential: PublicKeyCredential): object {
  return {
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    authenticatorAttachment: credential.authenticatorAttachment,
    clientExtensionResults: withoutSecrets(credential.getClientExtensionResults()),
  };
}

function withoutSecrets({ credProps }: AuthenticationExtensionsClientOutputs): object {
  return credProps ? { credProps } : {};
}

function descriptors(list: DescriptorJson[] | undefined): PublicKeyCredentialDescriptor[] {
  return (list ?? []).map((one) => ({ ...one, id: b64uDecode(one.id) }));
}

function text(buffer: ArrayBuffer): string {
  return b64u(new Uint8Array(buffer));
}
