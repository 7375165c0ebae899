/**
 * Runs one test file in a page. `collect` imports it and answers with its tests; `run` then runs them all, telling each result by the
 * function `report` that the driver has put into the page, and answers with what went wrong after a suite's last test.
 */
import { type Suite, startTests, type Task, type Test, type VitestRunner } from "@vitest/runner"

export interface PageTest {
  id: string
  /** Names of the suites around it, outermost first, and its own. */
  path: string[]
  timeout: number
}
export interface PageResult {
  id: string
  state: "pass" | "fail" | "skip"
  note?: string | undefined
  errors: { name: string; message: string; stack: string; diff?: string | undefined }[]
}

declare const report: (result: PageResult) => void
type Files = Record<string, () => Promise<unknown>>

const leaves = (task: Task): Test[] => (task.type === "suite" ? task.tasks.flatMap(leaves) : [task])
function pathOf(task: Task): string[] {
  const path = [task.name]
  for (let suite: Suite | undefined = task.suite; suite; suite = suite.suite) path.unshift(suite.name)
  return path
}

function resultOf(task: Task): PageResult {
  const errors = (task.result?.errors ?? []).map(({ name, message, stack, diff }) => ({
    name: name ?? "Error",
    message,
    stack: stack ?? "",
    diff: diff ?? undefined,
  }))
  const { state } = task.result ?? { state: "skip" }
  return {
    id: task.id,
    state: state === "pass" || state === "fail" ? state : "skip",
    note: (task.result as { note?: string } | undefined)?.note,
    errors,
  }
}

/** Puts `collect` and `run` into the page. */
export function expose(files: Files): void {
  let begin: () => void = () => {}
  const begun = new Promise<void>((resolve) => {
    begin = resolve
  })
  let finished: Promise<unknown> = Promise.resolve()
  const told = new Set<string>()
  const late: PageResult["errors"] = []
  const tell = (result: PageResult): void => {
    told.add(result.id)
    report(result)
  }

  const collect = (name: string): Promise<{ tests: PageTest[]; errors: PageResult["errors"] }> =>
    new Promise((resolve, reject) => {
      const runner: VitestRunner = {
        config: {
          root: "/",
          setupFiles: [],
          name: undefined,
          passWithNoTests: false,
          testNamePattern: undefined,
          allowOnly: false,
          sequence: { seed: 1, hooks: "stack", setupFiles: "list" },
          chaiConfig: undefined,
          maxConcurrency: 1,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          retry: 0,
          includeTaskLocation: false,
          tags: [],
          tagsFilter: undefined,
          strictTags: false,
        },
        importFile: () => files[name]?.(),
        onCollected: async ([file]) => {
          const { errors } = resultOf(file as Task)
          const tests = leaves(file as Task).map((task) => ({ id: task.id, path: pathOf(task), timeout: task.timeout }))
          resolve({ tests: errors.length > 0 ? [] : tests, errors })
          await begun
        },
        onAfterRunTask: (task) => tell(resultOf(task)),
        // A test that skipped itself comes only here, and so does every test of a suite whose hook failed.
        onAfterRunSuite: (suite) => {
          const { errors } = resultOf(suite as Task)
          const untold = leaves(suite as Task).filter(({ id }) => !told.has(id))
          for (const task of untold) tell(errors.length > 0 ? { ...resultOf(task), state: "fail", errors } : resultOf(task))
          if (errors.length > 0 && untold.length === 0) late.push(...errors)
        },
      }
      finished = startTests([name], runner)
      finished.catch(reject)
    })
  const run = (): Promise<PageResult["errors"]> => {
    begin()
    return finished.then(() => late)
  }
  Object.assign(globalThis, { collect, run })
}
