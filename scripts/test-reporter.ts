/** A vitest reporter that leaves the counts, and the reason of each skip, in the file `STATESPACE_TALLY` for `test.ts`. */
import { writeFileSync } from "node:fs"
import type { Reporter, SerializedError, TestModule } from "vitest/node"

export interface Tally {
  passed: number
  failed: number
  skipped: { name: string; reason: string }[]
}

export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const tally: Tally = { passed: 0, failed: unhandled.length, skipped: [] }
    for (const module of modules) {
      tally.failed += module.errors().length
      for (const suite of module.children.allSuites()) tally.failed += suite.errors().length
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        const note = (test.result() as { note?: string }).note
        if (state === "passed") tally.passed++
        else if (state === "failed") tally.failed++
        // A test that a name filter left out has no reason and is not counted.
        else if (note) tally.skipped.push({ name: `${module.relativeModuleId} > ${test.fullName}`, reason: note })
      }
    }
    if (process.env.STATESPACE_TALLY) writeFileSync(process.env.STATESPACE_TALLY, JSON.stringify(tally))
  }
}
