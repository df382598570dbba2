// Builds the front end's tests into the folder named as argument: *.test.cjs and bridge.cjs for Node, browser.js and kdf-worker.js
// for a page.
// They stay out of frontend/dist, which is served.

import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const [outdir] = process.argv.slice(2);
const shared = { outdir, bundle: true, target: "es2022", charset: "utf8", logLevel: "warning" };
const tests = readdirSync(here).filter((name) => name.endsWith(".test.ts"));

await Promise.all([
  esbuild.build({
    ...shared,
    entryPoints: [...tests, "bridge.ts"].map((name) => join(here, name)),
    platform: "node",
    format: "cjs",
    outExtension: { ".js": ".cjs" },
    sourcemap: "inline",
  }),
  esbuild.build({ ...shared, entryPoints: [join(here, "browser.ts")], format: "esm" }),
  esbuild.build({ ...shared, entryPoints: [join(here, "..", "src", "vault", "kdf-worker.ts")], format: "iife", minify: true }),
]);
