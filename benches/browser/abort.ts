/**
 * How long after its signal a prefill ends in a page that is isolated, where threads share memory, and in one that is not; the limit is
 * 100 ms. The embedded model and the 130M shape, one object in benches/results.
 *   npx tsx benches/browser/abort.ts [runs]
 */
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { openBrowser, openPage } from "../../test/browser/chromium.ts"
import { serve } from "../../test/browser/server.ts"
import { shapes, writeCheckpoint } from "../model/random.mjs"

const root = fileURLToPath(new URL("../..", import.meta.url))
const work = join(root, ".work", "bench")
const runs = Number(process.argv[2] ?? 30)
const folder = join(work, "mamba-130m")
if (shapes["mamba-130m"] && !existsSync(join(folder, "generation_config.json"))) writeCheckpoint(shapes["mamba-130m"], folder)

const code = (source: string): string => `(async () => {
  const [{ load }, { abortTimes }] = await Promise.all([import("/dist/browser.js"), import("/benches/wasm/abort-times.mjs")])
  const model = await load(${JSON.stringify(source)}, { threads: 2, cacheDir: false })
  try {
    return await abortTimes(model, ${runs})
  } finally {
    await model.dispose()
  }
})()`
const browser = await openBrowser()
const results: Record<string, unknown> = {}
for (const isolated of [true, false]) {
  const server = await serve({ isolated, folders: { "/": root, "/models-bench/": work } })
  server.files.set("/bench.html", "<!doctype html><title>bench</title>")
  for (const [model, path] of [
    ["rustbook-mamba1-2.8m", "/models/rustbook-mamba1-2.8m/"],
    ["mamba-130m", "/models-bench/mamba-130m/"],
  ] as const) {
    const { page } = await openPage(browser, `${server.origin}/bench.html`)
    results[`${isolated ? "isolated" : "not isolated"}, ${model}`] = await page.evaluate(code(server.origin + path))
    await page.close()
  }
  await server.close()
}
const report = { unit: "ms", limit: 100, browser: browser.version(), results }
await browser.close()
writeFileSync(join(root, "benches", "results", "browser-abort.json"), `${JSON.stringify(report, null, 1)}\n`)
console.log(JSON.stringify(report, null, 1))
