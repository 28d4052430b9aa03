// Bundles the pages of the widgets into ../static, or with --tests their tests into out/.
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

if (process.argv.includes("--tests")) {
  rmSync("out", { recursive: true, force: true });
  const tests = readdirSync("test").filter((name) => name.endsWith(".test.ts"));
  await build({
    entryPoints: tests.map((name) => `test/${name}`),
    outdir: "out",
    outExtension: { ".js": ".mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    logLevel: "warning",
  });
} else {
  const outdir = process.argv[2] ?? "../static"; // the check of the committed bundle builds elsewhere
  await build({
    entryPoints: readdirSync("src/widgets").map((name) => `src/widgets/${name}`),
    outdir,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    logLevel: "warning",
  });
}
