/**
 * What a page downloads of this package's code until the first token of the embedded model, by the server's log of what Chromium asked for,
 * compressed as servers do. The model itself is not code and is not counted.
 *   npx tsx benches/browser/size.ts
 */
import { execFileSync } from "node:child_process"
import { statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { openBrowser, openPage } from "../../test/browser/chromium.ts"
import { serve } from "../../test/browser/server.ts"

const root = fileURLToPath(new URL("../..", import.meta.url))
const limit = 350_000
const page = `<!doctype html><title>size</title><output></output><script type="module">
const { load } = await import("/dist/browser.js")
const { tiny } = await import("/dist/tiny.js")
const model = await load(tiny)
for await (const { text } of model.generate("The compiler will", { maxNewTokens: 8 })) {
  document.querySelector("output").textContent += text
}
</script>`

const browser = await openBrowser()

async function measure(isolated: boolean): Promise<{ files: Record<string, { bytes: number; gzip: number }>; gzip: number }> {
  const server = await serve({ isolated, gzip: true })
  server.files.set("/size.html", page)
  const { page: tab, complaints } = await openPage(browser, `${server.origin}/size.html`)
  await tab.waitForFunction('document.querySelector("output").textContent', undefined, { timeout: 60_000 })
  if (complaints.length > 0) throw new Error(complaints.join("\n"))
  const code = server.requests.filter(({ path, status }) => status === 200 && /\.(js|wasm)$/.test(path))
  await tab.close()
  await server.close()
  // What several Workers load is downloaded once where the server allows caching, which this one does not.
  const files = Object.fromEntries(code.map(({ path, bytes }) => [path.slice(1), { bytes: statSync(join(root, path)).size, gzip: bytes }]))
  return { files, gzip: Object.values(files).reduce((sum, { gzip }) => sum + gzip, 0) }
}

const report = {
  browser: browser.version(),
  commit: execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: root, encoding: "utf8" }).trim(),
  limit,
  isolated: await measure(true),
  notIsolated: await measure(false),
}
await browser.close()
writeFileSync(join(root, "benches", "results", "browser-size.json"), `${JSON.stringify(report, null, 1)}\n`)
console.table({ ...report.isolated.files, ...report.notIsolated.files })
for (const kind of ["isolated", "notIsolated"] as const) {
  process.stdout.write(`${kind}: ${report[kind].gzip} bytes of ${limit}\n`)
  if (report[kind].gzip > limit) process.exitCode = 1
}
