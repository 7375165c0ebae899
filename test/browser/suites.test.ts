/** The suites of the models and the ops, in a page: isolated, where threads share memory, and not. The same files run in Node. */
import { afterAll } from "vitest"
import { openBrowser } from "./chromium.ts"
import { bundleSuites, describeInPage } from "./suites.ts"

const models = ["abort", "agreement", "exact", "golden", "long", "scan", "snapshot"].map((name) => `test/model/${name}.test.ts`)
const seam = ["seam", "seam-errors", "seam-stop"].map((name) => `test/unit/${name}.test.ts`)
const files = ["test/wasm/parity.test.ts", ...seam, ...models]

await bundleSuites(files)
const browser = await openBrowser()
afterAll(() => browser.close())
for (const isolated of [true, false]) {
  for (const file of files) await describeInPage(browser, file, isolated)
}
