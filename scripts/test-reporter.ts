/** A vitest reporter that leaves the counts, the failures and the reason of each skip in the file `STATESPACE_TALLY` for `test.ts`. */
import { writeFileSync } from "node:fs"
import type { Reporter, SerializedError, TestModule } from "vitest/node"

export interface Tally {
  passed: number
  failed: number
  /** What is repeated at the end: a log that is cut keeps its end. */
  failures: { name: string; reason: string }[]
  skipped: { name: string; reason: string }[]
  /** Passed, but not at the first try. */
  retried: string[]
}

/** The message without the long tail that a diff or a page may bring. */
const brief = (errors: readonly { message: string }[]): string => errors.map(({ message }) => message.slice(0, 1500)).join("\n")

export default class TallyReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const tally: Tally = { passed: 0, failed: 0, failures: [], skipped: [], retried: [] }
    const fail = (name: string, errors: readonly { message: string }[]): void => {
      if (errors.length === 0) return
      tally.failed += 1
      tally.failures.push({ name, reason: brief(errors) })
    }
    fail("outside of any test", unhandled)
    for (const module of modules) {
      fail(module.relativeModuleId, module.errors())
      for (const suite of module.children.allSuites()) fail(`${module.relativeModuleId} > ${suite.fullName}`, suite.errors())
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        const note = (test.result() as { note?: string }).note
        if (test.diagnostic()?.flaky) tally.retried.push(`${module.relativeModuleId} > ${test.fullName}`)
        if (state === "passed") tally.passed++
        else if (state === "failed")
          fail(`${module.relativeModuleId} > ${test.fullName}`, test.result().errors ?? [{ message: "no reason" }])
        // A test that a name filter left out has no reason and is not counted.
        else if (note) tally.skipped.push({ name: `${module.relativeModuleId} > ${test.fullName}`, reason: note })
      }
    }
    if (process.env.STATESPACE_TALLY) writeFileSync(process.env.STATESPACE_TALLY, JSON.stringify(tally))
  }
}
