"""What browsers may do with our pages and files.

Pages can't run WebAssembly, and so no script that got into one can bring its own. The worker that derives keys can: a
dedicated worker obeys the policy of its own file, not that of the page which started it. Django's SecurityMiddleware
adds nosniff, Referrer-Policy, Cross-Origin-Opener-Policy and, with https, Strict-Transport-Security to every answer.
The settings import this module, so it imports nothing that needs them.
"""

import re
from collections.abc import MutableMapping

PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "connect-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "object-src 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        # The one policy there is makes the address of the worker (frontend/src/vault/kdf.ts).
        "trusted-types alp-worker",
        "report-to csp",
    )
)
PAGE_HEADERS = {
    "Content-Security-Policy": PAGE_POLICY,
    "Reporting-Endpoints": 'csp="/csp-reports"',
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "publickey-credentials-get=(self), publickey-credentials-create=(self)",
}

WORKER_POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"
# As it is built, and as it is named with the hash of its content.
WORKER_FILE = re.compile(r"/js/kdf-worker(?:\.[0-9a-f]{12})?\.js")
# For the day that somebody opens a picture by its own address.
FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def add_file_headers(headers: MutableMapping[str, str], _path: str, url: str) -> None:
    """WhiteNoise's hook, for each static file."""
    headers["Content-Security-Policy"] = WORKER_POLICY if WORKER_FILE.search(url) else FILE_POLICY
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
