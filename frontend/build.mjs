// Builds frontend/ into frontend/dist/, which Django serves under /static/. `--watch` rebuilds on change.
//
// Names are fixed: Django's static files storage adds the content hash. It does not rewrite imports between
// modules, so every entry is one self-contained file and code splitting stays off.

import { spawn } from "node:child_process";
import { cpSync, existsSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");
const watch = process.argv.includes("--watch");

const source = join(here, "src");
const pages = join(source, "pages");

/** Page modules, loaded with type="module": they run after the document is parsed. Each page may have its own. */
const MODULES = [join(source, "app.ts"), ...(existsSync(pages) ? readdirSync(pages).map((name) => join(pages, name)) : [])];
/** Classic scripts: one that blocks the first paint (keep it tiny), and a worker. */
const CLASSIC = [join(source, "early.ts"), join(source, "vault", "kdf-worker.ts")];

/** Linked source maps let anyone read the code that handles their keys as it was written. */
const shared = {
  outdir: join(dist, "js"),
  entryNames: "[name]",
  bundle: true,
  minify: true,
  sourcemap: "linked",
  legalComments: "linked",
  target: "es2022",
  charset: "utf8",
  logLevel: "warning",
};
const scripts = [
  { ...shared, format: "esm", entryPoints: MODULES },
  { ...shared, format: "iife", entryPoints: CLASSIC },
];

async function buildScripts() {
  if (!watch) return Promise.all(scripts.map((options) => esbuild.build(options)));
  const contexts = await Promise.all(scripts.map((options) => esbuild.context({ ...options, logLevel: "info" })));
  return Promise.all(contexts.map((context) => context.watch()));
}

function buildStyles() {
  // The CLI's own file, not its shim in node_modules/.bin: that one is a shell script on Windows.
  const require = createRequire(import.meta.url);
  const manifest = require.resolve("@tailwindcss/cli/package.json");
  const cli = join(dirname(manifest), require(manifest).bin.tailwindcss);
  const args = [cli, "--input", join(here, "styles", "app.css"), "--output", join(dist, "css", "app.css"), "--minify"];
  // "always": plain --watch ends when standard input closes, as it does under a process manager.
  if (watch) args.push("--watch=always");
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
    // The watcher would outlive us, since it no longer minds its standard input.
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(child.kill() ? 0 : 1));
    let report = "";
    child.stderr.on("data", (chunk) => (watch ? process.stderr.write(chunk) : (report += chunk)));
    child.on("error", reject);
    child.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`tailwindcss ended with ${code}\n${report}`))));
  });
}

rmSync(dist, { recursive: true, force: true });
cpSync(join(here, "public"), dist, { recursive: true });
await Promise.all([buildScripts(), buildStyles()]);
