"""People at browsers: each has a context of her own, of which every request, error and violation is kept."""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, BrowserType, ConsoleMessage, Page, Request, Response, expect

from tests.e2e.keys import add_recovery_key, keys_of
from tests.e2e.mail import Mail

if TYPE_CHECKING:
    from tests.e2e.ground import Ground, Resident, Session

# Addresses other than this machine's do not even resolve, whatever a page or the browser itself tries.
# The address bar of a window that nobody sees: its pages take as long as the product's. The others are what Playwright
# leaves out itself, whose list this one replaces.
WITHOUT = (
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "WebUIOmniboxFullPopup"),
    *("AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades"),
    *("HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "OptimizationHints", "PaintHolding"),
    *("ThirdPartyStoragePartitioning", "NetworkTimeServiceQuerying", "PreconnectToSearch"),
)
ARGUMENTS = [
    f"--disable-features={','.join(WITHOUT)}",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
]
MILLISECONDS = 15_000
# Of everybody's passwords only these may go to the server, in the body of a request and nowhere else.
AUTH_SECRET = re.compile(r"as1\.[A-Za-z0-9_-]{43}")
REPORTER = """
    document.addEventListener("securitypolicyviolation", (event) => reportViolation(
        `${event.effectiveDirective} blocked ${event.blockedURI} in ${event.sourceFile}:${event.lineNumber} ${event.sample}`,
    ));
"""
# Everything that a page's origin has stored, bytes in hex; the session storage of this page.
STORED = """
async () => {
    const plain = (value) => {
        if (value instanceof CryptoKey) return `[CryptoKey, extractable: ${value.extractable}]`;
        if (value instanceof ArrayBuffer) value = new Uint8Array(value);
        if (ArrayBuffer.isView(value)) {
            const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
            return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
        }
        if (value instanceof Date) return value.toISOString();
        if (value instanceof Map || value instanceof Set || Array.isArray(value)) return Array.from(value, plain);
        if (value === null || typeof value !== "object") return typeof value === "bigint" ? String(value) : value;
        return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
    };
    const done = (request) => new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
    });
    const stored = {local: {...localStorage}, session: {...sessionStorage}, cookies: document.cookie, databases: {}};
    for (const {name} of await indexedDB.databases()) {
        const database = await done(indexedDB.open(name));
        const stores = stored.databases[name] = {};
        for (const store of database.objectStoreNames) {
            const reading = database.transaction(store).objectStore(store);
            const [keys, values] = await Promise.all([done(reading.getAllKeys()), done(reading.getAll())]);
            stores[store] = keys.map((key, index) => [plain(key), plain(values[index])]);
        }
        database.close();
    }
    return stored;
}
"""


_addresses = (f"10.{high}.{middle}.{low}" for high in range(256) for middle in range(256) for low in range(1, 255))


@dataclass
class Exchange:
    """A request of a page or of a worker, and what came back: no `status` while nothing did."""

    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    status: int | None = None

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


class Recorder:
    """What went on in one browser context. A test that provokes something says so with `expect`."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.exchanges: list[Exchange] = []
        self.errors: list[str] = []
        self.violations: list[str] = []
        self._origin = origin
        self._expected: list[str] = []
        self._open: dict[Request, Exchange] = {}
        context.on("request", self._requested)
        context.on("response", self._responded)
        context.on("console", self._console)
        context.on("weberror", lambda error: self.errors.append(f"{error.error}"))
        context.expose_binding("reportViolation", lambda _, text: self.violations.append(text))
        context.add_init_script(REPORTER)

    def _requested(self, request: Request) -> None:
        exchange = Exchange(request.method, request.url, request.headers, request.post_data_buffer)
        self._open[request] = exchange
        self.exchanges.append(exchange)

    def _responded(self, response: Response) -> None:
        if exchange := self._open.pop(response.request, None):
            exchange.status = response.status

    def _console(self, message: ConsoleMessage) -> None:
        # A page that shows an answer of 4xx is no error; Chromium says so all the same. Statuses are looked at below.
        if message.type == "error" and "responded with a status of 4" not in message.text:
            self.errors.append(f"{message.text} ({message.location.get('url')})")

    def expect(self, pattern: str) -> None:
        """Problems that this matches are part of the test."""
        self._expected.append(pattern)

    def problems(self) -> list[str]:
        """Errors in the console, violations of the security policy, failures of the server, and every request to
        anybody else."""
        foreign = [
            f"a request to {exchange.url}"
            for exchange in self.exchanges
            if urlsplit(exchange.url).scheme not in {"data", "blob"}
            and not f"{exchange.url}/".startswith(f"{self._origin}/")
        ]
        failed = [
            f"{exchange.method} {exchange.url}: {exchange.status}"
            for exchange in self.exchanges
            if exchange.status is not None and exchange.status >= 500
        ]
        misplaced = [
            f"a sign-in secret outside of a body: {exchange.method} {exchange.path}"
            for exchange in self.exchanges
            if AUTH_SECRET.search(" ".join([exchange.url, *exchange.headers.values()]))
        ]
        problems = [*self.errors, *self.violations, *foreign, *failed, *misplaced]
        return [problem for problem in problems if not any(re.search(text, problem) for text in self._expected)]


class Person:
    """Somebody at a page of hers. Methods do what she does and wait until she sees that it is done."""

    def __init__(self, name: str, ground: "Ground", context: BrowserContext) -> None:
        self.name = name
        self.ground = ground
        self.context = context
        context.set_default_timeout(MILLISECONDS)
        self.recorder = Recorder(context, ground.url)
        self.page: Page = context.pages[0] if context.pages else context.new_page()
        self._left = False
        self.email = ""
        self.password = ""
        self.recovery_key = ""
        self.who: Resident | None = None

    def visit(self, path: str) -> Response:
        response = self.page.goto(self.ground.url + path)
        assert response is not None
        return response

    def fill(self, **fields: str) -> None:
        """Fields by their visible labels, whole; `_` stands for a space or a hyphen."""
        for label, value in fields.items():
            pattern = re.compile(rf"^\s*{label.replace('_', '[ -]')}(\s+optional)?\s*$", re.IGNORECASE)
            self.page.get_by_label(pattern).fill(value)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    def sees(self, heading: str) -> None:
        """The page's main heading."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(re.compile(heading, re.IGNORECASE))

    def is_told(self, text: str) -> None:
        """By an alert in the page, or a message over it; what only screen readers are told stands elsewhere."""
        expect(self.page.locator("main, [data-toasts]").get_by_text(text)).to_be_visible()

    def sign_up(self, email: str, password: str, organization: str | None) -> None:
        """Up to the page that asks to look into the mailbox. Whoever was invited has no organization to name."""
        self.email, self.password = email, password
        self.ground.canaries.add(f"password of {email}", password)
        self.visit("/accounts/signup/")
        self.fill(e_mail=email, password=password)
        if organization is not None:
            self.fill(organization=organization)
        self.press("Create account")
        self.page.wait_for_url("**/accounts/confirm-email/")
        self.remember_keys()

    def verify_email(self) -> Mail:
        """Follows the link of the newest mail that has one, to the first page behind it."""
        mail = self.ground.mailbox.wait_for(self.email, "confirm")
        self.page.goto(mail.link("/accounts/confirm-email/"))
        self.press("Confirm")
        self.page.wait_for_url(lambda url: "/confirm-email/" not in url)
        return mail

    def skip_onboarding(self) -> None:
        """From the first steps to the organization's own page."""
        self.page.get_by_role("link", name="Skip for now").click()
        self.page.wait_for_url("**/o/**")

    def join(self, organization: str | None = None) -> None:
        """A new account, up to the signed-in page behind the first steps, its vault unlocked. The address and the
        password are made up."""
        word = secrets.token_hex(4)
        email = f"{self.name}-{word}@example.com"
        self.sign_up(email, f"{self.name} is at the gate {secrets.token_hex(6)}", organization or f"{self.name} {word}")
        self.verify_email()
        self.skip_onboarding()
        self.sees_vault("unlocked")

    def sign_in(self, email: str | None = None, password: str | None = None) -> None:
        """Until the sign-in page is left; what comes next depends on the account."""
        self.try_to_sign_in(email, password)
        self.page.wait_for_url(lambda url: urlsplit(url).path != "/accounts/login/")

    def try_to_sign_in(self, email: str | None = None, password: str | None = None) -> None:
        self.email, self.password = email or self.email, password or self.password
        self.ground.canaries.add(f"password typed by {self.name}", self.password)
        self.visit("/accounts/login/")
        self.fill(e_mail=self.email, password=self.password)
        self.press("Sign in")

    def sign_out(self) -> None:
        self.remember_session()
        self.page.locator("summary", has_text="Your account").click()
        self.press("Sign out")
        self.page.wait_for_url(self.ground.url + "/")

    def unlock(self, password: str | None = None) -> None:
        """By the button in the header, with the password."""
        self.page.locator("[data-vault-state=locked]").click()
        self.answer_password(password, "Unlock")
        self.sees_vault("unlocked")

    def lock(self) -> None:
        """By the same button; here and on the server."""
        with self.page.expect_response("**/vault/lock"):
            self.page.locator("[data-vault-state=unlocked]").click()
        self.sees_vault("locked")

    def kept(self) -> dict[str, Any]:
        """What this browser keeps of the vault between pages, by name: `kek`, `seed`, `local`, `idle`."""
        return dict(self.stored()["databases"].get("anyllm-vault", {}).get("session", []))

    def answer_password(self, password: str | None = None, button: str = "Confirm") -> None:
        """Into the dialog that asks for it."""
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_label("Password", exact=True).fill(password or self.password)
        dialog.get_by_role("button", name=button, exact=True).click()

    def sees_vault(self, state: str) -> None:
        """`locked` or `unlocked`, in the header."""
        expect(self.page.locator(f"button[data-vault-state={state}]")).to_be_visible()

    def visit_sensitive(self, path: str) -> None:
        """A page that asks for the password first, unless it did a moment ago: signing in is not enough for it."""
        self.visit(path)
        self.prove_it()
        self.page.wait_for_url(f"**{path}")

    def prove_it(self) -> None:
        """With the password, on the page that asks for it; nothing when it does not."""
        if urlsplit(self.page.url).path == "/accounts/reauthenticate/":
            self.fill(password=self.password)
            self.press("Confirm")

    @property
    def cookie(self) -> str:
        """Of her session."""
        [cookie] = [cookie for cookie in self.context.cookies() if cookie.get("name") == "session"]
        return cookie["value"]

    @property
    def session(self) -> "Session":
        """What the server keeps of it."""
        return self.ground.session(self.cookie)

    def is_signed_in(self) -> bool:
        """By what the server says to a page's module."""
        answer = self.context.request.get(f"{self.ground.url}/vault/bootstrap", headers={"Accept": "application/json"})
        assert answer.status in {200, 401}
        return answer.status == 200

    def ask_for_reset(self) -> str:
        """The address of the page that the mail leads to."""
        self.visit("/accounts/password/reset/")
        self.fill(e_mail=self.email)
        self.press("Send the link")
        self.sees("Check your mail")
        return self.ground.mailbox.wait_for(self.email, "reset your password").link("/accounts/password/reset/key/")

    def reset_password(self, password: str, *, recovery_key: str = "") -> None:
        """Signed out before. Without the recovery key she says that she does not have it. Up to what comes behind."""
        self.page.goto(self.ask_for_reset())
        if recovery_key:
            self.fill(encryption_recovery_key=recovery_key)
        else:
            self.page.get_by_label("I don’t have it").check()
        self.set_password(password)
        self.page.wait_for_url(lambda url: "/password/reset/" not in url)

    def set_password(self, password: str) -> None:
        """Into the last page of a reset."""
        self.password = password
        self.ground.canaries.add(f"new password of {self.email}", password)
        self.fill(new_password=password, new_password_again=password)
        self.press("Set password")

    @property
    def paths(self) -> list[str]:
        """`METHOD /path` of everything that was asked for, in order."""
        return [f"{exchange.method} {exchange.path}" for exchange in self.recorder.exchanges]

    def remember_keys(self) -> None:
        """Tells the ground what the password gives and what it opens, so that all of it is looked for in the end."""
        keys = keys_of(self.ground, self.email, self.password)
        keys.add_to(self.ground.canaries, f"{self.email}, version {keys.account.account_key_version}")

    def remember_session(self) -> None:
        """Tells the ground its cookie. Both directions carry it, and the browser keeps it: nobody else does."""
        for cookie in self.context.cookies():
            if cookie.get("name") == "session":
                allowed = {"sent", "received", "browser storage", "browser profile"}
                self.ground.canaries.add(f"session of {self.name}", cookie["value"], allowed=allowed)

    def stored(self) -> Any:
        """What this page's origin has in localStorage, sessionStorage, readable cookies and IndexedDB."""
        return self.page.evaluate(STORED)

    def leave(self) -> None:
        """Closes her browser; what it stored stays for the leak scan. Nothing when she has left."""
        if self._left:
            return
        self._left = True
        self.remember_session()
        if self.page.url.startswith(self.ground.url):
            state = {"stored": self.stored(), "cookies": self.context.cookies()}
            count = len(list(self.ground.storage.iterdir()))
            (self.ground.storage / f"{count:03} {self.name}.json").write_text(json.dumps(state))
        self.context.close()


class People:
    """Makes them. `browser` is shared; somebody with a profile has a browser of her own, whose folder stays for the
    leak scan."""

    def __init__(self, ground: "Ground", chromium: BrowserType, browser: Browser, executable: Path) -> None:
        self.ground = ground
        self._chromium = chromium
        self._browser = browser
        self._executable = executable
        self._here: list[Person] = []

    def __call__(self, name: str, *, profile: bool = False, **options: Any) -> Person:
        """Somebody at an empty page; `options` of Playwright's contexts, such as `color_scheme="dark"`.

        She asked for reduced motion: a page that scrolls smoothly is waited for at every button.
        """
        options = {"reduced_motion": "reduce", **options}
        # An address of her own, as the proxy in front would name it: limits count by it.
        options["extra_http_headers"] = {"X-Forwarded-For": next(_addresses)}
        if profile:
            context = self._chromium.launch_persistent_context(
                self.ground.profiles / name, executable_path=self._executable, args=ARGUMENTS, **options
            )
        else:
            context = self._browser.new_context(**options)
        person = Person(name, self.ground, context)
        self._here.append(person)
        return person

    def resident(self, name: str, who: "Resident | None" = None, **options: Any) -> Person:
        """Somebody who has an account, in a browser of hers, not signed in."""
        person = self(name, **options)
        who = who or self.ground.person()
        person.who, person.email, person.password, person.recovery_key = who, who.email, who.password, who.recovery_key
        self.ground.canaries.add(f"password of {who.email}", who.password)
        add_recovery_key(self.ground.canaries, who.email, who.recovery_key)
        person.remember_keys()
        return person

    def signed_in(self, name: str, who: "Resident | None" = None, **options: Any) -> Person:
        """The same, at the page behind signing in, her vault unlocked."""
        person = self.resident(name, who, **options)
        person.sign_in()
        person.sees_vault("unlocked")
        return person

    @contextmanager
    def leaving(self) -> Iterator["People"]:
        """At its end everybody leaves, and nothing may have gone wrong for anybody."""
        try:
            yield self
        finally:
            problems = []
            for person in self._here:
                person.leave()
                problems += [f"{person.name}: {problem}" for problem in person.recorder.problems()]
            self._here.clear()
        assert not problems, "\n".join(problems)
