/** What the processes of `seam-life.test.ts` do, by the name in their last argument. */
import { Worker } from "node:worker_threads"
import { tested } from "../../support/backend.ts"
import { floats } from "../seam-kit.ts"
import { moment, say, setUp } from "./setup.ts"

function worker(script: string): Worker {
  const url = new URL("./start.mjs", import.meta.url)
  return new Worker(url, { workerData: { script: new URL("./worker.ts", import.meta.url).href, name: script } })
}
const message = (from: Worker): Promise<unknown> =>
  new Promise((resolve, reject) => {
    from.once("message", resolve).once("error", reject)
  })
const exit = (from: Worker): Promise<number> => new Promise((resolve) => from.once("exit", resolve))

/** Besides the one that opens it. */
const threadsOfAnEngine = { native: 2, cuda: 1, "cuda-emulated": 1, wasm: 2, "wasm-single": 1, "wasm-direct": 0 }

const scripts: Record<string, () => Promise<unknown>> = {
  /** Disposes nothing and has nothing to do. */
  async idle() {
    await setUp()
    say("done")
  },
  /** Nobody awaits it, and no timer runs: only the pending call keeps the process. */
  async pending() {
    const { engine, program, state } = await setUp()
    engine.run(program, state, { steps: 200_000 })
    engine.read(state, "acc").then((acc) => say(`${floats(acc)}`))
  },
  async exit() {
    const { forever } = await setUp()
    forever().then(
      () => say("ended"),
      () => say("refused"),
    )
    await moment()
    process.exit(7)
  },
  /** As an exception that nobody catches ends it. */
  async throw() {
    const { forever } = await setUp()
    forever()
    await moment()
    throw new Error("on purpose")
  },
  /** Calls wait behind a run when the process goes. */
  async queue() {
    const { engine, program, forever, state } = await setUp()
    forever()
    for (let i = 0; i < 100; i++) engine.read(state, "acc").catch(() => say("settled"))
    const disposed = engine.dispose()
    engine.load("{}", null).catch(() => {})
    engine.release(program)
    await moment()
    disposed.catch(() => {})
    process.exit(0)
  },
  async workers() {
    const [one, two] = [worker("sum"), worker("sum")]
    say(JSON.stringify(await Promise.all([message(one), message(two), exit(one), exit(two)])))
  },
  /** Several times, since what it looks for is a race; then all must still work. */
  async terminate() {
    for (let i = 0; i < 6; i++) {
      const busy = worker("forever")
      await message(busy)
      if (i % 3 > 0) await moment()
      await busy.terminate()
    }
    say(JSON.stringify(await message(worker("sum"))))
  },
  /** The calls end at about the time when the environment does. */
  async race() {
    for (let i = 0; i < 6; i++) {
      const busy = worker("flood")
      await message(busy)
      await busy.terminate()
    }
    say(JSON.stringify(await message(worker("sum"))))
  },
  /** A worker whose engine nobody disposed of ends by itself. */
  async forgotten() {
    const forgetful = worker("forget")
    say(`${await message(forgetful)} ${await exit(forgetful)}`)
  },
  /** Engines that nobody refers to any more give their threads back. */
  async collected() {
    const { readdirSync } = await import("node:fs")
    const count = (): number => readdirSync("/proc/self/task").length
    const first = count()
    // Held until they are counted: the collector comes when it likes.
    const engines: unknown[] = []
    for (let i = 0; i < 10; i++) engines.push(await setUp())
    const most = count()
    engines.length = 0
    for (let i = 0; i < 100 && count() > first; i++) {
      ;(globalThis as { gc?: () => void }).gc?.()
      await moment()
    }
    say(`${most - first >= 10 * threadsOfAnEngine[tested]} ${count() - first <= 2}`)
  },
}

await scripts[process.argv.at(-1) as string]?.()
