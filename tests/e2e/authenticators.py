"""What people have in their pockets: an authenticator app, and a security key that could also open vaults."""

import base64
import hashlib
import hmac
import struct
import time

from tests.e2e.people import Person

SECONDS = 30
# A code is taken within its half minute only. On a busy machine, typing one and its way to the server take a while.
TO_TYPE_IT = 8
KEY = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "hasPrf": True,
    "automaticPresenceSimulation": True,
}
# Asks the key for its secret output whenever a page uses it, and tells the test. The page gets it together with the
# rest of the answer, so a page that passed on all of it would pass on this.
ASK_FOR_PRF = """
    for (const name of ["create", "get"]) {
        const original = CredentialsContainer.prototype[name];
        CredentialsContainer.prototype[name] = async function (options) {
            const first = new TextEncoder().encode("any-llm-platform/v1/prf");
            options.publicKey.extensions = {...options.publicKey.extensions, prf: {eval: {first}}};
            const credential = await original.call(this, options);
            const bytes = new Uint8Array(credential.getClientExtensionResults().prf?.results?.first ?? []);
            await keepPrf(Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(""));
            return credential;
        };
    }
"""


def totp(secret: str, at: float | None = None) -> str:
    """What an app shows: six digits (RFC 6238, HMAC-SHA-1). `secret` is in base 32; `at` in seconds since 1970."""
    counter = struct.pack(">Q", int((time.time() if at is None else at) // SECONDS))
    digest = hmac.new(base64.b32decode(secret), counter, hashlib.sha1).digest()
    start = digest[-1] & 15
    [number] = struct.unpack(">I", digest[start : start + 4])
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06}"


def code_of(secret: str) -> str:
    """What the app shows, with time left to type it: people wait for the next code when one is nearly over."""
    left = SECONDS - time.time() % SECONDS
    if left < TO_TYPE_IT:
        time.sleep(left)
    return totp(secret)


def set_up_app(person: Person) -> str:
    """An authenticator app as second factor; its secret in base 32."""
    person.visit_sensitive("/accounts/2fa/totp/activate/")
    secret = "".join(person.page.locator(".fingerprint-groups span").all_inner_texts())
    shown = {"received"}
    person.ground.canaries.add(f"TOTP secret of {person.email}", secret, allowed=shown)
    person.ground.canaries.add(f"TOTP secret's bytes of {person.email}", base64.b32decode(secret), allowed=shown)
    person.fill(code_that_the_app_shows=code_of(secret))
    person.press("Turn it on")
    person.sees("Recovery codes")
    return secret


def type_code(person: Person, secret: str) -> None:
    """On the page that asks for the second factor."""
    person.ground.forget_codes()
    person.sees("Second factor")
    person.fill(code_from_your_authenticator_app=code_of(secret))
    person.press("Sign in")
    person.page.wait_for_url(lambda url: "/2fa/" not in url)


def plug_in_key(person: Person) -> list[str]:
    """A security key in her browser; what comes in later is every secret output of it, in hex."""
    outputs: list[str] = []

    def keep(_: object, output: str) -> None:
        if output:
            outputs.append(output)
            person.ground.canaries.add(f"output of {person.name}'s security key", bytes.fromhex(output))

    person.context.expose_binding("keepPrf", keep)
    person.context.add_init_script(ASK_FOR_PRF)
    session = person.context.new_cdp_session(person.page)
    session.send("WebAuthn.enable")
    session.send("WebAuthn.addVirtualAuthenticator", {"options": KEY})
    return outputs
