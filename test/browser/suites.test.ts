/**
 * The suites of the models and the ops, in a page: isolated, where threads share memory, and not. The same files run in Node, whose
 * version 20 has no relaxed instructions.
 */
import { afterAll } from "vitest"
import { openBrowser } from "./chromium.ts"
import { bundleSuites, describeInPage } from "./suites.ts"

const models = ["abort", "agreement", "exact", "golden", "long", "scan", "snapshot"].map((name) => `test/model/${name}.test.ts`)
const seam = ["seam", "seam-errors", "seam-stop"].map((name) => `test/unit/${name}.test.ts`)
const parity = "test/wasm/parity.test.ts"

await bundleSuites([parity, ...seam, ...models])
const browser = await openBrowser()
afterAll(() => browser.close())
// Neither a page's headers nor the backend's choice touch it.
await describeInPage(browser, parity, { isolated: true })
for (const isolated of [true, false]) {
  for (const file of [...seam, ...models]) await describeInPage(browser, file, { isolated })
}
for (const file of ["test/unit/seam.test.ts", "test/model/golden.test.ts"])
  await describeInPage(browser, file, { isolated: true, plain: true })
