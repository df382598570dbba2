"""What a page has to load before it can derive a key, open a vault or draw a chart, as it goes over the wire."""

import gzip
import json
from pathlib import Path

import pytest

from tests.frontend.vault_build import node

# KB of 1024 bytes. The library without the page around it; the worker counts where a password is asked for.
LIMIT = 40 * 1024
WORKER = 'import "./vault/kdf-worker";'
SIGN_IN = """
export { passwordKeys } from "./vault/kdf";
export { storePendingKek } from "./vault/session";
"""
SIGN_UP = """
export { checkPassword, CURRENT_KDF, passwordKeys } from "./vault/kdf";
export { Account } from "./vault/account";
export { unwrap, wrap } from "./vault/envelopes";
"""
VAULT = """
export * from "./vault/account";
export * from "./vault/encoding";
export * from "./vault/envelopes";
export * from "./vault/kdf";
export * from "./vault/project-key";
export * as recovery from "./vault/recovery";
export * from "./vault/sealed-box";
export * from "./vault/session";
export * from "./vault/statements";
export * from "./vault/trust";
"""
# Options as frontend/build.mjs has them.
BUNDLE = """
import { buildSync } from "esbuild";
const [contents, outfile] = JSON.parse(process.argv[1]);
buildSync({
  stdin: { contents, resolveDir: "frontend/src" }, outfile, bundle: true, minify: true, format: "esm",
  target: "es2022", charset: "utf8", legalComments: "linked",
});
"""


def size(contents: str, folder: Path) -> int:
    """Bytes of the bundle, compressed."""
    file = folder / f"{len(list(folder.iterdir()))}.js"
    node("--input-type=module", "--eval", BUNDLE, json.dumps([contents, str(file)]))
    return len(gzip.compress(file.read_bytes(), 9))


@pytest.mark.parametrize(
    "bundles",
    [(SIGN_IN, WORKER), (SIGN_UP, WORKER), (VAULT,)],
    ids=["sign in", "sign up", "vault"],
)
def test_size(bundles: tuple[str, ...], tmp_path: Path) -> None:
    total = sum(size(contents, tmp_path) for contents in bundles)
    assert total <= LIMIT, f"{total / 1024:.1f} KB"


def test_size_of_charts(tmp_path: Path) -> None:
    """Pages of usage alone load them; without them their tables are complete."""
    total = size('import "./pages/usage";', tmp_path)
    assert total <= 64 * 1024, f"{total / 1024:.1f} KB"
